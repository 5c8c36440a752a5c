"""What is in the box: components and ports of one node, as hardware and interfaces.

The factory configuration lists them all, so that circuits can refer to them; `check_present` refuses to
configure what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from emulator.quantum.names import (
    CHASSIS,
    HARDWARE,
    INTERFACES,
    QUANTUM_PORT,
    TIMING_PORT,
    Identity,
    qn_identity,
)
from emulator.world.plant import Line, Plant
from qmodel.topology import Bsm, Detector, Memory, Node, Source
from qmodel.yang import decimal_text
from qyang.errors import RpcError
from qyang.paths import path_of, step
from qyang.schema import Schema
from qyang.tree import Record, Rows


@dataclass(frozen=True)
class Component:
    """One component. `ability` are the leaves of its ability container; `part_of` is its parent's name."""

    name: str
    hardware_class: Identity
    part_of: str | None = "chassis"
    ability: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """What one node has."""

    node: Node
    components: dict[str, Component]
    lines: dict[str, Line]
    """By port."""

    @classmethod
    def of(cls, plant: Plant, node: Node) -> Inventory:
        components = {component.name: component for component in _components(node)}
        return cls(node, components, plant.ports(node.id))

    def factory_config(self) -> Record:
        """Every component and port, nothing else configured."""
        interfaces = Rows(
            [
                Record(name=port, type=QUANTUM_PORT if line.quantum else TIMING_PORT)
                for port, line in sorted(self.lines.items())
            ]
        )
        components = Rows(
            [Record({"name": each.name, "class": each.hardware_class}) for each in self.components.values()]
        )
        config = Record({HARDWARE: Record(component=components)})
        if interfaces:
            config[INTERFACES] = Record(interface=interfaces)
        return config

    def check_present(self, schema: Schema, tree: Record) -> None:
        """Refuses (invalid-value) ports and components that are not in the box, or are something else:
        neither arbitrary-names nor pre-provisioning is supported (RFC 8343, RFC 8348)."""
        for entry in tree.get(INTERFACES, _EMPTY).get("interface", ()):
            line = self.lines.get(entry["name"])
            kind = None if line is None else QUANTUM_PORT if line.quantum else TIMING_PORT
            if entry["type"] != kind:
                raise _absent(schema, INTERFACES, "interface", entry["name"])
        for entry in tree.get(HARDWARE, _EMPTY).get("component", ()):
            component = self.components.get(entry["name"])
            if component is None or entry["class"] != component.hardware_class:
                raise _absent(schema, HARDWARE, "component", entry["name"])


_EMPTY = Record()


def _absent(schema: Schema, top: str, list_name: str, name: str) -> RpcError:
    container = schema.root.children[top]
    entry = container.children[list_name]
    return RpcError(
        "invalid-value",
        f"this node has no such {list_name}: {name}",
        path=path_of(schema, [step(container), step(entry, (name,))]),
    )


def _components(node: Node) -> list[Component]:
    found = [
        Component("chassis", CHASSIS, None),
        Component("optical-switch", qn_identity("optical-switch")),
        Component("polarization-compensator", qn_identity("polarization-compensator")),
        Component("timing-module", qn_identity("timing-module")),
    ]
    for source in node.sources:
        found.append(_source(source))
        found.append(Component(f"{source.id}.laser", qn_identity("laser"), source.id))
    found += [_bsm(bsm) for bsm in node.bsms]
    found += [_detector(detector) for detector in node.detectors]
    found += [_memory(memory) for memory in node.memories]
    return found


def _source(source: Source) -> Component:
    ability = {
        "trial-rate-hz": decimal(source.trial_rate_hz),
        "pairs-per-pulse": decimal(source.pairs_per_pulse),
        "werner": decimal(source.werner),
        "warm-up-s": decimal(source.warm_up_s, 9),
    }
    return Component(source.id, qn_identity("entangled-photon-source"), ability=ability)


def _bsm(bsm: Bsm) -> Component:
    ability = {"success": decimal(bsm.success), "werner": decimal(bsm.werner)}
    return Component(bsm.id, qn_identity("bsm"), ability=ability)


def _detector(detector: Detector) -> Component:
    ability = {
        "efficiency": decimal(detector.efficiency),
        "dark-rate-hz": decimal(detector.dark_rate_hz),
        "dead-time-s": decimal(detector.dead_time_s, 9),
        "window-s": decimal(detector.window_s, 9),
    }
    return Component(detector.id, qn_identity("detector"), ability=ability)


def _memory(memory: Memory) -> Component:
    ability = {
        "modes": memory.modes,
        "t2-s": decimal(memory.t2_s, 9),
        "efficiency": decimal(memory.efficiency),
    }
    return Component(memory.id, qn_identity("quantum-memory"), ability=ability)


def decimal(value: float, fraction_digits: int = 6) -> Decimal:
    """A cooked decimal64."""
    return Decimal(decimal_text(value, fraction_digits))
