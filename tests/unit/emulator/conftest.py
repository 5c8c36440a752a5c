"""Schemas, a small world of two operators and a satellite, and a clock that tests turn by hand."""

from __future__ import annotations

import pytest

from emulator.netconf.abilities import QUANTUM_NODE, netconf_modules
from emulator.world.plant import Plant
from emulator.world.world import NodeSetup, World
from qmodel.clock import DomainClock
from qmodel.nodeconfig import Circuit, NodeConfig, Role, TimingRole, TimingRoute
from qmodel.topology import Topology
from qmodel.yang import QUANTUM_NODE_MODULES, module_dirs
from qyang.schema import Schema

NORTH = {
    "bellweave_topology": 1,
    "operator": "north",
    "conduits": [{"id": "c1"}, {"id": "c2"}],
    "nodes": [
        {"id": "alice", "operator": "north", "site": "Alice", "element": "ne-alice", "ems": "ems.north",
         "sources": [{"id": "sa", "warm_up_s": 300}], "detectors": [{"id": "da"}]},
        {"id": "hub", "operator": "north", "element": "ne-hub", "ems": "ems.north",
         "sources": [{"id": "sh1", "warm_up_s": 100}, {"id": "sh2", "warm_up_s": 200}],
         "bsms": [{"id": "bh"}], "memories": [{"id": "mh", "modes": 100}]},
        {"id": "bob", "operator": "north", "site": "Bob", "element": "ne-bob", "ems": "ems.north",
         "sources": [{"id": "sb", "warm_up_s": 60}], "detectors": [{"id": "db"}]},
        {"id": "sat", "operator": "north", "kind": "satellite", "element": "ne-sat", "ems": "ems.space",
         "sources": [{"id": "ss", "warm_up_s": 10}]},
        {"id": "gate", "operator": "south"},
    ],
    "quantum_links": [
        {"id": "f1", "a": {"node": "alice", "port": "q1"}, "b": {"node": "hub", "port": "q1"},
         "length_km": 10, "conduits": ["c1"]},
        {"id": "f2", "a": {"node": "hub", "port": "q2"}, "b": {"node": "bob", "port": "q1"},
         "length_km": 12, "conduits": ["c2"]},
        {"id": "d1", "a": {"node": "alice", "port": "q2"}, "b": {"node": "sat", "port": "q1"},
         "medium": "free_space", "length_km": 600, "attenuation_db_per_km": 0, "extra_loss_db": 20,
         "visibility": {"period_s": 5400, "duration_s": 600}},
        {"id": "d2", "a": {"node": "bob", "port": "q2"}, "b": {"node": "sat", "port": "q2"},
         "medium": "free_space", "length_km": 600, "attenuation_db_per_km": 0, "extra_loss_db": 20,
         "visibility": {"period_s": 5400, "duration_s": 600}},
        {"id": "x1", "a": {"node": "bob", "port": "q3"}, "b": {"node": "gate", "port": "q1"},
         "length_km": 5},
    ],
    "timing_links": [
        {"id": "t1", "a": {"node": "alice", "port": "t1"}, "b": {"node": "hub", "port": "t1"},
         "length_km": 10, "conduits": ["c1"]},
        {"id": "t2", "a": {"node": "hub", "port": "t2"}, "b": {"node": "bob", "port": "t1"},
         "length_km": 12, "conduits": ["c2"]},
    ],
}  # fmt: skip
SOUTH = {
    "bellweave_topology": 1,
    "operator": "south",
    "nodes": [
        {"id": "gate", "operator": "south", "element": "ne-gate", "ems": "ems.south",
         "sources": [{"id": "sg", "warm_up_s": 30}], "bsms": [{"id": "bg"}],
         "memories": [{"id": "mg", "modes": 1000}]},
        {"id": "charlie", "operator": "south", "site": "Charlie", "element": "ne-charlie",
         "ems": "ems.south", "detectors": [{"id": "dc"}]},
    ],
    "quantum_links": [
        {"id": "y1", "a": {"node": "gate", "port": "q2"}, "b": {"node": "charlie", "port": "q1"},
         "length_km": 5},
    ],
}  # fmt: skip


class HandClock:
    """A real clock that only moves when told to; the domain runs as fast."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0
        self.domain = DomainClock(0.0, 1.0, lambda: self.now_s)

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture(scope="session")
def quantum_schema() -> Schema:
    return Schema(dict.fromkeys((*QUANTUM_NODE_MODULES, *netconf_modules(QUANTUM_NODE))), module_dirs())


@pytest.fixture
def topologies() -> list[Topology]:
    return [Topology.model_validate(NORTH), Topology.model_validate(SOUTH)]


@pytest.fixture
def plant(topologies: list[Topology]) -> Plant:
    return Plant(topologies)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def world(plant: Plant, clock: HandClock) -> World:
    return World(plant, clock.domain)


@pytest.fixture
def direct_link() -> dict[str, NodeSetup]:
    """Link `ab`: Alice's own source, a switch in the hub, Bob's detector; timing along the same conduits."""
    common = {"link_id": "ab", "pair_rate_hz": 50_000.0, "key_rate_bps": 1000.0}
    route = {"link_id": "ab"}
    return {
        "alice": NodeSetup(NodeConfig(
            circuits=(Circuit(role=Role.SOURCE, ports=("q1",), source="sa", detector="da", metered=True,
                              **common),),
            timing=(TimingRoute(role=TimingRole.MASTER, ports=("t1",), **route),),
        )),
        "hub": NodeSetup(NodeConfig(
            circuits=(Circuit(role=Role.SWITCH, ports=("q1", "q2"), **common),),
            timing=(TimingRoute(role=TimingRole.RELAY, ports=("t1", "t2"), **route),),
        )),
        "bob": NodeSetup(NodeConfig(
            circuits=(Circuit(role=Role.ENDPOINT, ports=("q1",), detector="db", **common),),
            timing=(TimingRoute(role=TimingRole.CLIENT, ports=("t1",), **route),),
        )),
    }  # fmt: skip
