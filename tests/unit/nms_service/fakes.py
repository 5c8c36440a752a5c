"""Fakes for the NMS: a store in memory with transactions, and EMSs that answer as they are told."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from nms.domain.link import Standing
from nms.domain.plan import Plan, PlanState
from nms.ports import OVERBOOKED, LinkAlarmRow, LinkRow, ReportRow, TopologyRow, Unit
from qcommit.machine import Change
from qmodel.contracts import Event
from qmodel.contracts.commit import CommitReply, MemberReport, Outcome, Verb, Vote
from qmodel.contracts.ems import Alarm, ElementReadiness, PerceivedSeverity, UsageCounted
from qmodel.errors import Conflict
from qmodel.nodeconfig import NodeConfig
from qmodel.topology import Topology

T = TypeVar("T")
TRIANGLE = Path(__file__).parent / "triangle.yaml"
EPOCH = 7


@dataclass
class State:
    """All that the database would hold."""

    topologies: list[TopologyRow] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)
    reports: dict[str, tuple[MemberReport, ...]] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    holds: dict[str, dict[str, int]] = field(default_factory=dict)
    shares: dict[str, dict[str, int]] = field(default_factory=dict)
    revisions: list[tuple[str, dict[str, NodeConfig]]] = field(default_factory=list)
    changes: dict[str, tuple[Change, dict[str, Any]]] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    links: dict[str, LinkRow] = field(default_factory=dict)
    away: dict[str, bool] = field(default_factory=dict)
    heard: dict[str, datetime] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    readiness: dict[str, dict[str, ReportRow]] = field(default_factory=dict)
    alarms: dict[tuple[str, str, str], tuple[Alarm, datetime]] = field(default_factory=dict)
    link_alarms: dict[str, LinkAlarmRow] = field(default_factory=dict)
    counted: dict[tuple[str, ...], set[int]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    wakes: list[tuple[str, str, float]] = field(default_factory=list)


class FakeUnit:
    def __init__(self, state: State, save_error: Exception | None = None) -> None:
        self.s = state
        self._save_error = save_error

    async def topology(self, lock: str | None = None) -> TopologyRow | None:
        return self.s.topologies[-1] if self.s.topologies else None

    async def keep_topology(self, topology: Topology, who: str) -> int:
        revision = len(self.s.topologies) + 1
        self.s.topologies.append(TopologyRow(revision, topology, who, datetime.now(UTC)))
        return revision

    async def plan(self, change_id: str, *, lock: bool = False) -> Plan | None:
        return self.s.plans.get(change_id)

    async def add_plan(self, plan: Plan) -> bool:
        known = self.s.plans.get(plan.change_id)
        if known is not None and known.state is not PlanState.EXPIRED:
            return False
        self.s.plans[plan.change_id] = plan
        return True

    async def extend_plan(self, change_id: str, expires_at: datetime) -> None:
        self.s.plans[change_id] = replace(self.s.plans[change_id], expires_at=expires_at)

    async def begin_plan(self, change_id: str) -> None:
        self.s.plans[change_id] = replace(self.s.plans[change_id], state=PlanState.COMMITTING)

    async def end_plan(
        self, change_id: str, state: PlanState, problem: str | None, report: Sequence[MemberReport]
    ) -> None:
        self.s.plans[change_id] = replace(self.s.plans[change_id], state=state, problem=problem)
        self.s.reports[change_id] = tuple(report)

    async def used_ppm(self) -> dict[str, int]:
        return {name: ppm for name, ppm in self.s.used.items() if ppm}

    def _take(self, shares: Mapping[str, int], sign: int = 1) -> None:
        for name, ppm in shares.items():
            self.s.used[name] = self.s.used.get(name, 0) + sign * ppm
            if not 0 <= self.s.used[name] <= 1_000_000:
                raise Conflict("a rule of the stored data forbids it", constraint=OVERBOOKED)

    async def hold_shares(self, change_id: str, shares: Mapping[str, int]) -> None:
        self._take(shares)
        held = self.s.holds.setdefault(change_id, {})
        for name, ppm in shares.items():
            held[name] = held.get(name, 0) + ppm

    async def release_hold(self, change_id: str) -> None:
        self._take(self.s.holds.pop(change_id, {}), -1)

    async def replace_link_shares(self, link_id: str, shares: Mapping[str, int]) -> None:
        self._take(self.s.shares.pop(link_id, {}), -1)
        self._take(shares)
        if shares:
            self.s.shares[link_id] = dict(shares)

    async def add_revision(self, plan: Plan, targets: Mapping[str, NodeConfig]) -> None:
        self.s.revisions.append((plan.change_id, dict(targets)))

    async def open_change(self, change: Change, claims: Iterable[str], body: dict[str, Any]) -> bool:
        if change.change_id in self.s.changes:
            return False
        for name in sorted(claims):
            holder = self.s.claims.setdefault(name, change.change_id)
            if holder != change.change_id:
                raise Conflict(f"{name} is claimed by another change", where=name, holder=holder)
        self.s.changes[change.change_id] = (change, body)
        return True

    async def save_change(self, change: Change) -> None:
        if self._save_error is not None:
            raise self._save_error
        self.s.changes[change.change_id] = (change, self.s.changes[change.change_id][1])
        if change.phase.final:
            kept = tuple(f"{member.name}/" for member in change.unknown)
            for name, holder in list(self.s.claims.items()):
                if holder == change.change_id and not name.startswith(kept or ("\0",)):
                    del self.s.claims[name]

    async def change(self, change_id: str) -> tuple[Change, dict[str, Any]] | None:
        return self.s.changes.get(change_id)

    async def unfinished(self) -> list[str]:
        return [
            change_id
            for change_id, (change, _) in self.s.changes.items()
            if not change.phase.final or change.unknown
        ]

    async def holder_lives(self, epoch: int) -> bool:
        return False

    async def links(self, link_ids: Sequence[str] | None = None, *, lock: bool = False) -> list[LinkRow]:
        rows = sorted(self.s.links.values(), key=lambda row: row.link_id)
        return [row for row in rows if (row.in_force if link_ids is None else row.link_id in link_ids)]

    async def links_at(self, element: str) -> list[LinkRow]:
        said = self.s.readiness.get(element, {})
        return [row for row in await self.links() if element in row.parts or row.link_id in said]

    async def links_touching(self, elements: Iterable[str]) -> list[LinkRow]:
        wanted = set(elements)
        return [row for row in await self.links() if wanted & set(row.placement.elements)]

    async def put_link(self, row: LinkRow) -> None:
        self.s.links[row.link_id] = row

    async def set_standing(self, link_id: str, standing: Standing, since: datetime) -> None:
        row = self.s.links[link_id]
        self.s.links[link_id] = replace(
            row,
            state=standing.state,
            reason=standing.reason,
            expected_in_s=standing.expected_in_s,
            since=since,
            version=row.version + 1,
        )

    async def take_readiness(self, ems: str, event: ElementReadiness, heard_at: datetime) -> bool:
        if self.s.heard.get(event.element, heard_at) > heard_at:
            return False
        self.s.heard[event.element] = heard_at
        self.s.away[event.element] = not event.reachable
        if event.reachable:
            self.s.readiness[event.element] = {c.link_id: ReportRow(c, heard_at) for c in event.circuits}
        return True

    async def reports(self, link_id: str) -> dict[str, ReportRow]:
        return {element: said[link_id] for element, said in self.s.readiness.items() if link_id in said}

    async def unreachable(self) -> frozenset[str]:
        return frozenset(element for element, away in self.s.away.items() if away)

    async def set_stale(self, elements: Iterable[str], stale: bool) -> None:
        self.s.stale = self.s.stale | set(elements) if stale else self.s.stale - set(elements)

    async def stale(self, element: str) -> bool:
        return element in self.s.stale

    async def take_alarm(self, ems: str, alarm: Alarm, heard_at: datetime) -> bool:
        key = (alarm.element, alarm.resource, alarm.alarm_type)
        if key in self.s.alarms and self.s.alarms[key][1] > heard_at:
            return False
        self.s.alarms[key] = (alarm, heard_at)
        return True

    async def active_alarms(self) -> list[Alarm]:
        return [a for a, _ in self.s.alarms.values() if a.severity is not PerceivedSeverity.CLEARED]

    async def link_alarms(self) -> dict[str, LinkAlarmRow]:
        return dict(self.s.link_alarms)

    async def raise_link_alarm(self, row: LinkAlarmRow) -> None:
        self.s.link_alarms[row.link_id] = row

    async def clear_link_alarm(self, link_id: str, at: datetime) -> LinkAlarmRow | None:
        return self.s.link_alarms.pop(link_id, None)

    async def count_usage(self, event: UsageCounted) -> int:
        seen = self.s.counted.setdefault((event.element, event.link_id, event.unit, event.boot_id), set())
        fresh = set(range(event.from_count, event.to_count)) - seen
        seen |= fresh
        return len(fresh)

    async def emit(self, *events: Event) -> None:
        self.s.events.extend(events)

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None:
        self.s.wakes.append((loop, key, delay_s))


class FakeStore:
    """One transaction at a time; an error leaves everything as it was. `save_error` is raised in place of
    saving a change."""

    def __init__(self) -> None:
        self.state = State()
        self.save_error: Exception | None = None
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[Unit], Awaitable[T]]) -> T:
        async with self._lock:
            trial = copy.copy(self.state)
            for name, value in vars(self.state).items():
                setattr(
                    trial, name, copy.deepcopy(value) if name in ("holds", "shares") else copy.copy(value)
                )
            result = await work(FakeUnit(trial, self.save_error))
            self.state = trial
            return result


_YES = {
    Verb.VALIDATE: Vote.VALIDATED,
    Verb.PROVISION: Vote.PROVISIONED,
    Verb.CONFIRM: Vote.CONFIRMED,
    Verb.ABORT: Vote.ABORTED,
}


class FakePeers:
    """EMSs that agree, unless `script` has another vote or an error for (ems, verb)."""

    def __init__(self) -> None:
        self.script: dict[tuple[str, Verb], Vote | Exception] = {}
        self.told: list[tuple[str, Verb]] = []
        self.targets: dict[tuple[str, str], NodeConfig] = {}
        self.parent = Outcome.UNDECIDED

    async def tell_ems(
        self, ems: str, change: Change, verb: Verb, targets: Mapping[str, NodeConfig]
    ) -> CommitReply:
        self.told.append((ems, verb))
        for element, target in targets.items():
            self.targets[change.change_id, element] = target
        scripted = self.script.get((ems, verb), _YES[verb])
        if isinstance(scripted, Exception):
            raise scripted
        detail = None if scripted is _YES[verb] else f"{ems} says {scripted.value}"
        return CommitReply(change_id=change.change_id, vote=scripted, detail=detail)

    async def ask_outcome(self, parent: str, change_id: str) -> Outcome:
        return self.parent
