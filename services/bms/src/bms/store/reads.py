"""What the API shows, read under row-level security: one tenant's rows, or all of them for staff.

Implements `ports.Reads` on the api role's pool; never changes a row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bms.domain.invoice import Invoice
from bms.domain.quota import Quota
from bms.domain.terms import Contract, Customer, Plan
from bms.ports import Scope, UsageFilter, UsageView
from bms.store.rows import (
    Row,
    contract_of,
    customer_of,
    invoice_of,
    line_of,
    plan_of,
    quota_of,
    usage_view_of,
)
from qkit.database import Connection, Database
from qkit.queries import load_queries
from qmodel.errors import NotFound

_BATCH = 1000


class SqlReads:
    """`db` is the pool of the api role."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = load_queries("bms.store")

    @asynccontextmanager
    async def _within(self, scope: Scope) -> AsyncIterator[Connection]:
        async with self._db.transaction(tenant=scope.tenant) as conn:
            if scope.tenant is None:
                await conn.execute(self._sql.read_all_tenants)
            yield conn

    async def customers(self, scope: Scope, after: str | None, limit: int) -> list[Customer]:
        rows = await self._all(scope, self._sql.page_of_customers, after=after, limit=limit)
        return [customer_of(row) for row in rows]

    async def customer(self, scope: Scope, tenant: str) -> Customer:
        return customer_of(await self._one(scope, "customer", self._sql.customer, tenant=tenant))

    async def plans(self, scope: Scope, after: str | None, limit: int) -> list[Plan]:
        rows = await self._all(scope, self._sql.plans, name=None, after=after, limit=limit)
        return [plan_of(row) for row in rows]

    async def plan(self, scope: Scope, name: str) -> Plan:
        return plan_of(await self._one(scope, "plan", self._sql.plans, name=name, after=None, limit=1))

    async def contracts(self, scope: Scope, after: str | None, limit: int) -> list[Contract]:
        rows = await self._all(scope, self._sql.page_of_contracts, after=after, limit=limit)
        return [contract_of(row) for row in rows]

    async def contract(self, scope: Scope, contract_id: str) -> Contract:
        return contract_of(await self._one(scope, "contract", self._sql.contract, contract_id=contract_id))

    async def quota(self, scope: Scope, tenant: str) -> Quota:
        return quota_of(await self._one(scope, "quota", self._sql.quota, tenant=tenant))

    async def usage(
        self, scope: Scope, chosen: UsageFilter, after: tuple[datetime, str] | None, limit: int
    ) -> list[UsageView]:
        return await self._usage(scope, self._sql.usage_newest_first, chosen, after, limit)

    async def all_usage(self, scope: Scope, chosen: UsageFilter) -> AsyncIterator[Sequence[UsageView]]:
        """A transaction per batch, so that a slow reader holds none open."""
        after: tuple[datetime, str] | None = None
        while True:
            batch = await self._usage(scope, self._sql.usage_oldest_first, chosen, after, _BATCH)
            if batch:
                yield batch
            if len(batch) < _BATCH:
                return
            after = (batch[-1].usage.period_start, batch[-1].usage.usage_id)

    async def invoices(
        self, scope: Scope, tenant: str | None, after: str | None, limit: int
    ) -> list[Invoice]:
        rows = await self._all(scope, self._sql.page_of_invoices, tenant=tenant, after=after, limit=limit)
        return [invoice_of(row) for row in rows]

    async def invoice(self, scope: Scope, invoice_id: str) -> Invoice:
        row = await self._one(scope, "invoice", self._sql.invoice, invoice_id=invoice_id)
        lines = await self._all(scope, self._sql.lines_of_invoice, invoice_id=invoice_id)
        return invoice_of(row, tuple(line_of(line) for line in lines))

    async def _usage(
        self,
        scope: Scope,
        query: str,
        chosen: UsageFilter,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[UsageView]:
        start, usage_id = after or (None, None)
        values = {**asdict(chosen), "after_start": start, "after_id": usage_id, "limit": limit}
        return [usage_view_of(row) for row in await self._all(scope, query, **values)]

    async def _all(self, scope: Scope, query: str, **values: Any) -> list[Row]:
        async with self._within(scope) as conn:
            return await (await conn.execute(query, values)).fetchall()

    async def _one(self, scope: Scope, what: str, query: str, **values: Any) -> Row:
        rows = await self._all(scope, query, **values)
        if not rows:
            raise NotFound(f"there is no such {what}", where=next(str(v) for v in values.values()))
        return rows[0]
