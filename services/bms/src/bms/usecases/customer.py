"""A customer's life: it is entered once."""

from __future__ import annotations

from datetime import datetime

from bms.domain.terms import Customer
from bms.ports import Unit
from qmodel.errors import Conflict


async def enter(unit: Unit, tenant: str, name: str, now: datetime) -> tuple[Customer, bool]:
    """The customer, and whether it is new. Raises Conflict if the tenant is entered under another name."""
    customer = Customer(tenant, name, now)
    if await unit.add_customer(customer):
        return customer, True
    known = await unit.customer(tenant)
    if known is None or known.name != name:
        raise Conflict(f"{tenant} is entered under another name", where="/name")
    return known, False
