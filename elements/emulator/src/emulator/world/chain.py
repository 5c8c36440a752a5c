"""A link followed through the network: from one end, over fibres and circuits, to the other.

`follow` is pure: given who does what and which lines are whole, it finds the hops and swaps, or the first
thing that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emulator.world.plant import Line, Plant
from qmodel.chains import HopPhysics, Receiver, SwapPhysics
from qmodel.hops import arm, detector_receiver, hop_physics, memory_of, swap_physics, swap_receiver
from qmodel.nodeconfig import Circuit, Role
from qmodel.topology import Node, Pass, QuantumLink, Source

_MAX_STEPS = 256


@dataclass(frozen=True)
class Part:
    """One node's circuit in a link."""

    node: str
    circuit: Circuit

    @property
    def is_end(self) -> bool:
        """Whether the link ends here: a detector keeps the photon."""
        circuit = self.circuit
        return circuit.role is Role.ENDPOINT or (
            circuit.role is Role.SOURCE and len(circuit.ports) == 1 and circuit.detector is not None
        )


@dataclass(frozen=True)
class Chain:
    """A whole link: its physics at full light, its lasers, its ends, and when its lines give light."""

    hops: tuple[HopPhysics, ...]
    swaps: tuple[SwapPhysics, ...]
    hop_limits_hz: tuple[float, ...]
    sources: tuple[tuple[str, str], ...]
    nodes: tuple[str, ...]
    passes: tuple[Pass, ...]


class Broken(Exception):
    """Why the link is not whole, for people."""


@dataclass
class _Hop:
    """A hop under way: the nodes it has passed, and where its source is among them."""

    nodes: list[Node]
    receiver: Receiver
    links: list[QuantumLink] = field(default_factory=list)
    source: Source | None = None
    source_at: int = 0
    limit_hz: float = 0.0

    def lit_by(self, source: Source, limit_hz: float) -> None:
        if self.source is not None:
            raise Broken(f"two sources light the same hop at {self.nodes[-1].id}")
        self.source, self.source_at, self.limit_hz = source, len(self.nodes) - 1, limit_hz

    def physics(self, far: Receiver, excess_db: Callable[[str, str], float]) -> HopPhysics:
        if self.source is None:
            raise Broken(f"no source between {self.nodes[0].id} and {self.nodes[-1].id}")
        at = self.source_at
        extra_db = excess_db(self.nodes[at].id, self.source.id)
        back = arm(self.nodes[at::-1], self.links[:at][::-1], extra_db if at else 0.0)
        onward = self.links[at:]
        forth = arm(self.nodes[at:], onward, extra_db if onward else 0.0)
        return hop_physics(self.source, (back, forth), (self.receiver, far))


def follow(
    plant: Plant,
    parts: Sequence[Part],
    whole: Callable[[Line], bool],
    excess_db: Callable[[str, str], float] = lambda node, component: 0.0,
) -> Chain:
    """The chain that `parts` of one link make. `excess_db` is attenuation set at a source on purpose.

    Raises Broken with the first thing that is missing."""
    ends = sorted((part for part in parts if part.is_end), key=lambda part: part.node)
    if not ends:
        raise Broken("no end of the link is configured")
    return _Walk(plant, parts, whole, excess_db, ends[0]).run()


class _Walk:
    def __init__(
        self,
        plant: Plant,
        parts: Sequence[Part],
        whole: Callable[[Line], bool],
        excess_db: Callable[[str, str], float],
        start: Part,
    ) -> None:
        self._plant = plant
        self._at: dict[tuple[str, str], list[Circuit]] = {}
        for part in parts:
            for port in part.circuit.ports:
                self._at.setdefault((part.node, port), []).append(part.circuit)
        self._whole = whole
        self._excess_db = excess_db
        self._hops: list[HopPhysics] = []
        self._limits_hz: list[float] = []
        self._swaps: list[SwapPhysics] = []
        self._sources: list[tuple[str, str]] = []
        self._passes: list[Pass] = []
        self._nodes = [start.node]
        self._node, self._port = start.node, start.circuit.ports[0]
        self._hop = _Hop([plant.nodes[start.node]], self._detector(start.circuit))
        if start.circuit.role is Role.SOURCE:
            self._light(start.circuit)

    def run(self) -> Chain:
        for _ in range(_MAX_STEPS):
            if self._step():
                return Chain(
                    tuple(self._hops),
                    tuple(self._swaps),
                    tuple(self._limits_hz),
                    tuple(dict.fromkeys(self._sources)),
                    tuple(self._nodes),
                    tuple(self._passes),
                )
        raise Broken("the link runs in a circle")

    def _step(self) -> bool:
        """Over one line into the next node; True at the far end."""
        line = self._plant.at_port.get((self._node, self._port))
        if line is None or not isinstance(line.link, QuantumLink):
            raise Broken(f"no quantum line at {self._node}/{self._port}")
        if not self._whole(line):
            raise Broken(f"no light over {line.link.id} at {self._node}/{self._port}")
        far = line.far_end(self._node, self._port)
        self._hop.links.append(line.link)
        self._hop.nodes.append(self._plant.nodes[far.node])
        if line.link.visibility is not None:
            self._passes.append(line.link.visibility)
        self._nodes.append(far.node)
        self._node, self._port = far.node, far.port
        circuits = self._at.get((far.node, far.port))
        if not circuits:
            raise Broken(f"{far.node} is not configured at {far.port}")
        return self._enter({circuit.role: circuit for circuit in circuits})

    def _enter(self, here: dict[Role, Circuit]) -> bool:
        """Through a node, by what it does at the port of arrival."""
        if Role.SOURCE in here:
            self._light(here[Role.SOURCE])
        if Role.SWAP in here:
            self._swap(here[Role.SWAP])
            return False
        ending = here.get(Role.ENDPOINT) or here.get(Role.SOURCE)
        if ending is not None and len(ending.ports) == 1:
            self._close(self._detector(ending))
            return True
        onward = here.get(Role.SWITCH) or here.get(Role.SOURCE)
        assert onward is not None
        self._leave(onward)
        return False

    def _swap(self, circuit: Circuit) -> None:
        node = self._plant.nodes[self._node]
        bsm = next((bsm for bsm in node.bsms if bsm.id == circuit.bsm), None)
        if bsm is None:
            raise Broken(f"{node.id} has no bsm {circuit.bsm}")
        memory = memory_of(node, bsm.id)
        self._close(swap_receiver(memory))
        self._swaps.append(swap_physics(bsm, memory))
        self._hop = _Hop([node], swap_receiver(memory))
        self._leave(circuit)
        for other in self._at.get((self._node, self._port), ()):
            if other.role is Role.SOURCE and len(other.ports) == 1:
                self._light(other)

    def _leave(self, circuit: Circuit) -> None:
        if len(circuit.ports) != 2:
            raise Broken(f"{self._node} does not pass photons on from {self._port}")
        self._port = circuit.ports[1] if circuit.ports[0] == self._port else circuit.ports[0]

    def _light(self, circuit: Circuit) -> None:
        node = self._plant.nodes[self._node]
        source = next((source for source in node.sources if source.id == circuit.source), None)
        if source is None:
            raise Broken(f"{node.id} has no source {circuit.source}")
        self._hop.lit_by(source, circuit.pair_rate_hz)
        self._sources.append((node.id, source.id))

    def _close(self, receiver: Receiver) -> None:
        self._hops.append(self._hop.physics(receiver, self._excess_db))
        self._limits_hz.append(self._hop.limit_hz)

    def _detector(self, circuit: Circuit) -> Receiver:
        node = self._plant.nodes[self._node]
        detector = next((found for found in node.detectors if found.id == circuit.detector), None)
        if detector is None:
            raise Broken(f"{node.id} has no detector {circuit.detector}")
        return detector_receiver(detector)
