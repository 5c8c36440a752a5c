"""NMSs and the BMS as the use cases see them, asked over the bus.

Every call is one request with a time limit. Requests carry ids made from the domain's own, so that the same
question asked again after a crash is the same request; the verbs of a commit are idempotent by change and
verb, and asked again they must be answered anew, so each of those has its own id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from qcommit.machine import LIMITS, Change, Level
from qkit.bus import Bus
from qmodel.contracts.bms import QuotaReply, ReleaseQuota, ReserveQuota
from qmodel.contracts.commit import CommitAtNms, CommitReply, Verb
from qmodel.contracts.nms import Describe, DescribeReply, DropChange, OfferBorders, PlaceLinks, RemoveLinks
from qmodel.errors import NotFound
from qmodel.ids import new_id
from qmodel.links import BorderOffer, LinkRequest, Placement
from qmodel.security import SecurityLevel

_MARGIN_S = 2.0
"""For the way to an NMS and back, and for what it does before its own limit begins."""


def commit_limits_s() -> dict[Verb, float]:
    """How long an answer of an NMS is waited for: longer than it may work on it, shorter than we have."""
    below = LIMITS[Level.MIDDLE]
    return {
        Verb.VALIDATE: below.validate_s + _MARGIN_S,
        Verb.PROVISION: below.provision_s + _MARGIN_S,
        Verb.CONFIRM: below.settle_s + _MARGIN_S,
        Verb.ABORT: below.settle_s + _MARGIN_S,
    }


@dataclass(frozen=True)
class Patience:
    """Time limits of requests in seconds of real time. Placing solves a problem, a verb of a commit reaches
    down to devices."""

    question_s: float = 5.0
    place_s: float = 20.0
    commit_s: Mapping[Verb, float] = field(default_factory=commit_limits_s)


class BusNetworks:
    """Implements `ports.Networks`. `coordinator` is our own name (`sms.main`), which NMSs in doubt ask."""

    def __init__(
        self, bus: Bus, instances: Sequence[str], coordinator: str, patience: Patience | None = None
    ) -> None:
        self._bus = bus
        self._instances = tuple(instances)
        self._coordinator = coordinator
        self._patience = patience or Patience()

    @property
    def instances(self) -> tuple[str, ...]:
        return self._instances

    async def describe(self, instance: str) -> DescribeReply:
        request = Describe(request_id=new_id("req"))
        return await self._bus.request(instance, request, timeout_s=self._patience.question_s)

    async def offers(
        self, instance: str, node: str, level: SecurityLevel, max_latency_s: float
    ) -> tuple[BorderOffer, ...]:
        request = OfferBorders(
            request_id=new_id("req"), node=node, security_level=level, max_latency_s=max_latency_s
        )
        reply = await self._bus.request(instance, request, timeout_s=self._patience.place_s)
        return reply.offers

    async def place(
        self, instance: str, change_id: str, links: Sequence[LinkRequest]
    ) -> tuple[Placement, ...]:
        request = PlaceLinks(request_id=f"{change_id}.place", change_id=change_id, links=tuple(links))
        reply = await self._bus.request(instance, request, timeout_s=self._patience.place_s)
        return reply.placements

    async def remove(self, instance: str, change_id: str, link_ids: Sequence[str]) -> tuple[str, ...]:
        request = RemoveLinks(request_id=f"{change_id}.remove", change_id=change_id, link_ids=tuple(link_ids))
        reply = await self._bus.request(instance, request, timeout_s=self._patience.place_s)
        return reply.elements

    async def drop(self, instance: str, change_id: str) -> None:
        request = DropChange(request_id=f"{change_id}.drop", change_id=change_id)
        await self._bus.request(instance, request, timeout_s=self._patience.question_s)

    async def commit(self, instance: str, change: Change, verb: Verb) -> CommitReply:
        request = CommitAtNms(
            request_id=new_id("req"),
            change_id=change.change_id,
            epoch=change.epoch,
            verb=verb,
            coordinator=self._coordinator,
            confirm_timeout_s=change.confirm_timeout_s,
        )
        return await self._bus.request(instance, request, timeout_s=self._patience.commit_s[verb])


class BusQuotas:
    """Implements `ports.Quotas`."""

    def __init__(self, bus: Bus, instance: str, patience: Patience | None = None) -> None:
        self._bus = bus
        self._instance = instance
        self._patience = patience or Patience()

    async def reserve(self, tenant: str, order_id: str, links: int, key_rate_bps: float) -> QuotaReply:
        request = ReserveQuota(
            request_id=f"{order_id}.reserve",
            tenant=tenant,
            order_id=order_id,
            links=links,
            key_rate_bps=key_rate_bps,
        )
        return await self._bus.request(self._instance, request, timeout_s=self._patience.question_s)

    async def release(self, tenant: str, order_id: str) -> None:
        request = ReleaseQuota(request_id=f"{order_id}.release", tenant=tenant, order_id=order_id)
        with suppress(NotFound):  # nothing was reserved
            await self._bus.request(self._instance, request, timeout_s=self._patience.question_s)
