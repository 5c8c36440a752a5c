"""The whole configuration of a device: read in its own schema, compared, and driven back to a target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from lxml import etree

from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.errors import LockDenied
from ems.domain.configuration import Configuration, differences
from ems.domain.quantum_node import snapshot_of
from ems.domain.snapshot import Snapshot
from emulator.network import Network
from qmodel.nodeconfig import Circuit, NodeConfig, Role
from qmodel.yang import HARDWARE_NS, QUANTUM_NODE_NS
from qyang.edit import edit

Open = Callable[[str], Awaitable[NetconfDevice]]

DIMMED = f"""<config><hardware xmlns="{HARDWARE_NS}"><component><name>d1</name>
<quantum xmlns="{QUANTUM_NODE_NS}"><attenuation-db>3.0</attenuation-db></quantum></component>
</hardware></config>"""
ATTENUATION = "/ietf-hardware:hardware/component[name='d1']/bellweave-quantum-node:quantum/attenuation-db"
ENDPOINT = snapshot_of(
    NodeConfig(
        circuits=(
            Circuit(link_id="lnk_1", role=Role.ENDPOINT, ports=("q1",), detector="d1", pair_rate_hz=5.0),
        )
    )
)


def with_circuits(configuration: Configuration, circuits: Snapshot) -> Configuration:
    return Configuration.kept(configuration.schema, configuration.content.with_node(circuits))


async def somebody_else_edits(network: Network, element: str, config: str) -> None:
    """Beside the EMS, as a technician at the device would."""
    stores = network.elements[element].stores
    stores.set_candidate(edit(stores.schema, stores.running, etree.fromstring(config)), 999)
    await stores.commit(999)


async def test_what_somebody_changed_is_told_leaf_by_leaf(network: Network, open_device: Open) -> None:
    device = await open_device("ne-a")
    before = await device.configuration()
    await somebody_else_edits(network, "ne-a", DIMMED)
    after = await device.configuration()
    (only,) = differences(before.content, after.content)
    assert (only.path, only.before, only.after) == (ATTENUATION, None, "3.0")


async def test_a_device_is_driven_back_to_what_it_was(network: Network, open_device: Open) -> None:
    device = await open_device("ne-a")
    before = await device.configuration()
    await somebody_else_edits(network, "ne-a", DIMMED)
    assert await device.replace(before) == before
    assert await device.configuration() == before


async def test_circuits_and_the_rest_are_told_apart_and_put_together_again(open_device: Open) -> None:
    device = await open_device("ne-a")
    before = await device.configuration()
    wanted = with_circuits(before, ENDPOINT)
    after = await device.replace(wanted)
    assert (after.node, after.base) == (ENDPOINT, before.base)
    assert after == wanted
    assert (await device.read()).running == ENDPOINT


async def test_a_configuration_that_was_kept_is_the_one_that_was_read(open_device: Open) -> None:
    device = await open_device("ne-a")
    read = await device.replace(with_circuits(await device.configuration(), ENDPOINT))
    kept = Configuration.kept(read.schema, read.content)
    assert kept == read
    assert kept.content.digest == read.content.digest


async def test_a_locked_candidate_refuses_and_nothing_changes(network: Network, open_device: Open) -> None:
    device = await open_device("ne-a")
    before = await device.configuration()
    stores = network.elements["ne-a"].stores
    stores.lock("candidate", 999)
    with pytest.raises(LockDenied):
        await device.replace(with_circuits(before, ENDPOINT))
    stores.unlock("candidate", 999)
    assert await device.configuration() == before
    assert await device.replace(with_circuits(before, ENDPOINT)) == with_circuits(before, ENDPOINT)
