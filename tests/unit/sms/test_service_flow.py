"""What operators report moves services; usage goes on once; a service is taken down completely."""

from __future__ import annotations

from typing import Any

import pytest

from qmodel.contracts.commit import CommitReply, Verb, Vote
from qmodel.contracts.sms import ServiceState, ServiceUsage
from qmodel.errors import Conflict, NotFound, TimedOut
from qmodel.links import LinkState
from sms.usecases.reports import check_source


async def an_active_service(world: Any) -> str:
    await world.orders.reconcile(await world.order("Alice", "Charlie"))
    await world.all_up()
    assert world.state.services["svc_1"].state is ServiceState.ACTIVE
    world.pass_time(1.0)
    return "svc_1"


async def test_a_fault_degrades_the_service_with_its_cause_and_healing_ends_it(world: Any) -> None:
    service_id = await an_active_service(world)
    await world.alarm("lnk_1-0", "north", "critical", "fibre f1 is cut")
    service = world.state.services[service_id]
    assert service.state is ServiceState.DEGRADED
    assert "fibre f1 is cut" in service.reason
    world.pass_time(1.0)
    await world.hear("lnk_1-0", "north", LinkState.DOWN, reason="no light")
    world.pass_time(1.0)
    link = world.state.links["lnk_1-0"]
    healed = link.segments[0].placed.model_copy(
        update={"nodes": ("alice", "relay", "border"), "fidelity": 0.95}
    )
    await world.hear("lnk_1-0", "north", LinkState.UP, placement=healed)
    service = world.state.services[service_id]
    assert service.state is ServiceState.ACTIVE
    now = world.state.links["lnk_1-0"]
    assert now.placements[0].nodes == ("alice", "relay", "border")
    assert now.figures.fidelity < link.figures.fidelity
    assert now.disruption is None
    steps = [note.step for note in world.state.notes if note.topic == "service"]
    assert steps[-2:] == ["degraded", "active"]


async def test_a_cleared_alarm_alone_ends_the_disruption(world: Any) -> None:
    service_id = await an_active_service(world)
    await world.alarm("lnk_1-0", "south", "major", "laser off")
    assert world.state.services[service_id].state is ServiceState.DEGRADED
    world.pass_time(1.0)
    await world.alarm("lnk_1-0", "south", "cleared", "laser off")
    assert world.state.services[service_id].state is ServiceState.ACTIVE


async def test_old_news_and_strange_links_change_nothing(world: Any) -> None:
    service_id = await an_active_service(world)
    world.pass_time(-10.0)
    await world.hear("lnk_1-0", "north", LinkState.DOWN)
    await world.hear("lnk_none", "north", LinkState.DOWN)
    await world.alarm("lnk_none", "north", "critical", "x")
    assert world.state.services[service_id].state is ServiceState.ACTIVE


async def test_usage_goes_on_once_per_usage_id(world: Any) -> None:
    await an_active_service(world)
    await world.use("lnk_1-0", "u1", 1000)
    await world.use("lnk_1-0", "u2", 500)
    await world.use("lnk_1-0", "u1", 1000)
    passed_on = [event for event in world.state.events if isinstance(event, ServiceUsage)]
    assert [(u.usage_id, u.quantity, u.tenant, u.service_id) for u in passed_on] == [
        ("u1", 1000, "acme", "svc_1"),
        ("u2", 500, "acme", "svc_1"),
    ]
    assert world.state.links["lnk_1-0"].usage == 1500
    with pytest.raises(NotFound):
        await world.use("lnk_none", "u3", 1)


async def test_termination_removes_links_everywhere_and_gives_the_quota_back(world: Any) -> None:
    service_id = await an_active_service(world)
    asked = await world.terminate(service_id)
    assert asked.state is ServiceState.TERMINATING
    assert (await world.terminate(service_id)).version == asked.version
    assert await world.services.reconcile(service_id) is None
    service = world.state.services[service_id]
    assert service.state is ServiceState.TERMINATED
    assert world.state.links["lnk_1-0"].state is LinkState.RELEASED
    assert world.nothing_left()
    states = [event.state for event in world.state.events if hasattr(event, "state")]
    assert states[-2:] == [ServiceState.TERMINATING, ServiceState.TERMINATED]
    await world.use("lnk_1-0", "late", 7)
    assert world.state.links["lnk_1-0"].usage == 7


async def test_a_removal_that_is_refused_is_tried_again_under_another_change(world: Any) -> None:
    service_id = await an_active_service(world)
    await world.terminate(service_id)
    refusal = CommitReply(change_id="x", vote=Vote.REFUSED, detail="locked by a person")
    world.networks.votes[Verb.VALIDATE, "south"] = refusal
    assert await world.services.reconcile(service_id) == 1.0
    assert world.state.services[service_id].removal_change_id == "chg_1-r2"
    world.networks.votes.clear()
    assert await world.services.reconcile(service_id) is None
    assert world.state.services[service_id].state is ServiceState.TERMINATED
    assert world.nothing_left()


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("nth", range(1, 9))
async def test_killed_while_terminating_another_process_finishes(
    world: Any, nth: int, after_commit: bool
) -> None:
    service_id = await an_active_service(world)
    await world.terminate(service_id)
    await world.dies(world.services.reconcile(service_id), at=nth, after_commit=after_commit)
    again_s = 0.0
    while again_s is not None:
        again_s = await world.services.reconcile(service_id)
    assert world.state.services[service_id].state is ServiceState.TERMINATED
    assert world.nothing_left()


async def test_a_removal_waits_for_elements_that_are_claimed(world: Any) -> None:
    service_id = await an_active_service(world)
    await world.terminate(service_id)
    world.state.claims["south/south-qn"] = "chg_other"
    assert await world.services.reconcile(service_id) == 5.0
    assert list(world.state.line) == [service_id]
    world.state.claims.clear()
    assert await world.services.reconcile(service_id) is None
    assert world.nothing_left()


async def test_an_operator_lost_after_the_decision_is_carried_forward(world: Any) -> None:
    order_id = await world.order("Alice", "Charlie")
    commit = world.networks.commit

    async def ticking(instance: str, change: Any, verb: Verb) -> CommitReply:
        world.pass_time(0.02)
        reply: CommitReply = await commit(instance, change, verb)
        return reply

    world.networks.commit = ticking
    world.networks.fails["confirm", "south"] = TimedOut("no answer")
    await world.orders.reconcile(order_id)
    assert set(world.state.claims) == {"south/south-qn"}
    assert ("change", "chg_1-1") in world.state.work
    assert await world.commits.settle("chg_1-1") == 10.0
    world.networks.fails.clear()
    assert await world.commits.settle("chg_1-1") is None
    assert not world.state.claims
    assert world.networks.committed["south"] == {"lnk_1-0"}


async def test_only_an_undecided_or_unknown_change_is_not_committed(world: Any) -> None:
    await world.orders.reconcile(await world.order("Alice", "Charlie"))
    assert await world.commits.outcome("chg_1-1") == "commit"
    assert await world.commits.outcome("chg_none") == "abort"


def test_an_nms_speaks_for_its_own_operator_only() -> None:
    check_source("north", "north", "north")
    with pytest.raises(Conflict):
        check_source("south", "north", "north")
