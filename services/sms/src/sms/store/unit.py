"""One transaction as the use cases see it, on PostgreSQL.

`Store` opens transactions with the worker's rights, and binds a unit to a transaction that somebody else
opened: a consumer's, or an API request's under row-level security. SQL is in `queries.sql`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from qcommit.machine import Change
from qkit import commitlog
from qkit.database import Connection, Database
from qkit.events import emit
from qkit.queries import Queries, load_queries
from qkit.reconcile import wake
from qmodel.contracts import Event
from qmodel.contracts.commit import Outcome
from sms.domain.link import Disruption, Heard, Link
from sms.domain.note import Note
from sms.domain.order import Order
from sms.domain.queue import Waiting
from sms.domain.service import Service
from sms.domain.votes import counts_against
from sms.ports import Errand, UsageEntry, UsageOwner
from sms.store.rows import (
    Row,
    alarm_row,
    link_of,
    link_row,
    note_row,
    order_of,
    order_row,
    segment_rows,
    service_of,
    service_row,
)


class Store:
    """`told` is called after a commit in which something was written to the journal."""

    def __init__(self, db: Database, told: Callable[[], None]) -> None:
        self._db = db
        self._told = told
        self._sql = load_queries("sms.store")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlUnit]:
        async with self._db.transaction() as conn:
            unit = self.on(conn)
            yield unit
        if unit.has_told:
            self._told()

    def on(self, conn: Connection) -> SqlUnit:
        """A unit within a transaction that the caller commits."""
        return SqlUnit(conn, self._sql)

    async def change(self, change_id: str) -> Change | None:
        async with self._db.transaction() as conn:
            stored = await commitlog.load(conn, change_id)
            return None if stored is None else stored.change

    async def outcome(self, change_id: str) -> Outcome:
        async with self._db.transaction() as conn:
            return await commitlog.outcome(conn, change_id)


class SqlUnit:
    """Implements `ports.Unit`."""

    def __init__(self, conn: Connection, sql: Queries) -> None:
        self._conn = conn
        self._sql = sql
        self.has_told = False

    # Orders.

    async def order(self, order_id: str, *, lock: bool = False) -> Order | None:
        query = self._sql.order_locked if lock else self._sql.order_by_id
        row = await self._one(query, {"order_id": order_id})
        return None if row is None else order_of(row)

    async def add_order(self, order: Order) -> None:
        await self._conn.execute(self._sql.add_order, order_row(order))

    async def save_order(self, order: Order) -> None:
        await self._conn.execute(self._sql.save_order, order_row(order))

    # Services and links.

    async def service(self, service_id: str) -> Service | None:
        row = await self._one(self._sql.service_by_id, {"service_id": service_id})
        return None if row is None else service_of(row)

    async def add_service(self, service: Service, links: Sequence[Link]) -> None:
        added = await self._conn.execute(self._sql.add_service, service_row(service))
        if added.rowcount == 1:
            rows = [link_row(link, place) for place, link in enumerate(links)]
            segments = [row for link in links for row in segment_rows(link)]
            await self._conn.execute(self._sql.add_links, {"links": Jsonb(rows), "segments": Jsonb(segments)})

    async def save_service(self, service: Service) -> None:
        await self._conn.execute(self._sql.save_service, service_row(service))

    async def drop_service(self, service_id: str) -> None:
        await self._conn.execute(self._sql.drop_service, {"service_id": service_id})

    async def links(self, service_id: str) -> list[Link]:
        rows = await self._conn.execute(self._sql.links_of_service, {"service_id": service_id})
        return [link_of(row) for row in await rows.fetchall()]

    async def save_links(self, links: Sequence[Link]) -> None:
        if links:
            rows = [link_row(link) for link in links]
            await self._conn.execute(self._sql.save_links, {"links": Jsonb(rows)})

    async def save_placed(self, links: Sequence[Link]) -> None:
        rows = [row for link in links for row in segment_rows(link)]
        await self._conn.execute(self._sql.save_placed, {"segments": Jsonb(rows)})
        await self.save_links(links)

    # What operators report.

    async def report_state(self, link_id: str, operator: str, heard: Heard) -> bool:
        placement = None if heard.placement is None else Jsonb(heard.placement.model_dump(mode="json"))
        told = await self._conn.execute(
            self._sql.report_state,
            {
                "link_id": link_id,
                "operator": operator,
                "state": heard.state.value,
                "at": heard.at,
                "reason": heard.reason,
                "expected_up_at": heard.expected_up_at,
                "placement": placement,
            },
        )
        return told.rowcount > 0

    async def report_alarm(self, link_id: str, operator: str, alarm: Disruption) -> bool:
        told = await self._conn.execute(
            self._sql.report_alarm,
            {
                "link_id": link_id,
                "operator": operator,
                "alarm": Jsonb(alarm_row(alarm)),
                "at": alarm.at,
            },
        )
        return told.rowcount > 0

    async def heard_of(self, operator: str, limit: int) -> list[tuple[str, int]]:
        rows = await self._conn.execute(self._sql.heard_of, {"operator": operator, "limit": limit})
        return [(row["service_id"], row["upto"]) for row in await rows.fetchall()]

    async def forget_heard(self, operator: str, service_id: str, upto: int) -> None:
        await self._conn.execute(
            self._sql.forget_heard, {"operator": operator, "service_id": service_id, "upto": upto}
        )

    async def count_usage(self, entry: UsageEntry) -> UsageOwner | None:
        row = await self._one(self._sql.count_usage, asdict(entry))
        return None if row is None else UsageOwner(row["tenant"], row["service_id"], row["fresh"])

    # Network-wide changes.

    async def plan(self, change: Change, claims: Iterable[str], errand: Errand, at: datetime) -> None:
        body = asdict(errand)
        await commitlog.insert(self._conn, change, claims, body)
        timeline = [_step(change, at)]
        await self._conn.execute(self._sql.add_report, {**body, "timeline": Jsonb(timeline)})

    async def save_change(self, change: Change, votes: list[dict[str, Any]], at: datetime) -> None:
        await commitlog.save(self._conn, change)
        await self._conn.execute(
            self._sql.save_report,
            {"change_id": change.change_id, "votes": Jsonb(votes), "step": Jsonb([_step(change, at)])},
        )

    async def errand(self, change_id: str) -> Errand | None:
        stored = await commitlog.load(self._conn, change_id)
        return None if stored is None else Errand(**stored.body)

    async def refused_votes(self, change_id: str) -> list[dict[str, Any]]:
        row = await self._one(self._sql.report_of, {"change_id": change_id})
        votes = [] if row is None else row["votes"]
        return [vote for vote in votes if counts_against(vote)]

    async def wait_in_line(self, waiting: Waiting) -> None:
        await self._conn.execute(
            self._sql.stand_in_line,
            {"key": waiting.key, "loop": waiting.loop, "claims": sorted(waiting.claims)},
        )

    async def leave_line(self, key: str) -> None:
        await self._conn.execute(self._sql.leave_line, {"key": key})

    async def line(self) -> list[Waiting]:
        rows = await self._conn.execute(self._sql.line)
        return [Waiting(row["loop"], row["key"], frozenset(row["claims"])) for row in await rows.fetchall()]

    # Telling others.

    async def note(self, *notes: Note) -> None:
        if notes:
            self.has_told = True
            rows = [note_row(note) for note in notes]
            await self._conn.execute(self._sql.add_notes, {"notes": Jsonb(rows)})

    async def emit(self, *events: Event) -> None:
        await emit(self._conn, *events)

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None:
        await wake(self._conn, loop, key, delay_s)

    async def _one(self, query: str, values: dict[str, Any]) -> Row | None:
        return await (await self._conn.execute(query, values)).fetchone()


def _step(change: Change, at: datetime) -> dict[str, Any]:
    return {
        "at": at.isoformat(),
        "phase": change.phase.value,
        "members": {member.name: member.vote.value if member.vote else None for member in change.members},
    }
