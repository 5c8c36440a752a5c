"""One operator's network as declared: nodes, links of photons, of bits and of time, conduits, borders.

The NMS imports it from a file and owns it; the emulator builds its world from the union of such files.
There is no LLDP for photons, so this declaration is what the network is believed to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qmodel.ids import Name
from qmodel.security import SecurityLevel

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Declared):
    """An entangled photon source. `trial_rate_hz` pulses per second, `pairs_per_pulse` mean pairs per pulse;
    `werner` of a freshly made pair in [0, 1]; `warm_up_s` until its laser has settled (domain time)."""

    id: Name
    trial_rate_hz: Positive = 1.0e9
    pairs_per_pulse: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    werner: Probability = 0.99
    warm_up_s: NonNegative = 300.0


class Bsm(Declared):
    """A Bell-state measurement. Linear optics succeeds at most half the time."""

    id: Name
    success: Annotated[float, Field(gt=0, le=1)] = 0.5
    werner: Probability = 0.99


class Detector(Declared):
    """A detector pair of an endpoint. Efficiency in [0, 1]; coincidence window `window_s`."""

    id: Name
    efficiency: Probability = 0.85
    dark_rate_hz: NonNegative = 100.0
    dead_time_s: NonNegative = 2.0e-8
    window_s: Positive = 5.0e-10


class Memory(Declared):
    """A quantum memory with `modes` multiplexed modes and coherence time `t2_s`."""

    id: Name
    modes: Annotated[int, Field(ge=1)] = 1
    t2_s: Positive = 1.0
    efficiency: Probability = 0.9


class NodeKind(StrEnum):
    GROUND = "ground"
    SATELLITE = "satellite"


class Node(Declared):
    """A place with one network element. `site` is the name a tenant orders by, if tenants may end there.

    `ems` is the EMS instance that manages `element`; a node of another operator (a border, where this
    operator's photons are handed over) has neither here.
    """

    id: Name
    operator: Name
    site: str | None = Field(default=None, max_length=64)
    kind: NodeKind = NodeKind.GROUND
    element: Name | None = None
    ems: Name | None = None
    clearance: SecurityLevel = SecurityLevel.TOP_SECRET
    trusted_relay: bool = False
    latitude_deg: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude_deg: Annotated[float, Field(ge=-180, le=180)] | None = None
    switch_loss_db: NonNegative = 1.0
    sources: tuple[Source, ...] = ()
    bsms: tuple[Bsm, ...] = ()
    detectors: tuple[Detector, ...] = ()
    memories: tuple[Memory, ...] = ()


class PortRef(Declared):
    node: Name
    port: Name


class Pass(Declared):
    """A satellite's recurring pass over a ground node: from `offset_s` for `duration_s` in every `period_s`,
    on the domain clock counted from 1970. Hypothetical calendars say so in the topology's description."""

    period_s: Positive
    offset_s: NonNegative = 0.0
    duration_s: Positive
    max_elevation_deg: Annotated[float, Field(gt=0, le=90)] = 70.0

    @property
    def duty(self) -> float:
        """Share of the time in which the pass gives light, in (0, 1]."""
        return min(1.0, self.duration_s / self.period_s)

    def open_at(self, now_s: float) -> bool:
        return (now_s - self.offset_s) % self.period_s < self.duration_s

    def next_start_s(self, now_s: float) -> float:
        """Start of the pass under way or, between passes, of the next one."""
        into = (now_s - self.offset_s) % self.period_s
        return now_s - into if into < self.duration_s else now_s - into + self.period_s


class QuantumLink(Declared):
    """Where photons travel: a fibre, or free space from a satellite (which then has a pass).

    Loss in dB is `attenuation_db_per_km · length_km + extra_loss_db`; for free space `extra_loss_db` is the
    whole mean loss of the downlink and attenuation is 0.
    """

    id: Name
    a: PortRef
    b: PortRef
    medium: Literal["fibre", "free_space"] = "fibre"
    length_km: Positive
    attenuation_db_per_km: NonNegative = 0.2
    extra_loss_db: NonNegative = 0.0
    conduits: tuple[Name, ...] = ()
    visibility: Pass | None = None

    @property
    def ends(self) -> tuple[str, str]:
        return self.a.node, self.b.node

    @property
    def loss_db(self) -> float:
        return self.attenuation_db_per_km * self.length_km + self.extra_loss_db


class ClassicalLink(Declared):
    id: Name
    a: Name
    b: Name
    length_km: Positive
    extra_delay_s: NonNegative = 0.0


class TimingLink(Declared):
    """Where timing signals travel. If the protocol `measures_delay`, its route must follow the photons'
    conduits; `conduits` says where this one runs."""

    id: Name
    a: PortRef
    b: PortRef
    length_km: Positive
    conduits: tuple[Name, ...] = ()
    measures_delay: bool = True


class Conduit(Declared):
    """A duct: what shares it is cut together."""

    id: Name
    description: str = Field(default="", max_length=200)


class Topology(Declared):
    """One operator's declared network. Validation names every reference that leads nowhere."""

    bellweave_topology: Literal[1]
    operator: Name
    description: str = Field(default="", max_length=1000)
    conduits: tuple[Conduit, ...] = ()
    nodes: tuple[Node, ...]
    quantum_links: tuple[QuantumLink, ...] = ()
    classical_links: tuple[ClassicalLink, ...] = ()
    timing_links: tuple[TimingLink, ...] = ()

    @model_validator(mode="after")
    def _references_lead_somewhere(self) -> Topology:
        problems = [*_duplicates(self), *_dangling(self)]
        if problems:
            more = f" (and {len(problems) - 20} more)" if len(problems) > 20 else ""
            raise ValueError("; ".join(problems[:20]) + more)
        return self

    def node(self, node_id: str) -> Node:
        return next(node for node in self.nodes if node.id == node_id)

    @property
    def borders(self) -> tuple[Node, ...]:
        """Nodes of other operators at which this operator hands photons over."""
        return tuple(node for node in self.nodes if node.operator != self.operator)


def _duplicates(topology: Topology) -> Iterable[str]:
    yield from _duplicate_ids(topology)
    yield from _duplicate_in_nodes(topology)


def _duplicate_ids(topology: Topology) -> Iterable[str]:
    for what in ("conduits", "nodes", "quantum_links", "classical_links", "timing_links"):
        seen: set[str] = set()
        for index, item in enumerate(getattr(topology, what)):
            if item.id in seen:
                yield f"{what}[{index}]: id {item.id!r} occurs twice"
            seen.add(item.id)


def _duplicate_in_nodes(topology: Topology) -> Iterable[str]:
    for what in ("site", "element"):
        owners: dict[str, str] = {}
        for index, node in enumerate(topology.nodes):
            name = getattr(node, what)
            if name is not None and owners.setdefault(name, node.id) != node.id:
                yield f"nodes[{index}] {node.id!r}: {what} {name!r} is that of {owners[name]!r} already"
    for index, node in enumerate(topology.nodes):
        for devices in (node.sources, node.bsms, node.detectors, node.memories):
            repeated = Counter(device.id for device in devices) - Counter({device.id for device in devices})
            yield from (f"nodes[{index}] {node.id!r}: device {name!r} occurs twice" for name in repeated)


def _dangling(topology: Topology) -> Iterable[str]:
    nodes = {node.id for node in topology.nodes}
    yield from _loose_links(topology, nodes)
    for index, classical in enumerate(topology.classical_links):
        where = f"classical_links[{index}] {classical.id!r}"
        yield from (f"{where}: no node {end!r}" for end in (classical.a, classical.b) if end not in nodes)
        if classical.a == classical.b:
            yield f"{where}: both ends at {classical.a!r}"
    for index, node in enumerate(topology.nodes):
        if node.operator == topology.operator and (node.element is None or node.ems is None):
            yield f"nodes[{index}] {node.id!r}: an own node needs element and ems"


def _loose_links(topology: Topology, nodes: set[str]) -> Iterable[str]:
    conduits = {conduit.id for conduit in topology.conduits}
    ports: set[tuple[str, str]] = set()
    for what in ("quantum_links", "timing_links"):
        for index, link in enumerate(getattr(topology, what)):
            where = f"{what}[{index}] {link.id!r}"
            for end in (link.a, link.b):
                if end.node not in nodes:
                    yield f"{where}: no node {end.node!r}"
                if (end.node, end.port) in ports:
                    yield f"{where}: port {end.node}/{end.port} already has a link"
                ports.add((end.node, end.port))
            if link.a.node == link.b.node:
                yield f"{where}: both ends at {link.a.node!r}"
            yield from (f"{where}: no conduit {name!r}" for name in link.conduits if name not in conduits)
