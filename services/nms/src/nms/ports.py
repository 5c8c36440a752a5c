"""Protocols that the NMS's use cases need from the outside, and the rows that they exchange with the store.

`app` puts the real things in, unit tests put fakes in. A `Unit` is one open transaction: what is done in it
happens together or not at all. Every error is one of `qmodel.errors`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from nms.domain.link import Standing
from nms.domain.plan import Plan, PlanState
from qcommit.machine import Change
from qmodel.contracts import Event
from qmodel.contracts.commit import CommitReply, MemberReport, Outcome, Verb
from qmodel.contracts.ems import Alarm, CircuitReadiness, ElementReadiness, UsageCounted
from qmodel.links import LinkRequest, LinkState, Placement
from qmodel.nodeconfig import NodeConfig
from qmodel.topology import Topology

T = TypeVar("T")

COMMIT_LOOP = "commit"
HOLD_LOOP = "hold"
LINK_LOOP = "link"
HEAL_LOOP = "heal"
ALIGN_LOOP = "align"
NETWORK_KEY = "network"
"""The one key of the heal loop: faults are looked at together."""


@dataclass(frozen=True)
class TopologyRow:
    revision: int
    topology: Topology
    imported_by: str
    imported_at: datetime


@dataclass(frozen=True)
class LinkRow:
    """A link as it stands. `placement` is in force if `in_force`, else held or past. `since` is domain time,
    `committed_at` real time; `change_id` is the open change that has it."""

    link_id: str
    state: LinkState
    request: LinkRequest
    placement: Placement
    in_force: bool
    since: datetime
    parts: tuple[str, ...] = ()
    change_id: str | None = None
    reason: str = ""
    expected_in_s: float = 0.0
    committed_at: datetime | None = None
    version: int = 1


@dataclass(frozen=True)
class ReportRow:
    """What an element said of a link; `heard_at` is real time, when its EMS said it."""

    circuit: CircuitReadiness
    heard_at: datetime


@dataclass(frozen=True)
class LinkAlarmRow:
    link_id: str
    severity: str
    root_cause: str
    text: str
    raised_at: datetime


class PlanUnit(Protocol):
    """Topology, plans, capacity and the commit's own rows."""

    async def topology(self, lock: str | None = None) -> TopologyRow | None:
        """The one in force; `lock` "share" keeps it in force until the end, "update" is for its successor."""

    async def keep_topology(self, topology: Topology, who: str) -> int:
        """Put it in force; returns its revision."""

    async def plan(self, change_id: str, *, lock: bool = False) -> Plan | None: ...

    async def add_plan(self, plan: Plan) -> bool:
        """Keep a new plan, or one in place of its expired namesake; False if there is another one."""

    async def extend_plan(self, change_id: str, expires_at: datetime) -> None: ...

    async def begin_plan(self, change_id: str) -> None:
        """A commit has taken it up."""

    async def end_plan(
        self, change_id: str, state: PlanState, problem: str | None, report: Sequence[MemberReport]
    ) -> None: ...

    async def used_ppm(self) -> dict[str, int]:
        """What links in force and held plans take, by resource."""

    async def hold_shares(self, change_id: str, shares: Mapping[str, int]) -> None:
        """Take capacity for a plan, besides what it holds. Raises Conflict with the fact `constraint`
        equal to `OVERBOOKED` when it is not there; the transaction is then lost."""

    async def release_hold(self, change_id: str) -> None:
        """Give back what a plan holds; nothing if it holds nothing."""

    async def replace_link_shares(self, link_id: str, shares: Mapping[str, int]) -> None:
        """What a link in force takes from now on, instead of what it took."""

    async def add_revision(self, plan: Plan, targets: Mapping[str, NodeConfig]) -> None: ...

    async def open_change(self, change: Change, claims: Iterable[str], body: dict[str, Any]) -> bool:
        """Store a planned commit and claim its elements; False if it is there already. Raises Conflict
        with the fact `holder` when another change has one of them; the transaction is then lost."""

    async def save_change(self, change: Change) -> None: ...

    async def change(self, change_id: str) -> tuple[Change, dict[str, Any]] | None: ...

    async def unfinished(self) -> list[str]: ...

    async def holder_lives(self, epoch: int) -> bool:
        """Whether the process of that epoch still has its lease."""


OVERBOOKED = "resource_never_overbooked"


class LinkUnit(Protocol):
    """Links, and what is reported about them."""

    async def links(self, link_ids: Sequence[str] | None = None, *, lock: bool = False) -> list[LinkRow]:
        """Those named, or all in force; by id."""

    async def links_at(self, element: str) -> list[LinkRow]:
        """Those in force with circuits on `element`, or named in what it last reported; by id."""

    async def links_touching(self, elements: Iterable[str]) -> list[LinkRow]:
        """Those in force whose placement names one of `elements`; by id."""

    async def put_link(self, row: LinkRow) -> None:
        """Insert or replace."""

    async def set_standing(self, link_id: str, standing: Standing, since: datetime) -> None: ...

    async def take_readiness(self, ems: str, event: ElementReadiness, heard_at: datetime) -> bool:
        """Keep what an element reports; False if something later is known already."""

    async def reports(self, link_id: str) -> dict[str, ReportRow]:
        """By element."""

    async def unreachable(self) -> frozenset[str]: ...

    async def set_stale(self, elements: Iterable[str], stale: bool) -> None: ...

    async def stale(self, element: str) -> bool: ...


class FaultUnit(Protocol):
    """Alarms and usage."""

    async def take_alarm(self, ems: str, alarm: Alarm, heard_at: datetime) -> bool:
        """Keep an alarm or its clearing; False if something later is known already."""

    async def active_alarms(self) -> list[Alarm]: ...

    async def link_alarms(self) -> dict[str, LinkAlarmRow]:
        """The active ones, by link."""

    async def raise_link_alarm(self, row: LinkAlarmRow) -> None:
        """Raise it, or give the active one of the link another cause."""

    async def clear_link_alarm(self, link_id: str, at: datetime) -> LinkAlarmRow | None:
        """The alarm that was active, if there was one."""

    async def count_usage(self, event: UsageCounted) -> int:
        """Mark the span as counted; how much of it was new."""


class Unit(PlanUnit, LinkUnit, FaultUnit, Protocol):
    """One transaction."""

    async def emit(self, *events: Event) -> None: ...

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None: ...


class Store(Protocol):
    async def run(self, work: Callable[[Unit], Awaitable[T]]) -> T:
        """`work` in one transaction, again from the start when it lost a race."""


class Binder(Protocol):
    """Binds a unit to a transaction that a consumer opened; `conn` is what the plumbing hands out."""

    def unit(self, conn: Any) -> Unit: ...


Row = dict[str, Any]


class Reads(Protocol):
    """What the API shows. Pages are ordered by their key; one row more than is shown is asked for."""

    async def links(self, after: str, limit: int) -> list[LinkRow]: ...

    async def link(self, link_id: str) -> LinkRow | None: ...

    async def alarms(self, *, every: bool, before: tuple[datetime, str] | None, limit: int) -> list[Row]: ...

    async def changes(self, before: tuple[datetime, str] | None, limit: int) -> list[Row]: ...

    async def change(self, change_id: str) -> Row | None: ...

    async def revisions(self, before: int | None, limit: int) -> list[Row]: ...

    async def revision(self, revision_id: int) -> Row | None: ...

    async def elements(self) -> dict[str, Row]: ...

    async def used(self, after: str, limit: int) -> list[Row]: ...

    async def told_after(self, sequence: int) -> list[Row]:
        """Our events after `sequence`, at most 200, in order."""

    async def told_last(self) -> int: ...


class Peers(Protocol):
    """Other services. Both raise `qmodel.errors` (TimedOut and Unavailable when nobody answers)."""

    async def tell_ems(
        self, ems: str, change: Change, verb: Verb, targets: Mapping[str, NodeConfig]
    ) -> CommitReply:
        """`ems` is a name on the bus, such as `ems.space`."""

    async def ask_outcome(self, parent: str, change_id: str) -> Outcome: ...
