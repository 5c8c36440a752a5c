"""The adapter on emulated quantum nodes: the steps of a commit, misbehaviour, state, alarms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ems.adapters.netconf.adapter import NetconfAdapter
from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.errors import HostKeyChanged, LoginRefused, RpcRefused
from ems.domain.device import DeviceAddress, Login, Traits
from ems.domain.observation import ActiveAlarm, ConfigChanged, Operational
from ems.domain.quantum_node import snapshot_of
from ems.domain.snapshot import Snapshot
from emulator.network import Network
from qcommit.device import Seen
from qmodel.contracts.ems import PerceivedSeverity
from qmodel.nodeconfig import Circuit, NodeConfig, Role, TimingRole, TimingRoute

Open = Callable[[str], Awaitable[NetconfDevice]]
CONFIRM_S = 60
NOTHING = Snapshot()
SOURCE = snapshot_of(
    NodeConfig(
        circuits=(
            Circuit(
                link_id="lnk_1",
                role=Role.SOURCE,
                ports=("q1",),
                source="s1",
                detector="d1",
                pair_rate_hz=1000.0,
                key_rate_bps=100.0,
                metered=True,
            ),
        ),
        timing=(TimingRoute(link_id="lnk_1", role=TimingRole.MASTER, ports=("t1",)),),
    )
)
ENDPOINT = snapshot_of(
    NodeConfig(
        circuits=(
            Circuit(
                link_id="lnk_1",
                role=Role.ENDPOINT,
                ports=("q1",),
                detector="d1",
                pair_rate_hz=1000.0,
                key_rate_bps=100.0,
            ),
        ),
        timing=(TimingRoute(link_id="lnk_1", role=TimingRole.CLIENT, ports=("t1",)),),
    )
)


async def provision(device: NetconfDevice) -> Seen:
    staged = await device.stage(SOURCE, believed=NOTHING)
    assert (staged.seen, staged.running) == (Seen.STAGED, NOTHING), staged.error
    return (await device.provision("p-1", CONFIRM_S, before=NOTHING, target=SOURCE)).seen


async def test_a_node_is_learned_whole(open_device: Open) -> None:
    profile = await (await open_device("ne-a")).learn()
    assert profile.manageable
    assert profile.all_or_nothing
    assert {"bellweave-quantum-node", "ietf-hardware"} <= {module.name for module in profile.modules}
    classes = {each.name: each.hardware_class for each in profile.components}
    assert (classes["s1"], classes["d1"]) == ("entangled-photon-source", "detector")
    assert {"q1", "t1"} <= {each.name for each in profile.interfaces}


async def test_a_change_is_provisioned_confirmed_and_taken_back_by_another(open_device: Open) -> None:
    device = await open_device("ne-a")
    assert await provision(device) is Seen.TARGET
    assert (await device.confirm("p-1", target=SOURCE)).seen is Seen.TARGET
    assert (await device.stage(NOTHING, believed=SOURCE)).seen is Seen.STAGED
    step = await device.provision("p-2", CONFIRM_S, before=SOURCE, target=NOTHING)
    assert (step.seen, step.traits) == (Seen.TARGET, Traits())
    assert (await device.confirm("p-2", target=NOTHING)).seen is Seen.TARGET


async def test_a_new_session_confirms_or_cancels_what_a_lost_one_provisioned(open_device: Open) -> None:
    for element, last in (("ne-a", "confirm"), ("ne-b", "cancel")):
        first = await open_device(element)
        assert await provision(first) is Seen.TARGET
        await first.close()
        second = await open_device(element)
        if last == "confirm":
            assert (await second.confirm("p-1", target=SOURCE)).seen is Seen.TARGET
        else:
            assert (await second.cancel("p-1", before=NOTHING)).seen is Seen.BEFORE
        assert (await second.stage(ENDPOINT)).seen is Seen.STAGED


STAGING = ("lock", "discard-changes", "edit-config", "validate")


@pytest.mark.parametrize("operation", [*STAGING, "commit-confirmed"])
@pytest.mark.parametrize("action", ["rpc-error", "drop", "lose-reply"])
async def test_a_device_that_fails_before_the_decision_ends_as_it_was(
    network: Network, open_device: Open, operation: str, action: str
) -> None:
    device = await open_device("ne-a")
    network.element("ne-a").faults.add(operation, action, 1)
    step = await device.stage(SOURCE, believed=NOTHING)
    if step.seen is Seen.STAGED:
        step = await device.provision("p-1", CONFIRM_S, before=NOTHING, target=SOURCE)
    assert step.seen is (Seen.REFUSED if action == "rpc-error" else Seen.UNREACHABLE)
    if not device.alive:
        device = await open_device("ne-a")
    assert (await device.cancel("p-1", before=NOTHING)).seen is Seen.BEFORE
    assert await provision(device) is Seen.TARGET, "no lock, no edit and nothing pending was left behind"


@pytest.mark.parametrize("action", ["rpc-error", "drop", "lose-reply", "lie"])
async def test_a_device_that_fails_at_confirm_is_carried_forward(
    network: Network, open_device: Open, action: str
) -> None:
    device = await open_device("ne-a")
    assert await provision(device) is Seen.TARGET
    network.element("ne-a").faults.add("confirm", action, 1)
    step = await device.confirm("p-1", target=SOURCE)
    if not device.alive:
        device = await open_device("ne-a")
        step = await device.confirm("p-1", target=SOURCE)
    if step.seen is not Seen.TARGET:
        step = await device.apply(SOURCE, persist_id="p-1")
    assert step.seen is Seen.TARGET
    assert (await (await open_device("ne-a")).read(target=SOURCE)).seen is Seen.TARGET


async def test_a_confirmed_commit_that_lies_is_no_vote(network: Network, open_device: Open) -> None:
    device = await open_device("ne-a")
    network.element("ne-a").faults.add("commit-confirmed", "lie")
    step = await provision(device)
    assert step is Seen.BEFORE
    assert device.traits == Traits()


async def test_what_the_schema_forbids_is_refused_with_its_place(open_device: Open) -> None:
    no_source = snapshot_of(
        NodeConfig(
            circuits=(
                Circuit(
                    link_id="lnk_1", role=Role.ENDPOINT, ports=("q1",), detector="nope", pair_rate_hz=1.0
                ),
            )
        )
    )
    device = await open_device("ne-a")
    step = await device.stage(no_source)
    assert step.seen is Seen.REFUSED
    assert isinstance(step.error, RpcRefused)
    assert (await device.discard(before=NOTHING)).seen is Seen.BEFORE


async def settled(device: NetconfDevice) -> Operational:
    for _ in range(200):
        seen = await device.read_operational()
        if seen.circuits[0].ready and seen.counters[0].count > 0:
            return seen
        await asyncio.sleep(0.1)
    raise AssertionError(f"never ready: {seen.circuits}")


async def test_a_link_becomes_ready_counts_and_tells_of_a_cut(
    network: Network, adapter: NetconfAdapter, address_of: Callable[[str], DeviceAddress], login: Login,
    open_device: Open,
) -> None:  # fmt: skip
    a, b = await open_device("ne-a"), await open_device("ne-b")
    for device, target in ((a, SOURCE), (b, ENDPOINT)):
        assert (await device.apply(target)).seen is Seen.TARGET
    seen = await settled(a)
    (counter,) = seen.counters
    assert (counter.link_id, counter.unit, counter.metered) == ("lnk_1", "key-bits", True)
    assert counter.boot_id
    assert seen.at is not None
    assert seen.ports_up["q1"]
    assert "port/q1/line-loss-db" in seen.performance

    watch = await adapter.watch(address_of("ne-b"), login)
    await network.cut("f1")
    async with asyncio.timeout(20):
        event = await watch.next_event()
    assert isinstance(event, ActiveAlarm)
    assert event.severity is not PerceivedSeverity.CLEARED
    cut = await b.read_operational()
    assert not cut.circuits[0].ready
    assert event.resource in {alarm.resource for alarm in cut.alarms}
    await watch.close()


async def test_a_change_behind_our_back_is_notified_with_its_session(
    adapter: NetconfAdapter, address_of: Callable[[str], DeviceAddress], login: Login, open_device: Open
) -> None:
    watch = await adapter.watch(address_of("ne-a"), login)
    device = await open_device("ne-a")
    await device.apply(SOURCE)
    async with asyncio.timeout(20):
        event = await watch.next_event()
    assert isinstance(event, ConfigChanged)
    assert (event.user, str(event.session_id)) == ("bellweave", device.session_id)
    await watch.close()


async def test_another_host_key_is_refused_and_the_shown_one_can_be_fetched(
    adapter: NetconfAdapter, address_of: Callable[[str], DeviceAddress], login: Login
) -> None:
    mine, theirs = address_of("ne-a"), address_of("ne-b")
    assert (await adapter.fetch_host_key(mine.host, mine.port)).split()[:2] == mine.host_key.split()[:2]
    with pytest.raises(HostKeyChanged):
        await adapter.open(DeviceAddress(mine.host, mine.port, theirs.host_key), login, Traits())


async def test_a_wrong_user_or_password_is_refused(
    adapter: NetconfAdapter, address_of: Callable[[str], DeviceAddress], login: Login
) -> None:
    for wrong in (Login("mallory", private_key=login.private_key), Login("bellweave", password="guess")):
        with pytest.raises(LoginRefused):
            await adapter.open(address_of("ne-a"), wrong, Traits())
