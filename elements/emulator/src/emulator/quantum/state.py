"""A quantum node's operational state, computed from the world whenever somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from emulator.netconf.capabilities import date_and_time
from emulator.netconf.device import Provider
from emulator.quantum.inventory import Component, Inventory, decimal
from emulator.quantum.names import CHASSIS, HARDWARE, INTERFACES, PHOTONIC, QUANTUM, QUANTUM_NODE
from emulator.world.counters import Counter
from emulator.world.drift import (
    loss_variation_db,
    residual_rotation_deg,
    temperature_c,
    timing_offset_ps,
)
from emulator.world.world import NodeSetup, World, WorldAlarm
from qmodel.nodeconfig import Circuit
from qmodel.topology import QuantumLink
from qyang.tree import Record, Rows

_Concerned = Callable[[Circuit], bool]
_SEVERITY_BITS = {"critical": "critical", "major": "major", "minor": "minor", "warning": "warning"}


class NodeState:
    """The state of one node. `setup` is kept up to date by whoever owns the node's configuration."""

    def __init__(self, world: World, inventory: Inventory) -> None:
        self.setup = NodeSetup()
        self._world = world
        self._inventory = inventory
        self._node = inventory.node.id
        self._booted = date_and_time(at_time(world.booted_s))

    def providers(self) -> dict[str, Provider]:
        return {QUANTUM_NODE: self.quantum_node, HARDWARE: self.hardware, INTERFACES: self.interfaces}

    def quantum_node(self) -> Record:
        statuses = {
            link_id: self._world.status(link_id)
            for link_id in dict.fromkeys(circuit.link_id for circuit in self.setup.config.circuits)
        }
        rows = Rows()
        for circuit in self.setup.config.circuits:
            status = statuses[circuit.link_id]
            state = Record(
                {
                    "ready": status.ready,
                    "reason": status.reason,
                    "expected-ready-in-s": decimal(min(status.expected_in_s, 9e9), 9),
                    "pair-rate-hz": decimal(status.pair_rate_hz),
                }
            )
            if status.fidelity is not None:
                state["fidelity"] = decimal(status.fidelity)
            if circuit.detector is not None:
                counter = self._world.counter(self._node, circuit.link_id, circuit.purpose)
                state.update(_counted(counter))
            rows.append(Record({**_key(circuit), "state": state}))
        node = Record({"domain-time": date_and_time(self._world.clock.now())})
        if rows:
            node["circuit"] = rows
        ended = [
            Record({"link-id": link_id, "metered": counter.metered, **_counted(counter)})
            for link_id, counter in self._world.counters.ended(self._node)
        ]
        if ended:
            node["ended"] = Rows(ended)
        alarms = Rows([alarm_record(alarm) for alarm in self._world.alarms(self._node)])
        if alarms:
            node["alarm"] = alarms
        return node

    def hardware(self) -> Record:
        used = {
            name
            for circuit in self.setup.config.circuits
            for name in (circuit.source, circuit.bsm, circuit.detector)
            if name is not None
        }
        rows = [self._component(component, used) for component in self._inventory.components.values()]
        return Record({"last-change": self._booted, "component": Rows(rows)})

    def interfaces(self) -> Record:
        rows = [self._interface(port) for port in sorted(self._inventory.lines)]
        return Record(interface=Rows(rows)) if rows else Record()

    def _component(self, component: Component, used: set[str]) -> Record:
        name = component.name
        off = name in self.setup.disabled_components
        in_use = name in used or name.removesuffix(".laser") in used
        row = Record({"name": name, "class": component.hardware_class, "mfg-name": "Bellweave (emulated)"})
        if component.part_of is not None:
            row["parent"] = component.part_of
            row["parent-rel-pos"] = list(self._inventory.components).index(name)
        row["state"] = Record(
            {
                "oper-state": "disabled" if off else "enabled",
                "usage-state": "active" if in_use else "idle",
                "alarm-state": self._alarm_bits() if component.hardware_class == CHASSIS else (),
            }
        )
        if component.hardware_class == CHASSIS:
            return row
        quantum = Record(state=self._quantum_state(component, in_use))
        if component.ability:
            quantum["ability"] = Record(component.ability)
        row[QUANTUM] = quantum
        return row

    def _quantum_state(self, component: Component, in_use: bool) -> Record:
        name, kind = component.name, component.hardware_class[0]
        tag = f"{self._node}/{name}"
        now_s = self._world.clock.now_s()
        state = Record({"in-use": in_use, "temperature-c": decimal(temperature_c(tag, now_s), 3)})
        if kind in ("entangled-photon-source", "laser"):
            settled_in_s = self._world.settled_in_s(self._node, name.removesuffix(".laser"))
            state["settled"] = settled_in_s == 0
            if settled_in_s < 9e9:
                state["settled-in-s"] = decimal(settled_in_s, 9)
        if kind == "polarization-compensator":
            state["drift-deg"] = decimal(residual_rotation_deg(self._node, now_s), 3)
        if kind == "timing-module":
            state["offset-ps"] = decimal(timing_offset_ps(tag, now_s), 3)
        if kind in ("entangled-photon-source", "detector"):
            dark_hz = float(component.ability.get("dark-rate-hz", 0))
            dark = dark_hz * max(0.0, now_s - self._world.booted_s)
            state["counts"] = int(self._world.clicks(self._node, name) + dark)
            state["counts-rate-hz"] = decimal(
                dark_hz + self._rate_hz(lambda circuit: name in _parts(circuit))
            )
        return state

    def _interface(self, port: str) -> Record:
        line = self._inventory.lines[port]
        dark = self._world.is_cut(line)
        disabled = port in self.setup.disabled_ports
        photonic = Record(
            {
                "counts-rate-hz": decimal(self._rate_hz(lambda circuit: port in circuit.ports)),
                "signal": not dark,
            }
        )
        if isinstance(line.link, QuantumLink) and not dark:
            now_s = self._world.clock.now_s()
            loss_db = line.link.loss_db + loss_variation_db(line.key, now_s)
            photonic["line-loss-db"] = decimal(loss_db, 3)
        return Record(
            {
                "name": port,
                "type": ("quantum-port" if line.quantum else "timing-port", "bellweave-qn-types"),
                "oper-status": "down" if dark or disabled else "up",
                "statistics": Record({"discontinuity-time": self._booted}),
                PHOTONIC: photonic,
            }
        )

    def _rate_hz(self, concerned: _Concerned) -> float:
        """Pairs per second of the ready links whose circuits here are concerned."""
        return sum(
            circuit.pair_rate_hz
            for circuit in self.setup.config.circuits
            if concerned(circuit) and self._world.status(circuit.link_id).ready
        )

    def _alarm_bits(self) -> tuple[str, ...]:
        severities = {alarm.severity for alarm in self._world.alarms(self._node)}
        return tuple(bit for severity, bit in _SEVERITY_BITS.items() if severity in severities)


def alarm_record(alarm: WorldAlarm) -> Record:
    """An alarm as an entry of the node's list or as the content of a notification."""
    return Record(
        {
            "resource": alarm.resource,
            "alarm-type": alarm.alarm_type,
            "severity": alarm.severity,
            "text": alarm.text,
            "time": date_and_time(at_time(alarm.since_s)),
        }
    )


def at_time(domain_s: float) -> datetime:
    return datetime.fromtimestamp(domain_s, UTC)


def _counted(counter: Counter) -> dict[str, object]:
    return {"released": counter.published, "unit": counter.unit, "counter-boot-id": counter.boot_id}


def _key(circuit: Circuit) -> dict[str, str]:
    return {"link-id": circuit.link_id, "role": circuit.role.value, "a-port": circuit.ports[0]}


def _parts(circuit: Circuit) -> tuple[str | None, ...]:
    return circuit.source, circuit.bsm, circuit.detector
