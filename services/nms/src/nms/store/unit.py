"""One open transaction of an NMS's database, as the use cases see it (`nms.ports.Unit`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from nms.domain.link import Standing
from nms.domain.plan import Plan, PlanState
from nms.ports import LinkAlarmRow, LinkRow, ReportRow, TopologyRow, Unit
from nms.store.rows import (
    Row,
    alarm_of,
    alarm_row,
    json_of,
    jsonb_list,
    link_alarm_of,
    link_of,
    link_row,
    plan_of,
    plan_row,
    topology_of,
)
from qcommit.machine import Change
from qkit import commitlog
from qkit.database import Connection, Database
from qkit.events import emit
from qkit.queries import Queries, load_queries
from qkit.reconcile import wake
from qmodel.contracts import Event
from qmodel.contracts.commit import MemberReport
from qmodel.contracts.ems import Alarm, CircuitReadiness, ElementReadiness, PerceivedSeverity, UsageCounted
from qmodel.nodeconfig import NodeConfig
from qmodel.topology import Topology

T = TypeVar("T")


class PgStore:
    """Opens units on one pool, in one role."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = load_queries("nms.store")
        self._topologies: dict[int, TopologyRow] = {}

    async def run(self, work: Callable[[Unit], Awaitable[T]]) -> T:
        return await self._db.run(lambda conn: work(self.unit(conn)))

    def unit(self, conn: Connection) -> PgUnit:
        """A unit in a transaction that somebody else has opened, such as a consumer of events."""
        return PgUnit(conn, self._sql, self._topologies)


class PgUnit:
    """`topologies` remembers the last parsed topology, which never changes under its revision."""

    def __init__(self, conn: Connection, sql: Queries, topologies: dict[int, TopologyRow]) -> None:
        self._conn = conn
        self._sql = sql
        self._topologies = topologies

    async def _all(self, statement: str, **values: Any) -> list[Row]:
        return await (await self._conn.execute(statement, values)).fetchall()

    async def _one(self, statement: str, **values: Any) -> Row | None:
        return await (await self._conn.execute(statement, values)).fetchone()

    async def _do(self, statement: str, **values: Any) -> int:
        return (await self._conn.execute(statement, values)).rowcount

    # Topology.

    async def topology(self, lock: str | None = None) -> TopologyRow | None:
        statements = {
            None: self._sql.topology_revision,
            "share": self._sql.lock_topology_shared,
            "update": self._sql.lock_topology,
        }
        row = await self._one(statements[lock])
        if row is None or row["revision"] is None:
            return None
        if row["revision"] not in self._topologies:
            found = await self._one(self._sql.topology)
            assert found is not None
            self._topologies.clear()
            self._topologies[found["revision"]] = topology_of(found)
        return next(iter(self._topologies.values()))

    async def keep_topology(self, topology: Topology, who: str) -> int:
        row = await self._one(self._sql.insert_topology, document=Jsonb(json_of(topology)), who=who)
        assert row is not None
        await self._do(self._sql.put_topology_in_force, revision=row["revision"])
        return int(row["revision"])

    # Plans and capacity.

    async def plan(self, change_id: str, *, lock: bool = False) -> Plan | None:
        row = await self._one(self._sql.lock_plan if lock else self._sql.plan, change_id=change_id)
        return None if row is None else plan_of(row)

    async def add_plan(self, plan: Plan) -> bool:
        return await self._do(self._sql.add_plan, **plan_row(plan)) == 1

    async def extend_plan(self, change_id: str, expires_at: datetime) -> None:
        await self._do(self._sql.extend_plan, change_id=change_id, expires_at=expires_at)

    async def begin_plan(self, change_id: str) -> None:
        await self._do(self._sql.begin_plan, change_id=change_id)

    async def end_plan(
        self, change_id: str, state: PlanState, problem: str | None, report: Sequence[MemberReport]
    ) -> None:
        await self._do(
            self._sql.end_plan,
            change_id=change_id,
            state=state.value,
            problem=problem,
            report=jsonb_list(report),
        )

    async def used_ppm(self) -> dict[str, int]:
        return {row["resource"]: row["used_ppm"] for row in await self._all(self._sql.used)}

    async def hold_shares(self, change_id: str, shares: Mapping[str, int]) -> None:
        if wanted := {resource: ppm for resource, ppm in shares.items() if ppm}:
            await self._take(wanted)
            await self._do(self._sql.hold, change_id=change_id, **_lists(wanted))

    async def release_hold(self, change_id: str) -> None:
        await self._give_back(await self._all(self._sql.release_hold, change_id=change_id))

    async def replace_link_shares(self, link_id: str, shares: Mapping[str, int]) -> None:
        await self._give_back(await self._all(self._sql.release_link, link_id=link_id))
        if shares:
            await self._take(shares)
            await self._do(self._sql.take_link, link_id=link_id, **_lists(shares))

    async def _take(self, deltas: Mapping[str, int]) -> None:
        await self._do(self._sql.name_resources, resources=sorted(deltas))
        await self._do(self._sql.take, **_lists(deltas))

    async def _give_back(self, rows: list[Row]) -> None:
        if rows:
            await self._do(self._sql.take, **_lists({row["resource"]: -row["share_ppm"] for row in rows}))

    async def add_revision(self, plan: Plan, targets: Mapping[str, NodeConfig]) -> None:
        await self._do(
            self._sql.add_revision,
            change_id=plan.change_id,
            who=plan.who,
            why=plan.why,
            targets=Jsonb({element: json_of(target) for element, target in targets.items()}),
        )

    # The commit's rows.

    async def open_change(self, change: Change, claims: Iterable[str], body: dict[str, Any]) -> bool:
        return await commitlog.insert(self._conn, change, claims, body)

    async def save_change(self, change: Change) -> None:
        await commitlog.save(self._conn, change)

    async def change(self, change_id: str) -> tuple[Change, dict[str, Any]] | None:
        stored = await commitlog.load(self._conn, change_id)
        return None if stored is None else (stored.change, stored.body)

    async def unfinished(self) -> list[str]:
        return await commitlog.unfinished(self._conn)

    async def holder_lives(self, epoch: int) -> bool:
        return await self._one(self._sql.holder_lives, epoch=epoch) is not None

    # Links and reports.

    async def links(self, link_ids: Sequence[str] | None = None, *, lock: bool = False) -> list[LinkRow]:
        statement = self._sql.lock_links if lock else self._sql.links
        rows = await self._all(statement, link_ids=None if link_ids is None else list(link_ids))
        return [link_of(row) for row in rows]

    async def links_at(self, element: str) -> list[LinkRow]:
        return [link_of(row) for row in await self._all(self._sql.links_at, element=element)]

    async def links_touching(self, elements: Iterable[str]) -> list[LinkRow]:
        rows = await self._all(self._sql.links_touching, elements=sorted(elements))
        return [link_of(row) for row in rows]

    async def put_link(self, row: LinkRow) -> None:
        await self._do(self._sql.put_link, **link_row(row))

    async def set_standing(self, link_id: str, standing: Standing, since: datetime) -> None:
        await self._do(
            self._sql.set_standing,
            link_id=link_id,
            state=standing.state.value,
            reason=standing.reason[:2000],
            expected_in_s=standing.expected_in_s,
            since=since,
        )

    async def take_readiness(self, ems: str, event: ElementReadiness, heard_at: datetime) -> bool:
        element = event.element
        taken = await self._do(
            self._sql.take_element, element=element, ems=ems, reachable=event.reachable, heard_at=heard_at
        )
        if not taken:
            return False
        if event.reachable:  # else nothing is known: what was said last stands
            await self._do(self._sql.drop_readiness, element=element)
            for circuit in event.circuits:
                await self._do(
                    self._sql.add_readiness,
                    element=element,
                    link_id=circuit.link_id,
                    circuit=Jsonb(json_of(circuit)),
                    heard_at=heard_at,
                )
        return True

    async def reports(self, link_id: str) -> dict[str, ReportRow]:
        return {
            row["element"]: ReportRow(CircuitReadiness.model_validate(row["circuit"]), row["heard_at"])
            for row in await self._all(self._sql.reports, link_id=link_id)
        }

    async def unreachable(self) -> frozenset[str]:
        return frozenset(row["element"] for row in await self._all(self._sql.unreachable))

    async def set_stale(self, elements: Iterable[str], stale: bool) -> None:
        if names := sorted(elements):
            await self._do(self._sql.set_stale, elements=names, stale=stale)

    async def stale(self, element: str) -> bool:
        row = await self._one(self._sql.stale, element=element)
        return row is not None and bool(row["stale"])

    # Alarms and usage.

    async def take_alarm(self, ems: str, alarm: Alarm, heard_at: datetime) -> bool:
        row = alarm_row(ems, alarm, heard_at)
        if await self._one(self._sql.later_alarm, **row) is not None:
            return False
        if alarm.severity is not PerceivedSeverity.CLEARED:
            await self._do(self._sql.put_alarm, **row)
        elif not await self._do(self._sql.end_alarm, **row):
            await self._do(self._sql.note_cleared, **row)
        return True

    async def active_alarms(self) -> list[Alarm]:
        return [alarm_of(row) for row in await self._all(self._sql.active_alarms)]

    async def link_alarms(self) -> dict[str, LinkAlarmRow]:
        return {row["link_id"]: link_alarm_of(row) for row in await self._all(self._sql.link_alarms)}

    async def raise_link_alarm(self, row: LinkAlarmRow) -> None:
        await self._do(
            self._sql.raise_link_alarm,
            link_id=row.link_id,
            severity=row.severity,
            root_cause=row.root_cause,
            text=row.text,
            raised_at=row.raised_at,
        )

    async def clear_link_alarm(self, link_id: str, at: datetime) -> LinkAlarmRow | None:
        row = await self._one(self._sql.clear_link_alarm, link_id=link_id, at=at)
        return None if row is None else link_alarm_of(row)

    async def count_usage(self, event: UsageCounted) -> int:
        counter = event.model_dump(
            include={"element", "link_id", "unit", "boot_id", "from_count", "to_count"}
        )
        await self._do(self._sql.name_counter, **counter)
        row = await self._one(self._sql.count, **counter)
        return 0 if row is None else int(row["fresh"])

    # Telling others.

    async def emit(self, *events: Event) -> None:
        await emit(self._conn, *events)

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None:
        await wake(self._conn, loop, key, delay_s)


def _lists(deltas: Mapping[str, int]) -> dict[str, list[Any]]:
    """Parallel arrays for `unnest`, sorted, so that rows are locked in one order."""
    resources = sorted(deltas)
    return {"resources": resources, "deltas": [deltas[resource] for resource in resources]}
