"""What the API shows, read under row-level security: one tenant's rows, or all of them for an operator.

Returns the domain's objects; never changes a row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from qkit.database import Connection, Database
from qkit.queries import load_queries
from qmodel.contracts.sms import ServiceState
from qmodel.errors import NotFound
from sms.domain.note import Note
from sms.domain.order import Order
from sms.domain.service import Service
from sms.ports import LinkView, Position, Scope
from sms.store.rows import Row, link_of, note_of, order_of, service_of

_AFTER_ALL = 10**17
"""A note id above all that will ever be."""


class SqlReads:
    """Implements `ports.Reads`. `db` is the pool of the api role."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = load_queries("sms.store")

    @asynccontextmanager
    async def _within(self, scope: Scope) -> AsyncIterator[Connection]:
        async with self._db.transaction(tenant=scope.tenant) as conn:
            if scope.tenant is None:
                await conn.execute(self._sql.read_all_tenants)
            yield conn

    async def orders(self, scope: Scope, after: str | None, limit: int) -> list[tuple[Order, list[Note]]]:
        async with self._within(scope) as conn:
            rows = await _all(conn, self._sql.page_of_orders, after=after, limit=limit)
            orders = [order_of(row) for row in rows]
            return await self._with_progress(conn, orders)

    async def order(self, scope: Scope, order_id: str) -> tuple[Order, list[Note]]:
        async with self._within(scope) as conn:
            rows = await _all(conn, self._sql.order_by_id, order_id=order_id)
            if not rows:
                raise NotFound("there is no such order", where=order_id)
            return (await self._with_progress(conn, [order_of(rows[0])]))[0]

    async def order_news(
        self, scope: Scope, order_id: str, after: int, limit: int
    ) -> tuple[Order, list[tuple[int, Note]]]:
        async with self._within(scope) as conn:
            rows = await _all(conn, self._sql.order_by_id, order_id=order_id)
            if not rows:
                raise NotFound("there is no such order", where=order_id)
            notes = await _all(conn, self._sql.journal_of_order, order_id=order_id, after=after, limit=limit)
            return order_of(rows[0]), [(row["note_id"], note_of(row)) for row in notes]

    async def services(self, scope: Scope, after: str | None, limit: int) -> list[tuple[Service, list[str]]]:
        async with self._within(scope) as conn:
            rows = await _all(conn, self._sql.page_of_services, after=after, limit=limit)
            return await self._with_links(conn, [service_of(row) for row in rows])

    async def service(self, scope: Scope, service_id: str) -> tuple[Service, list[str]]:
        async with self._within(scope) as conn:
            rows = await _all(conn, self._sql.service_by_id, service_id=service_id)
            if not rows:
                raise NotFound("there is no such service", where=service_id)
            return (await self._with_links(conn, [service_of(rows[0])]))[0]

    async def history(self, scope: Scope, service_id: str, after: int, limit: int) -> list[tuple[int, Note]]:
        async with self._within(scope) as conn:
            await _must_exist(conn, self._sql.service_by_id, service_id)
            rows = await _all(
                conn, self._sql.history_of_service, service_id=service_id, after=after, limit=limit
            )
        return [(row["note_id"], note_of(row)) for row in rows]

    async def links(
        self, scope: Scope, service_id: str | None, after: str | None, limit: int
    ) -> list[LinkView]:
        async with self._within(scope) as conn:
            if service_id is not None:
                await _must_exist(conn, self._sql.service_by_id, service_id)
            return await self._links(conn, service_id=service_id, after=after, limit=limit)

    async def link(self, scope: Scope, link_id: str) -> LinkView:
        async with self._within(scope) as conn:
            found = await self._links(conn, link_id=link_id, limit=1)
        if not found:
            raise NotFound("there is no such link", where=link_id)
        return found[0]

    async def usage(self, scope: Scope, service_id: str) -> list[Row]:
        async with self._within(scope) as conn:
            await _must_exist(conn, self._sql.service_by_id, service_id)
            return await _all(conn, self._sql.usage_of_service, service_id=service_id)

    async def change(self, change_id: str) -> Row:
        async with self._within(Scope(None)) as conn:
            rows = await _all(conn, self._sql.report_of, change_id=change_id)
        if not rows:
            raise NotFound("there is no such change", where=change_id)
        return rows[0]

    async def journal(self, scope: Scope, since: Position, limit: int) -> list[tuple[Position, Note]]:
        async with self._within(scope) as conn:
            rows = await _all(
                conn, self._sql.journal_since, xid=since.xid, note_id=since.note_id, limit=limit
            )
        return [(Position(row["xid"], row["note_id"]), note_of(row)) for row in rows]

    async def journal_end(self) -> Position:
        async with self._within(Scope(None)) as conn:
            rows = await _all(conn, self._sql.journal_end)
        return Position(int(rows[0]["xid"]), _AFTER_ALL)

    async def _links(self, conn: Connection, **asked: Any) -> list[LinkView]:
        values = {"service_id": None, "link_id": None, "after": None, **asked}
        rows = await _all(conn, self._sql.page_of_links, **values)
        return [LinkView(link_of(row), ServiceState(row["service_state"])) for row in rows]

    async def _with_progress(
        self, conn: Connection, orders: Sequence[Order]
    ) -> list[tuple[Order, list[Note]]]:
        ids = [order.order_id for order in orders]
        notes: dict[str, list[Note]] = {order_id: [] for order_id in ids}
        for row in await _all(conn, self._sql.progress_of_orders, order_ids=ids):
            notes[row["order_id"]].append(note_of(row))
        return [(order, notes[order.order_id]) for order in orders]

    async def _with_links(
        self, conn: Connection, services: Sequence[Service]
    ) -> list[tuple[Service, list[str]]]:
        ids = [service.service_id for service in services]
        rows = await _all(conn, self._sql.links_of_services, service_ids=ids)
        links = {row["service_id"]: row["link_ids"] for row in rows}
        return [(service, links.get(service.service_id, [])) for service in services]


async def _all(conn: Connection, query: str, **values: Any) -> list[Row]:
    return await (await conn.execute(query, values)).fetchall()


async def _must_exist(conn: Connection, query: str, service_id: str) -> None:
    """Raises NotFound for a service that is not there, or not visible."""
    if not await _all(conn, query, service_id=service_id):
        raise NotFound("there is no such service", where=service_id)
