"""What the use cases need from the world: rows, peers, time. `store` and `adapters` implement it.

Unit tests bring their own. A `Unit` is one transaction: everything done through it becomes true together,
events and wake-ups included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from qcommit.machine import Change
from qmodel.contracts import Event
from qmodel.contracts.bms import QuotaReply
from qmodel.contracts.commit import CommitReply, Outcome, Verb
from qmodel.contracts.nms import DescribeReply, SiteView
from qmodel.contracts.sms import ServiceState
from qmodel.links import BorderOffer, LinkRequest, Placement
from qmodel.security import SecurityLevel
from sms.domain.link import Disruption, Heard, Link
from sms.domain.note import Note
from sms.domain.order import Order
from sms.domain.queue import Waiting
from sms.domain.service import Service

ORDER_LOOP = "order"
"""Keyed by order: carries it on."""
SERVICE_LOOP = "service"
"""Keyed by service: takes it down."""
HEARD_LOOP = "heard"
"""Keyed by operator: lets services follow what it reported."""
SETTLE_LOOP = "change"
"""Keyed by change: tries members of unknown state again after its end."""


@dataclass(frozen=True)
class Errand:
    """What a network-wide change is for: to `create` or to `remove` the links of a service."""

    change_id: str
    purpose: str
    order_id: str
    service_id: str
    tenant: str


@dataclass(frozen=True)
class UsageEntry:
    """Usage of one link as an NMS reported it; `usage_id` is counted once for ever. Domain time."""

    usage_id: str
    link_id: str
    operator: str
    unit: str
    quantity: int
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True)
class UsageOwner:
    """Whose link it is that was used; `fresh` unless this usage was counted before."""

    tenant: str
    service_id: str
    fresh: bool


class Unit(Protocol):
    """One transaction. Whoever changes anything of an order locks the order first."""

    async def order(self, order_id: str, *, lock: bool = False) -> Order | None: ...
    async def add_order(self, order: Order) -> None: ...
    async def save_order(self, order: Order) -> None: ...

    async def service(self, service_id: str) -> Service | None: ...
    async def add_service(self, service: Service, links: Sequence[Link]) -> None:
        """Store a planned service with its links and segments; nothing if it is there already."""

    async def save_service(self, service: Service) -> None: ...
    async def drop_service(self, service_id: str) -> None:
        """Delete a service that never came to be, with its links."""

    async def links(self, service_id: str) -> list[Link]: ...
    async def save_links(self, links: Sequence[Link]) -> None: ...
    async def save_placed(self, links: Sequence[Link]) -> None:
        """Save links together with where their segments were placed."""

    async def report_state(self, link_id: str, operator: str, heard: Heard) -> bool:
        """Take in what an operator says, unless newer is known or there is no such segment; whether taken."""

    async def report_alarm(self, link_id: str, operator: str, alarm: Disruption) -> bool: ...
    async def heard_of(self, operator: str, limit: int) -> list[tuple[str, int]]:
        """Services that the operator's reports concern, with a position to forget them up to."""

    async def forget_heard(self, operator: str, service_id: str, upto: int) -> None: ...
    async def count_usage(self, entry: UsageEntry) -> UsageOwner | None:
        """Add to the link's total once per `usage_id`; None if there never was such a link."""

    async def plan(self, change: Change, claims: Iterable[str], errand: Errand, at: datetime) -> None:
        """Store a planned change and claim its elements. Raises Conflict naming the `holder`."""

    async def save_change(self, change: Change, votes: list[dict[str, Any]], at: datetime) -> None:
        """Save a change and its report. Raises Unavailable when another process has taken it over."""

    async def errand(self, change_id: str) -> Errand | None: ...
    async def refused_votes(self, change_id: str) -> list[dict[str, Any]]:
        """Votes that the change's report has against it: {member, vote, detail, where, ...}."""

    async def wait_in_line(self, waiting: Waiting) -> None: ...
    async def leave_line(self, key: str) -> None: ...
    async def line(self) -> list[Waiting]:
        """Everybody who waits, oldest first."""

    async def note(self, *notes: Note) -> None: ...
    async def emit(self, *events: Event) -> None: ...
    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None: ...


class Units(Protocol):
    """Opens transactions with the worker's rights."""

    def begin(self) -> AbstractAsyncContextManager[Unit]: ...


class Binder(Protocol):
    """Binds a unit to a transaction that somebody else opened and commits: an API request's under row-level
    security, or a consumer's. `conn` is whatever the plumbing hands out."""

    def on(self, conn: Any) -> Unit: ...


class ChangeRows(Protocol):
    """Durable rows of network-wide changes, read outside a unit."""

    async def change(self, change_id: str) -> Change | None: ...
    async def outcome(self, change_id: str) -> Outcome: ...


class Networks(Protocol):
    """The operators' NMSs. Every call has a time limit and raises typed errors; TimedOut and Unavailable mean
    that it may or may not have happened, and the same call may be made again."""

    @property
    def instances(self) -> tuple[str, ...]: ...

    async def describe(self, instance: str) -> DescribeReply: ...
    async def offers(
        self, instance: str, node: str, level: SecurityLevel, max_latency_s: float
    ) -> tuple[BorderOffer, ...]: ...
    async def place(
        self, instance: str, change_id: str, links: Sequence[LinkRequest]
    ) -> tuple[Placement, ...]: ...
    async def remove(self, instance: str, change_id: str, link_ids: Sequence[str]) -> tuple[str, ...]: ...
    async def drop(self, instance: str, change_id: str) -> None: ...
    async def commit(self, instance: str, change: Change, verb: Verb) -> CommitReply: ...


class Quotas(Protocol):
    """The BMS's answers."""

    async def reserve(self, tenant: str, order_id: str, links: int, key_rate_bps: float) -> QuotaReply: ...
    async def release(self, tenant: str, order_id: str) -> None: ...


@dataclass(frozen=True)
class KnownSites:
    """What one operator said about itself last."""

    operator: str
    instance: str
    revision: int
    sites: tuple[SiteView, ...] = field(default_factory=tuple)
    borders: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class Place:
    """A site: the operator that has it, the NMS instance to ask, and the operator's node there."""

    site: str
    operator: str
    instance: str
    node: str


@dataclass(frozen=True)
class WantedLink:
    link_id: str
    a: Place
    b: Place


@dataclass(frozen=True)
class Draft:
    """An order split into links, before anybody is asked, and the key that they need in all."""

    wanted: tuple[WantedLink, ...]
    key_rate_bps: float


class Planner(Protocol):
    """Turns an order into links and each link into one request per operator."""

    async def draft(self, order: Order) -> Draft:
        """Raises Invalid for a site that is not there (any more)."""

    async def links(self, order: Order, draft: Draft) -> list[Link]:
        """Links with their segments' requests, the borders of those across operators chosen. Raises
        Infeasible with `refusals` where no border fits."""


class SiteRows(Protocol):
    """What operators said, kept over restarts."""

    async def load(self) -> list[KnownSites]: ...
    async def save(self, known: KnownSites) -> None: ...


@dataclass(frozen=True)
class Scope:
    """Whose rows may be seen: one tenant's, or with `tenant` None everybody's."""

    tenant: str | None


@dataclass(frozen=True)
class LinkView:
    """A link with the state of the service that it belongs to."""

    link: Link
    service: ServiceState


@dataclass(frozen=True)
class Position:
    """A place in the journal that a stream can go on from."""

    xid: int
    note_id: int


class Reads(Protocol):
    """What the API shows. Lists are newest first, after the id `after`. What is not there, or not in the
    scope, raises NotFound."""

    async def orders(self, scope: Scope, after: str | None, limit: int) -> list[tuple[Order, list[Note]]]:
        """With what was told about each."""

    async def order(self, scope: Scope, order_id: str) -> tuple[Order, list[Note]]: ...
    async def order_news(
        self, scope: Scope, order_id: str, after: int, limit: int
    ) -> tuple[Order, list[tuple[int, Note]]]:
        """The order, and what was told about it or anything made from it after note `after`."""

    async def services(self, scope: Scope, after: str | None, limit: int) -> list[tuple[Service, list[str]]]:
        """With the ids of each one's links."""

    async def service(self, scope: Scope, service_id: str) -> tuple[Service, list[str]]: ...
    async def history(self, scope: Scope, service_id: str, after: int, limit: int) -> list[tuple[int, Note]]:
        """What was told about the service itself after note `after`, oldest first."""

    async def links(
        self, scope: Scope, service_id: str | None, after: str | None, limit: int
    ) -> list[LinkView]:
        """Of one service or of all."""

    async def link(self, scope: Scope, link_id: str) -> LinkView: ...
    async def usage(self, scope: Scope, service_id: str) -> list[dict[str, Any]]:
        """Totals by link: link_id, a, b, unit (None before any usage), quantity."""

    async def change(self, change_id: str) -> dict[str, Any]:
        """How a network-wide change went. For operators; changes belong to no tenant."""

    async def journal(self, scope: Scope, since: Position, limit: int) -> list[tuple[Position, Note]]:
        """What was told after `since`. Nothing is skipped: what is still in flight comes later."""

    async def journal_end(self) -> Position: ...
