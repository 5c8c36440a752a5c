"""From a node's running configuration to what it means for the world."""

from __future__ import annotations

from emulator.quantum.names import HARDWARE, INTERFACES, QUANTUM, QUANTUM_NODE
from emulator.world.world import NodeSetup
from qmodel.nodeconfig import Circuit, NodeConfig, Purpose, Role, TimingRole, TimingRoute
from qyang.tree import Record

_EMPTY = Record()


def setup_of(running: Record) -> NodeSetup:
    """What a valid configuration asks of the node."""
    node = running.get(QUANTUM_NODE, _EMPTY)
    config = NodeConfig(
        circuits=tuple(_circuit(entry) for entry in node.get("circuit", ())),
        timing=tuple(_timing(entry) for entry in node.get("timing-route", ())),
    )
    components = running.get(HARDWARE, _EMPTY).get("component", ())
    off = {entry["name"] for entry in components if _switched_off(entry)}
    attenuation_db = {
        entry["name"]: float(entry[QUANTUM]["attenuation-db"])
        for entry in components
        if "attenuation-db" in entry.get(QUANTUM, _EMPTY)
    }
    ports = running.get(INTERFACES, _EMPTY).get("interface", ())
    ports_off = frozenset(entry["name"] for entry in ports if entry.get("enabled") is False)
    return NodeSetup(config, frozenset(off | _without_laser(off)), ports_off, attenuation_db)


def _switched_off(entry: Record) -> bool:
    return (
        entry.get(QUANTUM, _EMPTY).get("enabled") is False
        or entry.get("state", _EMPTY).get("admin-state") == "locked"
    )


def _without_laser(off: set[str]) -> set[str]:
    """A source whose laser is off is off."""
    return {name.removesuffix(".laser") for name in off if name.endswith(".laser")}


def _circuit(entry: Record) -> Circuit:
    return Circuit(
        link_id=entry["link-id"],
        role=Role(entry["role"]),
        ports=_ports(entry),
        source=entry.get("source"),
        bsm=entry.get("bsm"),
        detector=entry.get("detector"),
        pair_rate_hz=float(entry["pair-rate-hz"]),
        purpose=Purpose(entry.get("purpose", "keys")),
        key_rate_bps=float(entry.get("key-rate-bps", 0)),
        metered=entry.get("metered", False),
    )


def _timing(entry: Record) -> TimingRoute:
    return TimingRoute(link_id=entry["link-id"], role=TimingRole(entry["role"]), ports=_ports(entry))


def _ports(entry: Record) -> tuple[str, ...]:
    return (entry["a-port"], entry["b-port"]) if "b-port" in entry else (entry["a-port"],)
