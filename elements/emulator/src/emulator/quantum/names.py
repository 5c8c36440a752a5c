"""Instance names and identities of the modules that a quantum node speaks (RFC 7951)."""

from __future__ import annotations

INTERFACES = "ietf-interfaces:interfaces"
HARDWARE = "ietf-hardware:hardware"
QUANTUM_NODE = "bellweave-quantum-node:quantum-node"
QUANTUM = "bellweave-quantum-node:quantum"
PHOTONIC = "bellweave-quantum-node:photonic"
ELEMENT_ALARM = "bellweave-quantum-node:element-alarm"

Identity = tuple[str, str]


def qn_identity(name: str) -> Identity:
    return name, "bellweave-qn-types"


QUANTUM_PORT = qn_identity("quantum-port")
TIMING_PORT = qn_identity("timing-port")
CHASSIS: Identity = ("chassis", "iana-hardware")
