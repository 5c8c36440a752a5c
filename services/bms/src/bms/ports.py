"""What the use cases need: rows in one transaction, and reads for the doors. `store` implements it.

Unit tests bring their own. A `Unit` is one transaction with the worker's rights: everything done through it
becomes true together, wake-ups included.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from bms.domain.invoice import Bucket, Fee, Invoice
from bms.domain.quota import Quota, Reservation
from bms.domain.rating import Charge, Suspension, Usage
from bms.domain.terms import Contract, Customer, Plan, Terms

RATING_LOOP = "rating"
"""Keyed by tenant: looks again at usage that had to wait."""


@dataclass(frozen=True)
class KnownService:
    """A service as the SMS told of it last; `changed_at` is domain time."""

    service_id: str
    tenant: str
    order_id: str
    kind: str
    state: str
    changed_at: datetime


@dataclass(frozen=True)
class UsageView:
    """A record with what became of it: its exact `amount`, or why it is suspended."""

    usage: Usage
    suspended: Suspension | None
    amount: Decimal | None
    currency: str | None
    invoice_id: str | None


@dataclass(frozen=True)
class UsageFilter:
    """Records that begin in [start, end), of one tenant or service, suspended or not; None: whatever."""

    tenant: str | None = None
    service_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    suspended: bool | None = None


@dataclass(frozen=True)
class Scope:
    """Whose rows may be read: one tenant's, or with `tenant` None everybody's."""

    tenant: str | None


class Unit(Protocol):
    """One transaction. `add_...` return False, changing nothing, when there is such a row already."""

    async def customer(self, tenant: str, *, lock: bool = False) -> Customer | None: ...
    async def add_customer(self, customer: Customer) -> bool: ...
    async def plan(self, name: str) -> Plan | None: ...
    async def add_plan(self, plan: Plan) -> bool: ...
    async def terms(self, tenant: str) -> Terms | None: ...
    async def add_contract(self, contract: Contract) -> bool:
        """Together with its empty quota."""

    async def quota(self, tenant: str) -> Quota | None:
        """Locked until the end of the transaction."""

    async def save_quota(self, quota: Quota) -> None: ...
    async def reservation(self, order_id: str) -> Reservation | None:
        """Locked until the end of the transaction."""

    async def add_reservation(self, reservation: Reservation) -> bool: ...
    async def release_reservation(self, order_id: str) -> None: ...

    async def put_service(self, service: KnownService) -> bool:
        """Store what is newest; whether it was not known before."""

    async def service_tenant(self, service_id: str) -> str | None: ...
    async def add_usage(self, usage: Usage, suspended: Suspension | None) -> bool: ...
    async def add_charge(self, charge: Charge) -> None: ...
    async def suspended_usage(self, tenant: str, after: str, limit: int) -> list[tuple[Usage, Suspension]]:
        """In the order of their ids after `after`, locked until the end of the transaction."""

    async def set_suspended(self, usage_id: str, suspended: Suspension | None) -> None: ...

    async def add_fees(self, contract: Contract, fees: Iterable[Fee]) -> None:
        """Charge those months that were not charged before."""

    async def close_charges(self, tenant: str, until: datetime, invoice_id: str) -> list[Bucket]:
        """Put every open charge due at or before `until` on the invoice, added up by line."""

    async def next_number(self) -> int:
        """The next of an unbroken row of numbers; given back if the transaction fails."""

    async def last_invoice(self, tenant: str) -> Invoice | None:
        """Without its lines."""

    async def add_invoice(self, invoice: Invoice) -> None: ...
    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None: ...


class Units(Protocol):
    """Opens transactions with the worker's rights."""

    def begin(self) -> AbstractAsyncContextManager[Unit]: ...


class Reads(Protocol):
    """What the doors show, under row-level security. Pages hold up to `limit` items after a key; single items
    raise NotFound when they are not there or not the reader's."""

    async def customers(self, scope: Scope, after: str | None, limit: int) -> list[Customer]: ...
    async def customer(self, scope: Scope, tenant: str) -> Customer: ...
    async def plans(self, scope: Scope, after: str | None, limit: int) -> list[Plan]: ...
    async def plan(self, scope: Scope, name: str) -> Plan: ...
    async def contracts(self, scope: Scope, after: str | None, limit: int) -> list[Contract]: ...
    async def contract(self, scope: Scope, contract_id: str) -> Contract: ...
    async def quota(self, scope: Scope, tenant: str) -> Quota: ...
    async def usage(
        self, scope: Scope, chosen: UsageFilter, after: tuple[datetime, str] | None, limit: int
    ) -> list[UsageView]:
        """Newest period first."""

    def all_usage(self, scope: Scope, chosen: UsageFilter) -> AsyncIterator[Sequence[UsageView]]:
        """Oldest period first, in batches: memory does not grow with their number."""

    async def invoices(
        self, scope: Scope, tenant: str | None, after: str | None, limit: int
    ) -> list[Invoice]:
        """Newest first, without their lines."""

    async def invoice(self, scope: Scope, invoice_id: str) -> Invoice: ...
