"""An NMS and a BMS that answer on the real bus as a test tells them to."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from qkit.bus import Bus
from qkit.events.envelope import build as envelope
from qmodel.contracts import Done, Event
from qmodel.contracts.bms import QuotaReply, ReleaseQuota, ReserveQuota
from qmodel.contracts.commit import CommitAtNms, CommitReply, MemberReport, Verb, Vote
from qmodel.contracts.nms import (
    Describe,
    DescribeReply,
    DropChange,
    LinkStateChanged,
    OfferBorders,
    OfferReply,
    PlaceLinks,
    PlaceReply,
    RemoveLinks,
    RemoveReply,
    SiteView,
)
from qmodel.errors import BellweaveError
from qmodel.links import BorderOffer, Join, LinkRequest, LinkState, Placement
from qmodel.security import SecurityLevel

YES = {
    Verb.VALIDATE: Vote.VALIDATED,
    Verb.PROVISION: Vote.PROVISIONED,
    Verb.CONFIRM: Vote.CONFIRMED,
    Verb.ABORT: Vote.ABORTED,
}


class FakeNms:
    """An NMS on the real bus: it places everything, votes yes, and says that links are up once confirmed.

    `errors` maps an operation to what it raises; `votes` a verb to a vote with its reason."""

    def __init__(self, bus: Bus, sites: tuple[str, ...]) -> None:
        self.bus = bus
        self.operator = bus.name.partition(".")[2]
        self.sites = sites
        self.errors: dict[str, BellweaveError] = {}
        self.votes: dict[Verb, CommitReply] = {}
        self.silent: set[Verb] = set()
        self.held: dict[str, list[str]] = {}
        self.removing: dict[str, list[str]] = {}
        self.links: dict[str, LinkRequest] = {}
        self.committed: set[str] = set()
        self.comes_up = True
        self._sequence = 0
        bus.serve(Describe, self._describe)
        bus.serve(OfferBorders, self._offer)
        bus.serve(PlaceLinks, self._place)
        bus.serve(RemoveLinks, self._remove)
        bus.serve(DropChange, self._drop)
        bus.serve(CommitAtNms, self._commit, concurrency=64)

    def _maybe_fail(self, operation: str) -> None:
        if operation in self.errors:
            raise self.errors[operation]

    async def _describe(self, ask: Describe) -> DescribeReply:
        views = tuple(
            SiteView(site=site, node=site.lower(), clearance=SecurityLevel.TOP_SECRET) for site in self.sites
        )
        return DescribeReply(operator=self.operator, revision=1, sites=views, borders=("sat",))

    async def _offer(self, ask: OfferBorders) -> OfferReply:
        self._maybe_fail("offer")
        owner = self.operator == "north"
        offer = BorderOffer(
            operator=self.operator,
            node=ask.node,
            border="sat",
            pair_rate_hz=1e6,
            werner=0.98,
            latency_s=0.004,
            join=Join(success=0.5, werner=0.99, t2_s=10.0) if owner else None,
            handover=None if owner else "downlink",
        )
        return OfferReply(offers=(offer,))

    async def _place(self, ask: PlaceLinks) -> PlaceReply:
        self._maybe_fail("place")
        self.held[ask.change_id] = [link.link_id for link in ask.links]
        self.links |= {link.link_id: link for link in ask.links}
        return PlaceReply(placements=tuple(self.placement(link) for link in ask.links))

    def placement(self, link: LinkRequest, **changes: Any) -> Placement:
        values: dict[str, Any] = {
            "link_id": link.link_id,
            "request": link,
            "operator": self.operator,
            "nodes": (link.a, "relay", link.b),
            "quantum_links": ("q1", "q2"),
            "hops": (),
            "detectors": (None, None),
            "elements": (f"{link.a}-qn", f"{link.b}-qn"),
            "fidelity": 0.985,
            "pair_rate_hz": link.pair_rate_hz or 50_000.0,
            "key_rate_bps": link.key_rate_bps,
            "latency_s": 0.004,
            "timing_links": ("t1",),
            "settle_s": 300.0,
            "why": "least cost of two feasible paths",
        }
        return Placement(**(values | changes))

    async def _remove(self, ask: RemoveLinks) -> RemoveReply:
        self.removing[ask.change_id] = list(ask.link_ids)
        return RemoveReply(elements=tuple(f"{self.operator}-{link_id}" for link_id in ask.link_ids))

    async def _drop(self, ask: DropChange) -> Done:
        self.held.pop(ask.change_id, None)
        self.removing.pop(ask.change_id, None)
        return Done()

    async def _commit(self, ask: CommitAtNms) -> CommitReply:
        if ask.verb in self.silent:
            await asyncio.sleep(3600)
        if ask.verb in self.votes:
            return self.votes[ask.verb].model_copy(update={"change_id": ask.change_id})
        if ask.verb is Verb.ABORT:
            self.held.pop(ask.change_id, None)
        if ask.verb is Verb.CONFIRM:
            new = self.held.pop(ask.change_id, [])
            self.committed |= set(new)
            self.committed -= set(self.removing.pop(ask.change_id, []))
            if self.comes_up:
                await self.say(LinkState.UP, *new)
        vote = YES[ask.verb]
        members = tuple(
            MemberReport(member=f"ems.{self.operator}{tail}", vote=vote, elapsed_s=0.01)
            for tail in ("", "/relay-qn")
        )
        expires_at_s = time.time() + 60 if ask.verb is Verb.PROVISION else None
        return CommitReply(change_id=ask.change_id, vote=vote, expires_at_s=expires_at_s, members=members)

    async def say(self, state: LinkState, *link_ids: str, **more: Any) -> None:
        for link_id in link_ids:
            at = datetime.now(UTC)
            await self.emit(
                LinkStateChanged(operator=self.operator, link_id=link_id, state=state, at=at, **more)
            )

    async def emit(self, event: Event) -> None:
        """Publish as the relay of an NMS would."""
        self._sequence += 1
        await self.bus.jetstream().publish(f"evt.{self.bus.name}.{event.topic}", self.envelope(event))

    def envelope(self, event: Event) -> bytes:
        row = {
            "topic": event.topic,
            "type": event.cloudevents_type(),
            "data": event.model_dump_json(),
            "traceparent": None,
            "emitted_at": datetime.now(UTC),
            "sequence": self._sequence,
        }
        return envelope(self.bus.name, "abc123", row)

    async def publish_again(self, event: Event) -> None:
        """The last event once more, as a relay that died after publishing would."""
        await self.bus.jetstream().publish(f"evt.{self.bus.name}.{event.topic}", self.envelope(event))


class FakeBms:
    def __init__(self, bus: Bus) -> None:
        self.reserved: dict[str, int] = {}
        self.error: BellweaveError | None = None
        bus.serve(ReserveQuota, self._reserve)
        bus.serve(ReleaseQuota, self._release)

    async def _reserve(self, ask: ReserveQuota) -> QuotaReply:
        if self.error is not None:
            raise self.error
        self.reserved[ask.order_id] = ask.links
        return QuotaReply(
            links_used=ask.links, links_limit=50, key_rate_used_bps=ask.key_rate_bps, key_rate_limit_bps=1e7
        )

    async def _release(self, ask: ReleaseQuota) -> Done:
        self.reserved.pop(ask.order_id, None)
        return Done()
