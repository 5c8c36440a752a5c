"""Fakes for the SMS: rows in memory with transactions, operators and a BMS that answer as they are told."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from qcommit.machine import Change, Limits
from qmodel.clock import DomainClock
from qmodel.contracts import Event
from qmodel.contracts.bms import QuotaReply
from qmodel.contracts.commit import CommitReply, MemberReport, Outcome, Verb, Vote
from qmodel.contracts.nms import DescribeReply, SiteView
from qmodel.errors import Conflict
from qmodel.links import BorderOffer, LinkRequest, Placement
from qmodel.security import SecurityLevel
from sms.domain.link import Disruption, Heard, Link, Segment
from sms.domain.note import Note
from sms.domain.order import Order
from sms.domain.queue import Waiting
from sms.domain.service import Service
from sms.domain.votes import counts_against
from sms.ports import Draft, Errand, KnownSites, UsageEntry, UsageOwner, WantedLink
from sms.usecases.sites import Sites

TOP = SecurityLevel.TOP_SECRET
YES = {
    Verb.VALIDATE: Vote.VALIDATED,
    Verb.PROVISION: Vote.PROVISIONED,
    Verb.CONFIRM: Vote.CONFIRMED,
    Verb.ABORT: Vote.ABORTED,
}
JOINT = {"border": "border", "success": 0.5, "werner": 0.99, "t2_s": 1.0}
IMPATIENT = Limits(validate_s=0.05, provision_s=0.05, settle_s=0.05, first_retry_s=0.01, last_retry_s=0.02)


@dataclass
class State:
    """All that the database would hold."""

    orders: dict[str, Order] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)
    usage: dict[str, UsageEntry] = field(default_factory=dict)
    changes: dict[str, tuple[Change, Errand]] = field(default_factory=dict)
    votes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    line: dict[str, Waiting] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    work: dict[tuple[str, str], float] = field(default_factory=dict)


class FakeUnit:
    """Implements `ports.Unit` on a copy of the state."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def order(self, order_id: str, *, lock: bool = False) -> Order | None:
        return self.state.orders.get(order_id)

    async def add_order(self, order: Order) -> None:
        assert order.order_id not in self.state.orders
        self.state.orders[order.order_id] = order

    async def save_order(self, order: Order) -> None:
        self.state.orders[order.order_id] = order

    async def service(self, service_id: str) -> Service | None:
        return self.state.services.get(service_id)

    async def add_service(self, service: Service, links: Sequence[Link]) -> None:
        if service.service_id not in self.state.services:
            self.state.services[service.service_id] = service
            self.state.links.update({link.link_id: link for link in links})

    async def save_service(self, service: Service) -> None:
        self.state.services[service.service_id] = service

    async def drop_service(self, service_id: str) -> None:
        self.state.services.pop(service_id, None)
        for link in await self.links(service_id):
            del self.state.links[link.link_id]

    async def links(self, service_id: str) -> list[Link]:
        return [link for link in self.state.links.values() if link.service_id == service_id]

    async def save_links(self, links: Sequence[Link]) -> None:
        for link in links:
            now = self.state.links[link.link_id]
            self.state.links[link.link_id] = replace(link, segments=now.segments)

    async def save_placed(self, links: Sequence[Link]) -> None:
        for link in links:
            now = {s.operator: s for s in self.state.links[link.link_id].segments}
            segments = tuple(replace(now[s.operator], placed=s.placed) for s in link.segments)
            self.state.links[link.link_id] = replace(link, segments=segments)

    async def report_state(self, link_id: str, operator: str, heard: Heard) -> bool:
        def take(segment: Segment) -> Segment | None:
            if segment.heard is not None and segment.heard.at > heard.at:
                return None
            placement = heard.placement or (segment.heard.placement if segment.heard else None)
            return replace(segment, heard=replace(heard, placement=placement))

        return self._report(link_id, operator, take)

    async def report_alarm(self, link_id: str, operator: str, alarm: Disruption) -> bool:
        def take(segment: Segment) -> Segment | None:
            old = segment.alarm is not None and segment.alarm.at > alarm.at
            return None if old else replace(segment, alarm=alarm)

        return self._report(link_id, operator, take)

    def _report(self, link_id: str, operator: str, take: Callable[[Segment], Segment | None]) -> bool:
        link = self.state.links.get(link_id)
        found = next((s for s in link.segments if s.operator == operator), None) if link else None
        new = take(found) if found else None
        if link is None or new is None:
            return False
        segments = tuple(new if s.operator == operator else s for s in link.segments)
        self.state.links[link_id] = replace(link, segments=segments)
        self.state.heard.append((operator, link.service_id))
        return True

    async def heard_of(self, operator: str, limit: int) -> list[tuple[str, int]]:
        upto = {s: i for i, (o, s) in enumerate(self.state.heard) if o == operator}
        return list(upto.items())[:limit]

    async def forget_heard(self, operator: str, service_id: str, upto: int) -> None:
        self.state.heard = [entry for entry in self.state.heard if entry != (operator, service_id)]

    async def count_usage(self, entry: UsageEntry) -> UsageOwner | None:
        link = self.state.links.get(entry.link_id)
        if link is None:
            return None
        fresh = entry.usage_id not in self.state.usage
        if fresh:
            self.state.usage[entry.usage_id] = entry
            self.state.links[link.link_id] = replace(link, usage=link.usage + entry.quantity)
        return UsageOwner(link.tenant, link.service_id, fresh)

    async def plan(self, change: Change, claims: Iterable[str], errand: Errand, at: datetime) -> None:
        if change.change_id in self.state.changes:
            return
        for claim in claims:
            holder = self.state.claims.setdefault(claim, change.change_id)
            if holder != change.change_id:
                raise Conflict("claimed", where=claim, holder=holder)
        self.state.changes[change.change_id] = (change, errand)

    async def save_change(self, change: Change, votes: list[dict[str, Any]], at: datetime) -> None:
        self.state.changes[change.change_id] = (change, self.state.changes[change.change_id][1])
        if votes:
            self.state.votes[change.change_id] = votes
        if change.phase.final:
            held = {member.name for member in change.unknown}
            self.state.claims = {
                claim: holder
                for claim, holder in self.state.claims.items()
                if holder != change.change_id or claim.partition("/")[0] in held
            }

    async def errand(self, change_id: str) -> Errand | None:
        found = self.state.changes.get(change_id)
        return found[1] if found else None

    async def refused_votes(self, change_id: str) -> list[dict[str, Any]]:
        return [vote for vote in self.state.votes.get(change_id, []) if counts_against(vote)]

    async def wait_in_line(self, waiting: Waiting) -> None:
        self.state.line.setdefault(waiting.key, waiting)

    async def leave_line(self, key: str) -> None:
        self.state.line.pop(key, None)

    async def line(self) -> list[Waiting]:
        return list(self.state.line.values())

    async def note(self, *notes: Note) -> None:
        self.state.notes.extend(notes)

    async def emit(self, *events: Event) -> None:
        self.state.events.extend(events)

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None:
        self.state.work[loop, key] = delay_s


class FakeStore:
    """Transactions one after another: what a unit did is true only if it ended without an error. Dies at the
    n-th commit when told to, before or after it became true."""

    def __init__(self) -> None:
        self.state = State()
        self.commits = 0
        self.dies_at: int | None = None
        self.dies_after_commit = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[FakeUnit]:
        unit = FakeUnit(copy.deepcopy(self.state))
        yield unit
        self.commits += 1
        dies = self.commits == self.dies_at
        if dies and not self.dies_after_commit:
            raise Killed
        self.state = unit.state
        if dies:
            raise Killed

    async def change(self, change_id: str) -> Change | None:
        found = self.state.changes.get(change_id)
        return found[0] if found else None

    async def outcome(self, change_id: str) -> Outcome:
        found = self.state.changes.get(change_id)
        return found[0].outcome if found else Outcome.ABORT


class Killed(BaseException):
    """The process died here."""


@dataclass
class FakeNetworks:
    """Operators that place everything, unless an error is put in `fails` under (operation, instance)."""

    clock: DomainClock
    sites: dict[str, tuple[str, ...]]
    fails: dict[tuple[str, str], Exception] = field(default_factory=dict)
    votes: dict[tuple[Verb, str], CommitReply] = field(default_factory=dict)
    held: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    committed: dict[str, set[str]] = field(default_factory=dict)
    removing: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def instances(self) -> tuple[str, ...]:
        return tuple(self.sites)

    def _call(self, operation: str, instance: str) -> None:
        self.asked[operation] += 1
        if (operation, instance) in self.fails:
            raise self.fails[operation, instance]

    async def describe(self, instance: str) -> DescribeReply:
        self._call("describe", instance)
        views = tuple(SiteView(site=s, node=s.lower(), clearance=TOP) for s in self.sites[instance])
        return DescribeReply(operator=instance, revision=1, sites=views, borders=())

    async def offers(
        self, instance: str, node: str, level: SecurityLevel, max_latency_s: float
    ) -> tuple[BorderOffer, ...]:
        self._call("offers", instance)
        return ()

    async def place(
        self, instance: str, change_id: str, links: Sequence[LinkRequest]
    ) -> tuple[Placement, ...]:
        self._call("place", instance)
        self.held[instance, change_id] = [link.link_id for link in links]
        return tuple(placement_of(link, instance) for link in links)

    async def remove(self, instance: str, change_id: str, link_ids: Sequence[str]) -> tuple[str, ...]:
        self._call("remove", instance)
        self.removing[instance, change_id] = list(link_ids)
        return (f"{instance}-qn",)

    async def drop(self, instance: str, change_id: str) -> None:
        self._call("drop", instance)
        self.held.pop((instance, change_id), None)
        self.removing.pop((instance, change_id), None)

    async def commit(self, instance: str, change: Change, verb: Verb) -> CommitReply:
        self._call(verb.value, instance)
        if (verb, instance) in self.votes:
            return self.votes[verb, instance]
        links = self.committed.setdefault(instance, set())
        if verb is Verb.CONFIRM:
            links |= set(self.held.pop((instance, change.change_id), []))
            links -= set(self.removing.pop((instance, change.change_id), []))
        if verb is Verb.ABORT:
            self.held.pop((instance, change.change_id), None)
        yes = {
            "validate": "validated",
            "provision": "provisioned",
            "confirm": "confirmed",
            "abort": "aborted",
        }
        vote = Vote(yes[verb.value])
        members = (
            MemberReport(member=f"ems.{instance}", vote=vote, elapsed_s=0.1),
            MemberReport(member=f"ems.{instance}/{instance}-qn", vote=vote, elapsed_s=0.1),
        )
        expires_at_s = self.clock.real_now_s() + 60 if verb is Verb.PROVISION else None
        return CommitReply(change_id=change.change_id, vote=vote, expires_at_s=expires_at_s, members=members)


def placement_of(link: LinkRequest, operator: str) -> Placement:
    return Placement(
        link_id=link.link_id,
        request=link,
        operator=operator,
        nodes=(link.a, link.b),
        quantum_links=("q1",),
        hops=(),
        detectors=(None, None),
        elements=(f"{operator}-qn",),
        fidelity=0.97,
        pair_rate_hz=20_000.0,
        key_rate_bps=link.key_rate_bps,
        latency_s=0.001,
        settle_s=300.0,
        why="the cheapest feasible path",
    )


@dataclass
class FakeQuotas:
    reserved: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None

    async def reserve(self, tenant: str, order_id: str, links: int, key_rate_bps: float) -> QuotaReply:
        if self.error is not None:
            raise self.error
        self.reserved[order_id] = links
        return QuotaReply(
            links_used=links, links_limit=50, key_rate_used_bps=key_rate_bps, key_rate_limit_bps=1e6
        )

    async def release(self, tenant: str, order_id: str) -> None:
        self.reserved.pop(order_id, None)


@dataclass
class FakePlanner:
    """One link per pair of sites; sites of different operators get a segment in each, met at `border`."""

    sites: Sites
    error: Exception | None = None

    async def draft(self, order: Order) -> Draft:
        places = await self.sites.find(order.ask.sites)
        pairs = [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
        wanted = tuple(WantedLink(order.link_id(i), a, b) for i, (a, b) in enumerate(pairs))
        return Draft(wanted, 1000.0 * len(pairs))

    async def links(self, order: Order, draft: Draft) -> list[Link]:
        if self.error is not None:
            raise self.error
        links = []
        for link_id, a, b in ((w.link_id, w.a, w.b) for w in draft.wanted):
            ends = [(a.operator, a.node, b.node)]
            if a.operator != b.operator:
                ends = [(a.operator, a.node, "border"), (b.operator, b.node, "border")]
            segments = tuple(Segment(op, a_request(link_id, near, far)) for op, near, far in ends)
            joint = (
                {"border": "border", "success": 0.5, "werner": 0.99, "t2_s": 1.0} if len(ends) > 1 else None
            )
            links.append(
                Link(link_id, order.planned_service_id, order.tenant, a.site, b.site, segments, joint)
            )
        return links


def a_request(link_id: str, a: str, b: str) -> LinkRequest:
    return LinkRequest(
        link_id=link_id,
        a=a,
        b=b,
        security_level=TOP,
        key_rate_bps=1000.0,
        min_fidelity=0.9,
        max_latency_s=1.0,
    )


@dataclass
class FakeSiteRows:
    known: dict[str, KnownSites] = field(default_factory=dict)

    async def load(self) -> list[KnownSites]:
        return list(self.known.values())

    async def save(self, known: KnownSites) -> None:
        self.known[known.instance] = known
