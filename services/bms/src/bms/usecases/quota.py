"""A reservation's life: an order takes quota, holds it, and gives it back once.

The SMS asks; a question may be repeated, and may come late.
"""

from __future__ import annotations

from bms.domain.quota import Amount, Quota, Reservation
from bms.ports import Unit
from qmodel.errors import Conflict, Forbidden


async def reserve(unit: Unit, tenant: str, order_id: str, amount: Amount) -> Quota:
    """Hold `amount` for the order and return the quota as it then is; again for the same order, nothing more.

    Raises QuotaExceeded, Forbidden for a tenant without a contract, Conflict for an order that reserved
    something else or was released already.
    """
    asked = Reservation(order_id, tenant, amount)
    fresh = await unit.add_reservation(asked)
    held = asked if fresh else await unit.reservation(order_id)
    if held is None or (held.tenant, held.released) == (tenant, True):
        raise Conflict("the order gave its quota back already", where=order_id)
    if held != asked:
        raise Conflict("the order has another reservation", where=order_id)
    quota = await unit.quota(tenant)
    if quota is None:
        raise Forbidden(f"{tenant} has no contract: billing must sign one before it can order")
    if fresh:
        quota = quota.take(amount)
        await unit.save_quota(quota)
    return quota


async def release(unit: Unit, tenant: str, order_id: str) -> None:
    """Give back what the order holds, once. An order that never reserved is marked too, so that a
    reservation still under way comes to nothing. Raises Conflict for another tenant's order."""
    if await unit.add_reservation(Reservation(order_id, tenant, Amount(0, 0), released=True)):
        return
    held = await unit.reservation(order_id)
    if held is None or held.tenant != tenant:
        raise Conflict("the order is another tenant's", where=order_id)
    if held.released:
        return
    quota = await unit.quota(tenant)
    if quota is not None:
        await unit.save_quota(quota.give_back(held.amount))
    await unit.release_reservation(order_id)
