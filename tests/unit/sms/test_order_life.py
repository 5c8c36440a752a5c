"""An order moves only along its table, and ends unhappily in two steps."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from qmodel.errors import Conflict
from qmodel.security import SecurityLevel
from sms.domain.ask import Ask, OrderKind
from sms.domain.order import Order, OrderState, advance, close, end, turn_back

ASK = Ask(OrderKind.FULL_MESH_VPN, ("Alice", "Bob"), SecurityLevel.TOP_SECRET, 1.0, rate_bytes_per_s=1000.0)
HAPPY = (
    OrderState.RECEIVED,
    OrderState.PLACING,
    OrderState.COMMITTING,
    OrderState.STABILIZING,
    OrderState.COMPLETED,
)


def an_order(state: OrderState = OrderState.RECEIVED) -> Order:
    return Order(
        order_id="ord_00ff",
        tenant="acme",
        ask=ASK,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        deadline_s=100.0,
        state=state,
    )


def test_the_happy_way_goes_step_by_step_and_counts_versions() -> None:
    order = an_order()
    for to in HAPPY[1:]:
        order = advance(order, to)
    assert order.state is OrderState.COMPLETED
    assert order.version == len(HAPPY)


@pytest.mark.parametrize("state", list(OrderState))
@pytest.mark.parametrize("to", list(OrderState))
def test_no_step_is_left_out(state: OrderState, to: OrderState) -> None:
    if (state, to) in set(pairwise(HAPPY)):
        assert advance(an_order(state), to).state is to
    else:
        with pytest.raises(Conflict):
            advance(an_order(state), to)


def test_ids_come_from_the_order_and_only_a_new_attempt_has_a_new_change() -> None:
    order = advance(an_order(), OrderState.PLACING, service_id=an_order().planned_service_id)
    assert (order.change_id, order.service_id, order.link_id(2)) == ("chg_00ff-1", "svc_00ff", "lnk_00ff-2")
    again = turn_back(order)
    assert again.state is OrderState.RECEIVED
    assert again.change_id == "chg_00ff-2"
    assert again.link_id(2) == order.link_id(2)
    assert again.service_id is None


def test_an_order_that_is_ending_neither_goes_on_nor_changes_its_reason() -> None:
    ending = end(an_order(OrderState.PLACING), OrderState.REFUSED, {"detail": "no capacity"})
    assert ending.state is OrderState.PLACING
    with pytest.raises(Conflict):
        advance(ending, OrderState.COMMITTING)
    with pytest.raises(Conflict):
        turn_back(ending)
    assert end(ending, OrderState.CANCELLED, {"detail": "changed my mind"}) is ending
    closed = close(ending, keep_service=False)
    assert closed.state is OrderState.REFUSED
    assert closed.problem == {"detail": "no capacity"}
    assert closed.service_id is None


def test_a_commit_that_went_through_is_followed_even_when_the_order_was_cancelled() -> None:
    cancelled = end(an_order(OrderState.COMMITTING), OrderState.CANCELLED, {})
    assert advance(cancelled, OrderState.STABILIZING, despite_ending=True).ending is OrderState.CANCELLED


def test_a_final_order_cannot_end_again() -> None:
    with pytest.raises(Conflict, match="completed"):
        end(an_order(OrderState.COMPLETED), OrderState.CANCELLED, {})
    with pytest.raises(Conflict):
        close(an_order(), keep_service=False)
    with pytest.raises(Conflict):
        end(an_order(), OrderState.COMPLETED, {})
