"""The use cases' world in memory: one unit over plain dicts, with the promises that `ports` makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bms.domain.invoice import FEE_UNIT, Bucket, Fee, Invoice
from bms.domain.quota import Quota, Reservation
from bms.domain.rating import Charge, Suspension, Usage
from bms.domain.terms import Contract, Customer, Plan, Price, Terms
from bms.ports import KnownService

START = datetime(2025, 1, 31, 12, tzinfo=UTC)


@dataclass
class OpenCharge:
    key: tuple[str | None, str | None, str, Price, datetime | None]
    tenant: str
    quantity: int
    amount: Decimal
    due_at: datetime
    invoice_id: str | None = None


@dataclass
class Memory:
    """Implements `ports.Unit` and `ports.Units`."""

    customers: dict[str, Customer] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    contracts: dict[str, Contract] = field(default_factory=dict)
    quotas: dict[str, Quota] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    services: dict[str, KnownService] = field(default_factory=dict)
    usage: dict[str, tuple[Usage, Suspension | None]] = field(default_factory=dict)
    charges: list[OpenCharge] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    woken: list[tuple[str, str]] = field(default_factory=list)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Memory]:
        yield self

    async def customer(self, tenant: str, *, lock: bool = False) -> Customer | None:
        return self.customers.get(tenant)

    async def add_customer(self, customer: Customer) -> bool:
        return self.customers.setdefault(customer.tenant, customer) is customer

    async def plan(self, name: str) -> Plan | None:
        return self.plans.get(name)

    async def add_plan(self, plan: Plan) -> bool:
        return self.plans.setdefault(plan.name, plan) is plan

    async def terms(self, tenant: str) -> Terms | None:
        contract = self.contracts.get(tenant)
        return None if contract is None else Terms(contract, self.plans[contract.plan])

    async def add_contract(self, contract: Contract) -> bool:
        if self.contracts.setdefault(contract.tenant, contract) is not contract:
            return False
        self.quotas[contract.tenant] = Quota(
            contract.tenant, contract.links_limit, contract.key_rate_limit_bps
        )
        return True

    async def quota(self, tenant: str) -> Quota | None:
        return self.quotas.get(tenant)

    async def save_quota(self, quota: Quota) -> None:
        self.quotas[quota.tenant] = quota

    async def reservation(self, order_id: str) -> Reservation | None:
        return self.reservations.get(order_id)

    async def add_reservation(self, reservation: Reservation) -> bool:
        return self.reservations.setdefault(reservation.order_id, reservation) is reservation

    async def release_reservation(self, order_id: str) -> None:
        self.reservations[order_id] = replace(self.reservations[order_id], released=True)

    async def put_service(self, service: KnownService) -> bool:
        return self.services.setdefault(service.service_id, service) is service

    async def service_tenant(self, service_id: str) -> str | None:
        known = self.services.get(service_id)
        return None if known is None else known.tenant

    async def add_usage(self, usage: Usage, suspended: Suspension | None) -> bool:
        if usage.usage_id in self.usage:
            return False
        self.usage[usage.usage_id] = (usage, suspended)
        return True

    async def add_charge(self, charge: Charge) -> None:
        usage = charge.usage
        key = (usage.service_id, usage.link_id, usage.unit, charge.price, None)
        self.charges.append(OpenCharge(key, usage.tenant, usage.quantity, charge.amount, usage.period_end))

    async def suspended_usage(self, tenant: str, after: str, limit: int) -> list[tuple[Usage, Suspension]]:
        waiting = [
            (usage, reason)
            for usage, reason in self.usage.values()
            if usage.tenant == tenant and reason is not None and usage.usage_id > after
        ]
        return sorted(waiting, key=lambda found: found[0].usage_id)[:limit]

    async def set_suspended(self, usage_id: str, suspended: Suspension | None) -> None:
        self.usage[usage_id] = (self.usage[usage_id][0], suspended)

    async def add_fees(self, contract: Contract, fees: Iterable[Fee]) -> None:
        charged = {charge.key[4] for charge in self.charges if charge.tenant == contract.tenant}
        for fee in fees:
            if fee.month_start not in charged:
                price = Price(FEE_UNIT, Decimal(1), fee.amount)
                key = (None, None, FEE_UNIT, price, fee.month_start)
                self.charges.append(OpenCharge(key, contract.tenant, 1, fee.amount, fee.month_start))

    async def close_charges(self, tenant: str, until: datetime, invoice_id: str) -> list[Bucket]:
        sums: dict[tuple[str | None, str | None, str, Price, datetime | None], list[OpenCharge]]
        sums = defaultdict(list)
        for charge in self.charges:
            if charge.tenant == tenant and charge.invoice_id is None and charge.due_at <= until:
                charge.invoice_id = invoice_id
                sums[charge.key].append(charge)
        return [
            Bucket(
                service_id,
                link_id,
                None if service_id is None else self.services[service_id].kind,
                price,
                sum(charge.quantity for charge in found),
                sum((charge.amount for charge in found), Decimal(0)),
                month,
            )
            for (service_id, link_id, _, price, month), found in sums.items()
        ]

    async def next_number(self) -> int:
        return len(self.invoices) + 1

    async def last_invoice(self, tenant: str) -> Invoice | None:
        return next((one for one in reversed(self.invoices) if one.tenant == tenant), None)

    async def add_invoice(self, invoice: Invoice) -> None:
        self.invoices.append(invoice)

    async def wake(self, loop: str, key: str, delay_s: float = 0.0) -> None:
        self.woken.append((loop, key))


@pytest.fixture
def unit() -> Memory:
    return Memory()


@pytest.fixture
def signed() -> Memory:
    """Acme has a contract since START: 0.02 per 1000 key bits, 10.00 a month, 10 links, 1000 bit/s."""
    prices = (Price("key-bits", Decimal(1000), Decimal("0.02")),)
    plan = Plan("standard", "EUR", prices, Decimal("10.00"), START)
    contract = Contract("con_1", "acme", "standard", START, 10, 1000, START)
    service = KnownService("svc_1", "acme", "ord_1", "full_mesh_vpn", "active", START)
    return Memory(
        customers={"acme": Customer("acme", "Acme", START)},
        plans={"standard": plan},
        contracts={"acme": contract},
        quotas={"acme": Quota("acme", 10, 1000)},
        services={"svc_1": service},
    )
