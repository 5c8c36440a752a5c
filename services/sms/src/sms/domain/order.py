"""An order's life, from received to its final state, as one table of allowed steps.

Use cases move an order with `advance`, `turn_back` and `close`; the store writes what they return. Nothing
here knows how a step is carried out.

    received ─▶ placing ─▶ committing ─▶ stabilizing ─▶ completed
        ▲          │            │             │
        └──────────┴── retry ───┘             │
        any of them, once `ending` is set and everything is undone ─▶ refused | failed | cancelled
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from qmodel.errors import Conflict
from sms.domain.ask import Ask


class OrderState(StrEnum):
    RECEIVED = "received"
    PLACING = "placing"
    COMMITTING = "committing"
    STABILIZING = "stabilizing"
    COMPLETED = "completed"
    REFUSED = "refused"
    """What was asked cannot be had: the problem says which constraint binds."""
    FAILED = "failed"
    """It could have been had, but did not work out in time."""
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset({OrderState.COMPLETED, OrderState.REFUSED, OrderState.FAILED, OrderState.CANCELLED})
_UNHAPPY = _FINAL - {OrderState.COMPLETED}
_NEXT: dict[OrderState, frozenset[OrderState]] = {
    OrderState.RECEIVED: frozenset({OrderState.PLACING}),
    OrderState.PLACING: frozenset({OrderState.COMMITTING}),
    OrderState.COMMITTING: frozenset({OrderState.STABILIZING}),
    OrderState.STABILIZING: frozenset({OrderState.COMPLETED}),
}


@dataclass(frozen=True)
class Order:
    """One order. `created_at` is domain time, `deadline_s` real time (seconds since 1970) by which the
    present phase must be over. `ending` is set once it is decided that the order ends unhappily; it reaches
    that state when everything done for it is undone. `attempt` counts network-wide commits, from 1."""

    order_id: str
    tenant: str
    ask: Ask
    created_at: datetime
    deadline_s: float
    name: str | None = None
    state: OrderState = OrderState.RECEIVED
    service_id: str | None = None
    attempt: int = 1
    ending: OrderState | None = None
    problem: dict[str, Any] | None = None
    version: int = 1

    @property
    def change_id(self) -> str:
        """The change of the present attempt: the same again after a crash, another one after an abort."""
        return f"chg_{_stem(self.order_id)}-{self.attempt}"

    @property
    def planned_service_id(self) -> str:
        """The id that this order's service has; it can be told before the service exists."""
        return f"svc_{_stem(self.order_id)}"

    def link_id(self, index: int) -> str:
        return f"lnk_{_stem(self.order_id)}-{index}"


def advance(
    order: Order, to: OrderState, *, service_id: str | None = None, despite_ending: bool = False
) -> Order:
    """The order one step further. Raises Conflict where the table has no such step, or when the order is to
    end (unless `despite_ending`: what is committed is committed)."""
    if (order.ending is not None and not despite_ending) or to not in _NEXT.get(order.state, ()):
        raise Conflict(f"an order that is {order.state.value} cannot become {to.value}", where=order.order_id)
    return _changed(order, state=to, service_id=service_id or order.service_id)


def turn_back(order: Order) -> Order:
    """The order at its beginning again, for another attempt under a new change."""
    if order.ending is not None or order.state not in (OrderState.PLACING, OrderState.COMMITTING):
        raise Conflict(f"an order that is {order.state.value} cannot be tried again", where=order.order_id)
    return _changed(order, state=OrderState.RECEIVED, attempt=order.attempt + 1, service_id=None)


def end(order: Order, ending: OrderState, problem: dict[str, Any]) -> Order:
    """Decide how the order ends; the first reason stays. Raises Conflict for a final order."""
    if order.state.final:
        raise Conflict(f"the order is {order.state.value} already", where=order.order_id)
    if ending not in _UNHAPPY:
        raise Conflict(f"an order does not end as {ending.value}", where=order.order_id)
    if order.ending is not None:
        return order
    return _changed(order, ending=ending, problem=problem)


def close(order: Order, *, keep_service: bool) -> Order:
    """The order in the final state that was decided, once everything is undone."""
    if order.ending is None or order.state.final:
        raise Conflict("nothing was decided for this order", where=order.order_id)
    return _changed(order, state=order.ending, service_id=order.service_id if keep_service else None)


def postpone(order: Order, deadline_s: float) -> Order:
    """The order with another deadline for its present phase."""
    return replace(order, deadline_s=deadline_s)


def _changed(order: Order, **fields: Any) -> Order:
    return replace(order, version=order.version + 1, **fields)


def _stem(order_id: str) -> str:
    return order_id.partition("_")[2] or order_id
