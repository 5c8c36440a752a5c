"""An order's way through operators, commit and stabilization; refusals and crashes leave nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from qmodel.contracts.commit import CommitReply, Verb, Vote
from qmodel.contracts.sms import ServiceState, ServiceStateChanged
from qmodel.errors import Conflict, Infeasible, Invalid, NotFound, QuotaExceeded, TimedOut, Unavailable
from qmodel.links import LinkState
from sms.domain.order import OrderState


async def test_a_mesh_over_two_operators_becomes_active(world: Any) -> None:
    order_id = await world.order("Alice", "Bob", "Charlie", "Dave")
    left_s = await world.orders.reconcile(order_id)
    assert left_s >= 60
    order = world.state.orders[order_id]
    assert order.state is OrderState.STABILIZING
    service = world.state.services[order.service_id]
    assert service.state is ServiceState.STABILIZING
    assert len(world.state.links) == 6
    assert len(world.networks.committed["north"]) == 5
    await world.all_up()
    assert world.state.orders[order_id].state is OrderState.COMPLETED
    assert world.state.services[order.service_id].state is ServiceState.ACTIVE
    assert world.state.services[order.service_id].active_since is not None
    assert await world.orders.reconcile(order_id) is None
    assert world.steps() == [
        "quota", "placing", "placed", "validate", "provision", "decide", "confirm", "stabilizing", "active",
    ]  # fmt: skip
    states = [e.state for e in world.state.events if isinstance(e, ServiceStateChanged)]
    assert states == [ServiceState.STABILIZING, ServiceState.ACTIVE]
    assert not world.state.claims


async def test_few_transactions_carry_an_order(world: Any) -> None:
    order_id = await world.order("Alice", "Charlie")
    before = world.store.commits
    await world.orders.reconcile(order_id)
    assert world.store.commits - before <= 7


async def test_progress_names_path_rate_and_every_member_with_its_time(world: Any) -> None:
    await world.orders.reconcile(await world.order("Alice", "Charlie"))
    notes = {note.step: note for note in world.state.notes}
    link = notes["placed"].data["links"][0]
    assert {segment["operator"] for segment in link["segments"]} == {"north", "south"}
    assert 0.9 < link["fidelity"] < 0.97
    assert link["latency_s"] == pytest.approx(0.002)
    assert "alice – border" in notes["placed"].text
    north = notes["provision"].data["members"][0]
    assert north["member"] == "nms.north"
    assert north["members"][0]["members"][0]["member"] == "north-qn"
    assert "nms.north provisioned 1 element of 1 EMS" in notes["provision"].text


async def test_links_up_before_the_commit_is_written_count(world: Any) -> None:
    """The operators may be faster than our own row."""
    order_id = await world.order("Alice", "Bob")
    confirm = world.networks.commit

    async def fast(instance: str, change: Any, verb: Verb) -> CommitReply:
        reply: CommitReply = await confirm(instance, change, verb)
        if verb is Verb.CONFIRM:
            await world.all_up()
        return reply

    world.networks.commit = fast
    await world.orders.reconcile(order_id)
    assert world.state.orders[order_id].state is OrderState.COMPLETED


async def test_infeasible_at_one_operator_is_refused_with_reasons_and_nothing_is_left(world: Any) -> None:
    refusal = {
        "link_id": "lnk_1-0",
        "a": "alice",
        "b": "border",
        "constraint": "fidelity",
        "where": "q7",
        "reason": "0.81 < 0.9",
        "would_fit": {"min_fidelity": 0.81},
    }
    world.networks.fails["place", "south"] = Infeasible("no path", refusals=[refusal])
    order_id = await world.order("Alice", "Charlie")
    assert await world.orders.reconcile(order_id) is None
    order = world.state.orders[order_id]
    assert order.state is OrderState.REFUSED
    assert order.problem["type"].endswith("infeasible")
    assert (order.problem["refusals"][0]["a"], order.problem["refusals"][0]["b"]) == ("Alice", "Charlie")
    assert order.service_id is None
    assert world.nothing_left()
    assert not world.state.services
    assert not world.state.links
    assert "would fit: min_fidelity 0.81" in world.state.notes[-1].text


async def test_quota_exceeded_is_refused_before_anything_is_placed(world: Any) -> None:
    world.quotas.error = QuotaExceeded("50 links at most", links_limit=50)
    order_id = await world.order()
    await world.orders.reconcile(order_id)
    order = world.state.orders[order_id]
    assert order.state is OrderState.REFUSED
    assert order.problem["links_limit"] == 50
    assert world.networks.asked["place"] == 0
    assert world.nothing_left()


async def test_quota_is_given_back_when_no_border_fits(world: Any) -> None:
    world.planner.error = Infeasible("no border joins the operators")
    order_id = await world.order()
    await world.orders.reconcile(order_id)
    assert world.state.orders[order_id].state is OrderState.REFUSED
    assert world.nothing_left()


async def test_a_device_that_refuses_refuses_the_order(world: Any) -> None:
    world.networks.votes[Verb.PROVISION, "south"] = CommitReply(
        change_id="x", vote=Vote.REFUSED, detail="laser is broken", where="dave-qn"
    )
    order_id = await world.order()
    await world.orders.reconcile(order_id)
    order = world.state.orders[order_id]
    assert order.state is OrderState.REFUSED
    assert order.problem["detail"] == "laser is broken"
    assert order.problem["where"] == "dave-qn"
    assert "nms.south refused: laser is broken (dave-qn)" in " ".join(n.text for n in world.state.notes)
    assert world.nothing_left()


async def test_an_operator_that_is_slow_gets_another_attempt_under_another_change(world: Any) -> None:
    world.networks.fails["validate", "south"] = Unavailable("nobody answers")
    order_id = await world.order()

    async def recovers(instance: str, change: Any, verb: Verb) -> CommitReply:
        world.pass_time(0.01)
        if change.change_id.endswith("-2"):
            world.networks.fails.clear()
        reply: CommitReply = await commit(instance, change, verb)
        return reply

    commit = world.networks.commit
    world.networks.commit = recovers
    await world.orders.reconcile(order_id)
    order = world.state.orders[order_id]
    assert (order.state, order.attempt) == (OrderState.STABILIZING, 2)
    assert "Attempt 1 was undone" in " ".join(note.text for note in world.state.notes)


async def test_trouble_that_does_not_pass_fails_the_order_cleanly_in_time(world: Any) -> None:
    world.networks.fails["place", "south"] = TimedOut("no answer")
    order_id = await world.order()
    with pytest.raises(TimedOut):
        await world.orders.reconcile(order_id)
    assert not world.state.orders[order_id].state.final
    world.pass_time(121.0)
    await world.orders.reconcile(order_id)
    assert world.state.orders[order_id].state is OrderState.FAILED
    assert world.nothing_left()


async def test_links_that_stay_down_fail_the_order_and_are_removed(world: Any) -> None:
    order_id = await world.order("Alice", "Charlie")
    left_s = await world.orders.reconcile(order_id)
    await world.hear("lnk_1-0", "north", LinkState.DOWN, reason="no coincidences")
    world.pass_time(left_s + 1)
    assert await world.orders.reconcile(order_id) is None
    assert ("service", "svc_1") in world.state.work
    await world.services.reconcile("svc_1")
    assert ("order", order_id) in world.state.work
    await world.orders.reconcile(order_id)
    order = world.state.orders[order_id]
    assert order.state is OrderState.FAILED
    assert "no coincidences" in order.problem["detail"]
    assert world.state.services["svc_1"].state is ServiceState.FAILED
    assert world.nothing_left()


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("nth", range(1, 8))
async def test_killed_at_any_transaction_another_process_finishes(
    world: Any, nth: int, after_commit: bool
) -> None:
    order_id = await world.order("Alice", "Charlie")
    await world.dies(world.orders.reconcile(order_id), at=nth, after_commit=after_commit)
    await world.orders.reconcile(order_id)
    assert world.state.orders[order_id].state is OrderState.STABILIZING
    assert world.networks.committed == {"north": {"lnk_1-0"}, "south": {"lnk_1-0"}}
    assert not world.networks.held
    assert not world.state.claims


async def test_a_cancelled_order_is_undone_whatever_it_has_reached(world: Any) -> None:
    order_id = await world.order("Alice", "Charlie")
    async with world.store.begin() as unit:
        await world.intake.cancel(unit, order_id, lambda version: None)
    await world.orders.reconcile(order_id)
    assert world.state.orders[order_id].state is OrderState.CANCELLED
    assert world.nothing_left()

    other = await world.order("Alice", "Charlie", order_id="ord_2")
    await world.orders.reconcile(other)
    async with world.store.begin() as unit:
        await world.intake.cancel(unit, other, lambda version: None)
    await world.orders.reconcile(other)
    await world.services.reconcile("svc_2")
    await world.orders.reconcile(other)
    assert world.state.orders[other].state is OrderState.CANCELLED
    assert world.nothing_left()
    async with world.store.begin() as unit:
        with pytest.raises(Conflict):
            await world.intake.cancel(unit, other, lambda version: None)
        with pytest.raises(NotFound):
            await world.intake.cancel(unit, "ord_none", lambda version: None)


async def test_orders_for_the_same_elements_go_one_after_another_by_age(world: Any) -> None:
    first, second = await world.order("Alice", "Bob"), await world.order("Alice", "Bob", order_id="ord_2")
    world.state.claims["north/north-qn"] = "chg_other"
    assert await world.orders.reconcile(first) == 5.0
    assert await world.orders.reconcile(second) == 5.0
    assert list(world.state.line) == [first, second]
    world.state.claims.clear()
    assert await world.orders.reconcile(second) == 5.0
    await world.orders.reconcile(first)
    assert world.state.orders[first].state is OrderState.STABILIZING
    assert world.state.work["order", second] == 0.0
    await world.orders.reconcile(second)
    assert world.state.orders[second].state is OrderState.STABILIZING
    assert not world.state.line


async def test_unknown_sites_are_refused_at_the_door_once_every_operator_was_heard(world: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await world.order("Alice", "Zed", "Charlie", "Yan")
    assert refused.value.where == "/sites/1"
    assert [e["pointer"] for e in refused.value.facts["errors"]] == ["/sites/1", "/sites/3"]
    world.site_rows.known.clear()
    world.restart()
    world.networks.fails["describe", "south"] = Unavailable("nobody answers")
    with pytest.raises(Unavailable):
        await world.order("Alice", "Charlie")
    assert await world.order("alice", " BOB") == "ord_1"
    assert world.state.orders["ord_1"].ask.sites == ("Alice", "Bob")


async def test_sites_are_asked_for_once_and_not_for_every_order(world: Any) -> None:
    for number in range(5):
        await world.order("Alice", "Charlie", order_id=f"ord_{number}")
    assert world.networks.asked["describe"] == 2
