"""A quantum node's factory configuration, what it refuses, and its operational state."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from yangson.enumerations import ContentType
from yangson.instance import RootNode

from emulator.datastore.durable import JsonFile
from emulator.datastore.store import Datastores
from emulator.faults import Faults
from emulator.netconf.abilities import QUANTUM_NODE
from emulator.netconf.capabilities import SelfDescription
from emulator.netconf.device import Device
from emulator.quantum.inventory import Inventory
from emulator.quantum.setup import setup_of
from emulator.quantum.state import NodeState
from emulator.world.counters import Counters
from emulator.world.plant import Plant
from emulator.world.world import NodeSetup, World
from qmodel.nodeconfig import Role
from qmodel.yang import HARDWARE_NS, INTERFACES_NS, QUANTUM_NODE_NS, QUANTUM_TYPES_NS
from qyang.edit import edit
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record, Rows
from qyang.validation import Validator

Config = Callable[[str], Any]
TYPES = f'xmlns:t="{QUANTUM_TYPES_NS}"'


@pytest.fixture
def hub(plant: Plant) -> Inventory:
    return Inventory.of(plant, plant.nodes["hub"])


def test_the_factory_configuration_is_valid_and_lists_what_is_there(
    quantum_schema: Schema, hub: Inventory
) -> None:
    config = hub.factory_config()
    Validator(quantum_schema).validate(config)
    hub.check_present(quantum_schema, config)
    ports = {row["name"]: row["type"][0] for row in config["ietf-interfaces:interfaces"]["interface"]}
    assert ports == {"q1": "quantum-port", "q2": "quantum-port", "t1": "timing-port", "t2": "timing-port"}
    names = {row["name"] for row in config["ietf-hardware:hardware"]["component"]}
    assert {"sh1", "sh1.laser", "bh", "mh", "timing-module", "chassis"} <= names


@pytest.mark.parametrize(
    "inside",
    [
        f'<interfaces xmlns="{INTERFACES_NS}"><interface><name>q9</name>'
        f"<type {TYPES}>t:quantum-port</type></interface></interfaces>",
        f'<interfaces xmlns="{INTERFACES_NS}"><interface><name>t1</name>'
        f"<type {TYPES}>t:quantum-port</type></interface></interfaces>",
        f'<hardware xmlns="{HARDWARE_NS}"><component><name>bh</name>'
        f"<class {TYPES}>t:detector</class></component></hardware>",
    ],
)
def test_hardware_that_is_not_there_cannot_be_configured(
    quantum_schema: Schema, hub: Inventory, config_of: Config, inside: str
) -> None:
    tree = edit(quantum_schema, hub.factory_config(), config_of(inside))
    with pytest.raises(RpcError) as refused:
        hub.check_present(quantum_schema, tree)
    assert refused.value.tag == "invalid-value"


def test_a_configuration_is_understood_whole(
    quantum_schema: Schema, hub: Inventory, config_of: Config
) -> None:
    inside = (
        f'<quantum-node xmlns="{QUANTUM_NODE_NS}"><circuit><link-id>l</link-id><role>swap</role>'
        "<a-port>q1</a-port><b-port>q2</b-port><bsm>bh</bsm><pair-rate-hz>10.5</pair-rate-hz></circuit>"
        "<timing-route><link-id>l</link-id><role>relay</role><a-port>t1</a-port><b-port>t2</b-port>"
        f'</timing-route></quantum-node><hardware xmlns="{HARDWARE_NS}">'
        f"<component><name>sh1.laser</name><class {TYPES}>t:laser</class>"
        f'<quantum xmlns="{QUANTUM_NODE_NS}"><enabled>false</enabled></quantum></component>'
        f"<component><name>sh2</name><class {TYPES}>t:entangled-photon-source</class>"
        f'<quantum xmlns="{QUANTUM_NODE_NS}"><attenuation-db>3</attenuation-db></quantum></component>'
        f'</hardware><interfaces xmlns="{INTERFACES_NS}"><interface><name>t2</name>'
        f"<type {TYPES}>t:timing-port</type><enabled>false</enabled></interface></interfaces>"
    )
    tree = edit(quantum_schema, hub.factory_config(), config_of(inside))
    Validator(quantum_schema).validate(tree)
    setup = setup_of(tree)
    assert setup.config.circuits[0].role is Role.SWAP
    assert setup.config.circuits[0].pair_rate_hz == 10.5
    assert setup.config.timing[0].ports == ("t1", "t2")
    assert setup.disabled_components == {"sh1", "sh1.laser"}
    assert setup.disabled_ports == {"t2"}
    assert setup.attenuation_db == {"sh2": 3.0}


def test_operational_state_is_valid_yang_and_tells_how_it_is(
    quantum_schema: Schema, world: World, clock: Any, direct_link: dict[str, NodeSetup]
) -> None:
    inventory = Inventory.of(world.plant, world.plant.nodes["alice"])
    state = NodeState(world, inventory)
    state.setup = direct_link["alice"]
    for node, setup in direct_link.items():
        world.configure(node, setup)
    clock.pass_s(310)
    world.settle_all()
    rows = world.counters.snapshot()
    assert rows is not None
    world.counters.publish(rows)
    whole = Record((name, give()) for name, give in state.providers().items())
    circuit = whole["bellweave-quantum-node:quantum-node"]["circuit"][0]
    assert circuit["state"]["ready"] is True
    assert circuit["state"]["released"] == 10_000
    assert circuit["state"]["unit"] == "key-bits"
    world.cut("f1")
    dark = Record((name, give()) for name, give in state.providers().items())
    ports = {row["name"]: row for row in dark["ietf-interfaces:interfaces"]["interface"]}
    assert ports["q1"]["oper-status"] == "down"
    assert ports["q2"]["oper-status"] == "up"
    alarms = dark["bellweave-quantum-node:quantum-node"]["alarm"]
    assert [(a["resource"], a["alarm-type"]) for a in alarms] == [("port/q1", "loss-of-signal")]
    assert not dark["bellweave-quantum-node:quantum-node"]["circuit"][0]["state"]["ready"]


def test_what_an_end_released_last_can_still_be_read_when_it_is_gone(
    world: World, clock: Any, direct_link: dict[str, NodeSetup]
) -> None:
    state = NodeState(world, Inventory.of(world.plant, world.plant.nodes["alice"]))
    for node, setup in direct_link.items():
        world.configure(node, setup)
    clock.pass_s(310)
    for node in direct_link:
        world.configure(node, NodeSetup())
    rows = world.counters.snapshot()
    assert rows is not None
    world.counters.publish(rows)
    (ended,) = state.quantum_node()["ended"]
    assert (ended["link-id"], ended["released"], ended["unit"]) == ("ab", 10_000, "key-bits")
    again = Counters()
    again.restore(rows)
    assert [link for link, _ in again.ended("alice")] == ["ab"], "also over a restart"
    world.configure("alice", direct_link["alice"])
    assert "ended" not in state.quantum_node()


def test_all_that_a_device_says_of_itself_is_valid_yang(
    quantum_schema: Schema, world: World, direct_link: dict[str, NodeSetup], tmp_path: Path
) -> None:
    inventory = Inventory.of(world.plant, world.plant.nodes["alice"])
    state = NodeState(world, inventory)
    state.setup = direct_link["alice"]
    world.configure("alice", state.setup)
    world.cut("c1")
    config = inventory.factory_config()
    config["bellweave-quantum-node:quantum-node"] = _config_of(direct_link["alice"])
    with ThreadPoolExecutor(1) as executor:
        file = JsonFile(tmp_path / "datastores.json", executor)
        stores = Datastores(quantum_schema, Validator(quantum_schema), file, config)
    stores.lock("candidate", 7)
    about = SelfDescription(quantum_schema, QUANTUM_NODE)
    device = Device("ne-alice", about, stores, state.providers(), Faults())
    _validate_whole(quantum_schema, device.operational(None))


def _config_of(setup: NodeSetup) -> Record:
    circuit = setup.config.circuits[0]
    row = Record({
        "link-id": circuit.link_id, "role": circuit.role.value, "a-port": circuit.ports[0],
        "source": circuit.source, "detector": circuit.detector, "pair-rate-hz": Decimal("50000.0"),
    })  # fmt: skip
    return Record(circuit=Rows([row]))


def _validate_whole(schema: Schema, tree: Record) -> None:
    root = RootNode(tree, schema.model.schema, schema.model.schema_data, tree.timestamp)
    root.validate(ctype=ContentType.all)
