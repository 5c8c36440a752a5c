"""One transaction as the use cases see it, on PostgreSQL.

`Store` opens transactions with the worker's rights, and binds a unit to a transaction that somebody else
opened: a consumer's, or an API request's. SQL is in `queries.sql`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bms.domain.invoice import FEE_UNIT, Bucket, Fee, Invoice
from bms.domain.quota import Quota, Reservation
from bms.domain.rating import Charge, Suspension, Usage
from bms.domain.terms import Contract, Customer, Plan, Terms
from bms.ports import KnownService
from bms.store.rows import (
    Row,
    bucket_of,
    contract_of,
    customer_of,
    invoice_of,
    plan_of,
    quota_of,
    reservation_of,
    usage_of,
)
from qkit.database import Connection, Database
from qkit.queries import Queries, load_queries
from qkit.reconcile import wake


class Store:
    """`db` is the pool of the worker role."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = load_queries("bms.store")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlUnit]:
        async with self._db.transaction() as conn:
            yield self.on(conn)

    def on(self, conn: Connection) -> SqlUnit:
        """A unit within the transaction of `conn`."""
        return SqlUnit(conn, self._sql)


class SqlUnit:
    """Implements `ports.Unit`."""

    def __init__(self, conn: Connection, queries: Queries) -> None:
        self._conn = conn
        self._sql = queries

    # What was agreed.

    async def customer(self, tenant: str, *, lock: bool = False) -> Customer | None:
        row = await self._one(self._sql.lock_customer if lock else self._sql.customer, tenant=tenant)
        return None if row is None else customer_of(row)

    async def add_customer(self, customer: Customer) -> bool:
        return await self._did(self._sql.add_customer, asdict(customer))

    async def plan(self, name: str) -> Plan | None:
        row = await self._one(self._sql.plans, name=name, after=None, limit=1)
        return None if row is None else plan_of(row)

    async def add_plan(self, plan: Plan) -> bool:
        if not await self._did(self._sql.add_plan, asdict(plan)):
            return False
        for price in plan.prices:
            await self._conn.execute(self._sql.add_price, {"plan": plan.name, **asdict(price)})
        return True

    async def terms(self, tenant: str) -> Terms | None:
        row = await self._one(self._sql.contract_of_tenant, tenant=tenant)
        if row is None:
            return None
        contract = contract_of(row)
        plan = await self.plan(contract.plan)
        assert plan is not None, "a contract's plan is never deleted"
        return Terms(contract, plan)

    async def add_contract(self, contract: Contract) -> bool:
        return await self._did(self._sql.add_contract, asdict(contract))

    # What orders hold.

    async def quota(self, tenant: str) -> Quota | None:
        row = await self._one(self._sql.lock_quota, tenant=tenant)
        return None if row is None else quota_of(row)

    async def save_quota(self, quota: Quota) -> None:
        await self._conn.execute(self._sql.save_quota, asdict(quota))

    async def reservation(self, order_id: str) -> Reservation | None:
        row = await self._one(self._sql.lock_reservation, order_id=order_id)
        return None if row is None else reservation_of(row)

    async def add_reservation(self, reservation: Reservation) -> bool:
        values = {**asdict(reservation), **asdict(reservation.amount)}
        return await self._did(self._sql.add_reservation, values)

    async def release_reservation(self, order_id: str) -> None:
        await self._conn.execute(self._sql.release_reservation, {"order_id": order_id})

    # What was used.

    async def put_service(self, service: KnownService) -> bool:
        row = await self._one(self._sql.put_service, **asdict(service))
        return row is not None and bool(row["fresh"])

    async def service_tenant(self, service_id: str) -> str | None:
        row = await self._one(self._sql.service_tenant, service_id=service_id)
        return None if row is None else str(row["tenant"])

    async def add_usage(self, usage: Usage, suspended: Suspension | None) -> bool:
        return await self._did(self._sql.add_usage, {**asdict(usage), "suspended": _value(suspended)})

    async def add_charge(self, charge: Charge) -> None:
        await self._conn.execute(
            self._sql.add_charge,
            {
                **asdict(charge.usage),
                "contract_id": charge.contract_id,
                "price_per": charge.price.price_per,
                "price_amount": charge.price.amount,
                "amount": charge.amount,
                "due_at": charge.usage.period_end,
            },
        )

    async def suspended_usage(self, tenant: str, after: str, limit: int) -> list[tuple[Usage, Suspension]]:
        values = {"tenant": tenant, "after": after, "limit": limit}
        rows = await (await self._conn.execute(self._sql.suspended_usage, values)).fetchall()
        return [(usage_of(row), Suspension(row["suspended"])) for row in rows]

    async def set_suspended(self, usage_id: str, suspended: Suspension | None) -> None:
        values = {"usage_id": usage_id, "suspended": _value(suspended)}
        await self._conn.execute(self._sql.set_suspended, values)

    # What is billed.

    async def add_fees(self, contract: Contract, fees: Iterable[Fee]) -> None:
        for fee in fees:
            await self._conn.execute(
                self._sql.add_fee,
                {
                    "tenant": contract.tenant,
                    "contract_id": contract.contract_id,
                    "month_start": fee.month_start,
                    "unit": FEE_UNIT,
                    "amount": fee.amount,
                },
            )

    async def close_charges(self, tenant: str, until: datetime, invoice_id: str) -> list[Bucket]:
        values = {"tenant": tenant, "until": until, "invoice_id": invoice_id}
        rows = await (await self._conn.execute(self._sql.close_charges, values)).fetchall()
        return [bucket_of(row) for row in rows]

    async def next_number(self) -> int:
        row = await self._one(self._sql.next_number)
        assert row is not None, "the series is there since the first migration"
        return int(row["last"])

    async def last_invoice(self, tenant: str) -> Invoice | None:
        row = await self._one(self._sql.last_invoice, tenant=tenant)
        return None if row is None else invoice_of(row)

    async def add_invoice(self, invoice: Invoice) -> None:
        await self._conn.execute(self._sql.add_invoice, asdict(invoice))
        async with self._conn.cursor() as cursor:
            own = {"invoice_id": invoice.invoice_id, "tenant": invoice.tenant}
            lines = [{**asdict(line), **own, "place": place} for place, line in enumerate(invoice.lines)]
            await cursor.executemany(self._sql.add_line, lines)

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None:
        await wake(self._conn, loop, key, delay_s)

    async def _one(self, query: str, **values: Any) -> Row | None:
        return await (await self._conn.execute(query, values)).fetchone()

    async def _did(self, query: str, values: Mapping[str, Any]) -> bool:
        return (await self._conn.execute(query, values)).rowcount > 0


def _value(suspended: Suspension | None) -> str | None:
    return None if suspended is None else suspended.value
