"""Node configurations as snapshots of the YANG module `bellweave-quantum-node`, and back.

The names and types of that module's configuration stand here once, for every adapter whose devices speak
it, in XML or JSON. Raises `Invalid` where a configuration cannot be written in the module.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from pydantic import ValidationError

from ems.domain.snapshot import Entry, Snapshot
from qmodel.errors import Invalid
from qmodel.nodeconfig import Circuit, NodeConfig, TimingRoute
from qmodel.yang import decimal_text

MODULE: Final = "bellweave-quantum-node"
CIRCUIT: Final = "circuit"
TIMING_ROUTE: Final = "timing-route"
KINDS: Final = (CIRCUIT, TIMING_ROUTE)
KEYS: Final = ("link-id", "role", "a-port")

_RATES: Final = frozenset({"pair-rate-hz", "key-rate-bps"})
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,19}(\.[0-9]{1,18})?")
_BOOLEANS: Final = {"1": "true", "0": "false"}
_DEFAULTS: Final = {"purpose": "keys", "key-rate-bps": "0.0", "metered": "false"}


def snapshot_of(config: NodeConfig) -> Snapshot:
    """The snapshot of a device that does what `config` says. Rates are rounded to six digits."""
    entries = [_circuit_entry(circuit) for circuit in config.circuits]
    entries += [_timing_entry(route) for route in config.timing]
    return Snapshot.of(entries)


def config_of(snapshot: Snapshot) -> NodeConfig:
    """The node configuration that a device with `snapshot` does; `Invalid` if it does more than that."""
    circuits: list[Circuit] = []
    timing: list[TimingRoute] = []
    for entry in snapshot.entries:
        try:
            if entry.kind == CIRCUIT:
                circuits.append(Circuit(**_members(entry)))
            else:
                timing.append(TimingRoute(**_members(entry)))
        except (ValidationError, TypeError):
            raise Invalid("the device runs what no node configuration says", where=entry.path) from None
    return NodeConfig(circuits=tuple(circuits), timing=tuple(timing)).normalized()


def entry_of(kind: str, leaves: dict[str, str]) -> Entry:
    """An entry from leaves as a device prints them: canonical values, no defaults, sorted."""
    key = tuple(leaves.pop(name, "") for name in KEYS)
    canonical = ((name, canonical_value(name, text)) for name, text in leaves.items())
    return Entry(kind, key, tuple(sorted(leaf for leaf in canonical if _DEFAULTS.get(leaf[0]) != leaf[1])))


def canonical_value(leaf: str, text: str) -> str:
    """`text` of `leaf` in the canonical form of its type (RFC 7950); as it is if it is not of that type."""
    if leaf in _RATES:
        if not _NUMBER.fullmatch(text):
            return text
        number = Decimal(text)
        return f"{number.normalize():f}" if number % 1 else f"{number:.1f}"
    if leaf == "metered":
        return _BOOLEANS.get(text, text)
    return text


def _circuit_entry(circuit: Circuit) -> Entry:
    leaves = {
        "link-id": circuit.link_id,
        "role": circuit.role.value,
        "pair-rate-hz": decimal_text(circuit.pair_rate_hz),
        "purpose": circuit.purpose.value,
        "key-rate-bps": decimal_text(circuit.key_rate_bps),
        "metered": "true" if circuit.metered else "false",
    }
    for name in ("source", "bsm", "detector"):
        component = getattr(circuit, name)
        if component is not None:
            leaves[name] = component
    return entry_of(CIRCUIT, leaves | _ports(circuit.ports))


def _timing_entry(route: TimingRoute) -> Entry:
    return entry_of(TIMING_ROUTE, {"link-id": route.link_id, "role": route.role.value} | _ports(route.ports))


def _ports(ports: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(("a-port", "b-port"), ports, strict=False))


def _members(entry: Entry) -> dict[str, Any]:
    leaves = dict(entry.leaves)
    link_id, role, a_port = entry.key
    b_port = leaves.pop("b-port", None)
    ports = (a_port,) if b_port is None else (a_port, b_port)
    return {"link_id": link_id, "role": role, "ports": ports} | {
        name.replace("-", "_"): value for name, value in leaves.items()
    }
