"""Our adapter drives a NETCONF server that is not ours through every step, defects and all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ems.adapters.netconf import operations
from ems.adapters.netconf.adapter import NetconfAdapter
from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.errors import DataMissing, LockDenied, RpcRefused
from ems.adapters.netconf.quantum_node import write_edit
from ems.adapters.netconf.session import NetconfSession
from ems.domain.configuration import Configuration, differences
from ems.domain.device import Traits
from ems.domain.observation import ConfigChanged
from ems.domain.quantum_node import snapshot_of
from ems.domain.snapshot import Snapshot, change
from qcommit.device import Seen
from qmodel.nodeconfig import Circuit, NodeConfig, Role

Open = Callable[[Traits], Awaitable[NetconfDevice]]
FRESH = Traits()
DEFECT = Traits(validate_then_commit=False)
CONFIRM_S = 60


def links(*names: str, port: str = "q1") -> Snapshot:
    return snapshot_of(
        NodeConfig(
            circuits=tuple(
                Circuit(
                    link_id=name,
                    role=Role.ENDPOINT,
                    ports=(port,),
                    detector="d1",
                    pair_rate_hz=1000.25,
                    key_rate_bps=8160.0,
                    metered=True,
                )
                for name in names
            )
        )
    )


def with_circuits(configuration: Configuration, circuits: Snapshot) -> Configuration:
    return Configuration.kept(configuration.schema, configuration.content.with_node(circuits))


async def give(device: NetconfDevice, target: Snapshot, persist_id: str) -> Snapshot:
    """Stages and provisions `target`; what ran before."""
    staged = await device.stage(target)
    assert staged.seen is Seen.STAGED, staged.error
    assert staged.running is not None
    step = await device.provision(persist_id, CONFIRM_S, before=staged.running, target=target)
    assert step.seen is Seen.TARGET, step.error
    return staged.running


async def reverted(device: NetconfDevice, target: Snapshot) -> None:
    """Asks seldom: this server looks at its timers only when it has been idle for a second."""
    for _ in range(10):
        await asyncio.sleep(2.5)
        if (await device.read(before=Snapshot(), target=target)).seen is Seen.BEFORE:
            return
    raise AssertionError("the device did not revert")


async def test_its_modules_hardware_and_ports_are_learned(open_device: Open) -> None:
    profile = await (await open_device(FRESH)).learn()
    assert profile.manageable
    assert profile.all_or_nothing
    modules = {module.name: module for module in profile.modules}
    assert modules["bellweave-quantum-node"].revision == "2026-01-15"
    assert "ietf-hardware" in modules
    assert ("d1", "detector") in {(each.name, each.hardware_class) for each in profile.components}
    assert ("q1", "quantum-port") in {(each.name, each.type) for each in profile.interfaces}


async def test_validate_that_spoils_a_commit_is_noticed_by_read_back_and_done_without(
    open_device: Open,
) -> None:
    device = await open_device(FRESH)
    target = links("a", "b")
    before = await give(device, target, "p-1")
    assert device.traits == DEFECT
    assert (await device.confirm("p-1", target=target)).seen is Seen.TARGET
    assert (await device.read(before=before, target=target)).seen is Seen.TARGET


async def test_a_change_is_provisioned_read_back_and_confirmed(open_device: Open) -> None:
    device = await open_device(DEFECT)
    for number, target in enumerate((links("a", "b"), links("b", "c"), links("b", port="q2"), Snapshot())):
        await give(device, target, f"p-{number}")
        assert (await device.confirm(f"p-{number}", target=target)).seen is Seen.TARGET
    assert (await device.read()).running == Snapshot()


@pytest.mark.parametrize("traits", [FRESH, DEFECT])
async def test_a_cancelled_change_leaves_the_running_configuration_as_it_was(
    open_device: Open, traits: Traits
) -> None:
    device = await open_device(traits)
    assert (await device.apply(links("a", "b"))).seen is Seen.TARGET
    before = await give(device, links("b", "c"), "p-1")
    assert before == links("a", "b")
    assert (await device.cancel("p-1", before=before)).seen is Seen.BEFORE
    assert (await (await open_device(traits)).read(before=before)).seen is Seen.BEFORE


async def test_an_unconfirmed_change_reverts_when_its_time_is_over(open_device: Open) -> None:
    device, target = await open_device(DEFECT), links("a")
    await device.stage(target)
    assert (await device.provision("p-1", 1, before=Snapshot(), target=target)).seen is Seen.TARGET
    await reverted(device, target)
    assert (await device.confirm("p-1", target=target, before=Snapshot())).seen is not Seen.TARGET
    assert (await device.apply(target, persist_id="p-1")).seen is Seen.TARGET


async def test_a_new_session_confirms_after_the_first_was_lost(open_device: Open) -> None:
    first, target = await open_device(DEFECT), links("a")
    await give(first, target, "p-1")
    await first.close()
    second = await open_device(DEFECT)
    assert (await second.read(before=Snapshot(), target=target)).seen is Seen.TARGET
    assert (await second.confirm("p-1", target=target)).seen is Seen.TARGET
    assert (await second.stage(Snapshot())).seen is Seen.STAGED, "nothing is pending any more"


async def test_a_new_session_cancels_after_the_first_was_lost(open_device: Open) -> None:
    first, target = await open_device(DEFECT), links("a")
    await give(first, target, "p-1")
    await first.close()
    second = await open_device(DEFECT)
    assert (await second.cancel("p-1", before=Snapshot(), target=target)).seen is Seen.BEFORE
    assert (await second.stage(target)).seen is Seen.STAGED


async def test_a_stray_edit_is_not_confirmed_with_a_pending_change(
    open_device: Open, bare: NetconfSession
) -> None:
    first, target = await open_device(DEFECT), links("a")
    await give(first, target, "p-1")
    await first.close()
    await bare.rpc(operations.edit_candidate(write_edit(change(target, links("a", "stray")))))
    second = await open_device(DEFECT)
    assert (await second.confirm("p-1", target=target)).seen is Seen.TARGET
    assert (await second.read()).running == target


async def test_a_bad_configuration_is_refused_with_where_and_why(open_device: Open) -> None:
    device = await open_device(DEFECT)
    step = await device.stage(links("a", port="q9"))
    assert step.seen is Seen.REFUSED
    assert isinstance(step.error, DataMissing)
    assert step.error.where is not None
    assert "a-port" in step.error.where
    assert (await device.discard(before=Snapshot())).seen is Seen.BEFORE


async def test_the_holder_of_a_lock_is_named_and_can_be_ended(open_device: Open) -> None:
    first, second = await open_device(DEFECT), await open_device(DEFECT)
    await first.stage(links("a"))
    step = await second.stage(links("b"))
    assert isinstance(step.error, LockDenied)
    assert str(step.error.holder) == first.session_id
    await second.end_session(first.session_id)
    assert (await second.stage(links("b"))).seen is Seen.STAGED
    assert not first.staged


async def test_a_change_behind_our_back_is_notified_and_seen_by_reading(
    adapter: NetconfAdapter, netconfd: Any, open_device: Open, bare: NetconfSession
) -> None:
    device = await open_device(DEFECT)
    watch = await adapter.watch(netconfd.address, netconfd.login)
    await bare.rpc(operations.edit_candidate(write_edit(change(Snapshot(), links("stray")))))
    await bare.rpc(operations.COMMIT)
    async with asyncio.timeout(20):
        event = await watch.next_event()
    assert isinstance(event, ConfigChanged)
    assert event.session_id == bare.session_id
    assert (await device.read(before=Snapshot(), target=links("a"))).seen is Seen.OTHER
    await watch.close()


async def test_operational_state_tells_that_nothing_operates(open_device: Open) -> None:
    device = await open_device(DEFECT)
    await device.apply(links("a"))
    (circuit,) = (await device.read_operational()).circuits
    assert (circuit.link_id, circuit.ready) == ("a", False)


async def test_pipelined_rpcs_are_answered_each_with_its_own(bare: NetconfSession) -> None:
    unknown = b'<no-such-operation xmlns="urn:nobody"/>'
    replies = await bare.flight([operations.NOTHING, unknown, operations.NOTHING] * 10)
    assert [reply.refusal is None for reply in replies] == [True, False, True] * 10
    assert all(isinstance(reply.refusal, RpcRefused) for reply in replies[1::3])


async def test_twenty_logins_at_once_all_come_through(
    adapter: NetconfAdapter, netconfd: Any, bare: NetconfSession
) -> None:
    opened = await asyncio.gather(
        *(adapter.open(netconfd.address, netconfd.login, DEFECT) for _ in range(20))
    )
    for device in opened:
        assert (await device.read()).seen is not Seen.UNREACHABLE
        await device.close()


async def test_its_whole_configuration_is_read_compared_and_driven_back(open_device: Open) -> None:
    device = await open_device(FRESH)
    before = await device.configuration()
    wanted = with_circuits(before, links("whole"))
    assert await device.replace(wanted) == wanted
    assert (await device.read()).running == links("whole")
    assert [each.path for each in differences(before.content, wanted.content)] != []
    assert await device.replace(before) == before
