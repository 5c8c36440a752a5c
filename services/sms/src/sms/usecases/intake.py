"""Orders as they come in, and tenants who change their minds: the API's side of an order's life.

Each verb runs in the tenant's own transaction, under row-level security; the loop does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qmodel.clock import DomainClock
from qmodel.errors import NotFound
from sms.domain.ask import Ask, checked
from sms.domain.order import Order, OrderState, end
from sms.domain.problem import cancelled
from sms.ports import ORDER_LOOP, Unit
from sms.usecases.following import order_note
from sms.usecases.order import OrderLimits
from sms.usecases.sites import Sites


@dataclass(frozen=True)
class Intake:
    sites: Sites
    clock: DomainClock
    limits: OrderLimits

    async def check(self, ask: Ask) -> Ask:
        """The ask with its sites as the operators spell them. Raises Invalid, or Unavailable if it cannot be
        told now; touches no row."""
        places = await self.sites.find(checked(ask).sites)
        return checked(ask.at([place.site for place in places]))

    async def receive(self, unit: Unit, order_id: str, tenant: str, ask: Ask, name: str | None) -> Order:
        """Store a checked ask as a new order and wake the loop."""
        order = Order(
            order_id=order_id,
            tenant=tenant,
            ask=ask,
            created_at=self.clock.now(),
            deadline_s=self.clock.real_now_s() + self.limits.place_s,
            name=name,
        )
        await unit.add_order(order)
        await unit.wake(ORDER_LOOP, order.order_id)
        return order

    async def cancel(self, unit: Unit, order_id: str, expect: Callable[[int], None]) -> Order:
        """Have the order undone. Raises NotFound for one that is not the tenant's, Conflict for a final one,
        and what `expect` raises about its present version."""
        order = await unit.order(order_id, lock=True)
        if order is None:
            raise NotFound("there is no such order", where=order_id)
        expect(order.version)
        ending = end(order, OrderState.CANCELLED, cancelled())
        if ending is not order:
            await unit.save_order(ending)
            await unit.note(order_note(ending, "cancelling", "Cancelled by the tenant; undoing.", self.clock))
            await unit.wake(ORDER_LOOP, order_id)
        return ending
