"""From declared devices to physics: losses of a photon's way, receivers, and the hop over them.

Placement (prediction) and the emulator (truth) both build `HopPhysics` here, so that a difference between
what was promised and what is measured comes from the world and not from two models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qmodel.chains import HopPhysics, Receiver, SwapPhysics, coincidences
from qmodel.propagation import fibre_delay_s, transmissivity, vacuum_delay_s
from qmodel.topology import Bsm, Detector, Memory, Node, QuantumLink, Source


@dataclass(frozen=True)
class Arm:
    """The way of one photon from the source to where it ends: loss in dB, one-way delay in seconds."""

    loss_db: float = 0.0
    delay_s: float = 0.0


AT_HOME = Arm()
"""The photon stays in the node of its source and passes no switch."""


def link_delay_s(link: QuantumLink) -> float:
    """One-way delay of a photon over a quantum link, in seconds."""
    if link.medium == "free_space":
        return vacuum_delay_s(link.length_km)
    return fibre_delay_s(link.length_km)


def arm(nodes: Sequence[Node], links: Sequence[QuantumLink], excess_db: float = 0.0) -> Arm:
    """The way along `nodes` (source's first) over `links` (one fewer).

    A photon passes the optical switch of every node once: the source's, those on the way, and the one where
    it ends. `excess_db` adds what a measured world has over the declared one."""
    if not links:
        return AT_HOME
    lost_db = sum(node.switch_loss_db for node in nodes) + sum(link.loss_db for link in links)
    return Arm(lost_db + excess_db, sum(link_delay_s(link) for link in links))


def detector_receiver(detector: Detector) -> Receiver:
    return Receiver(detector.efficiency, detector.dark_rate_hz, detector.window_s, detector.dead_time_s)


def memory_receiver(memory: Memory) -> Receiver:
    return Receiver(efficiency=memory.efficiency, modes=memory.modes)


def swap_receiver(memory: Memory | None) -> Receiver:
    """A photon that ends in a swap: in its memory, or, without one, directly in the measurement, whose
    success probability already contains its detectors."""
    return memory_receiver(memory) if memory is not None else Receiver()


def memory_of(node: Node, bsm_id: str) -> Memory | None:
    """The memory bank that a BSM of `node` uses: the i-th BSM has the i-th bank, round robin if there are
    fewer banks; None if the node has none. A BSM that the node does not have is taken as its first."""
    if not node.memories:
        return None
    index = next((i for i, bsm in enumerate(node.bsms) if bsm.id == bsm_id), 0)
    return node.memories[index % len(node.memories)]


def hop_physics(source: Source, arms: tuple[Arm, Arm], receivers: tuple[Receiver, Receiver]) -> HopPhysics:
    """What a source gives over two arms when it works for this hop alone. The herald travels from one end
    to the other along the photons' way."""
    return coincidences(
        source.trial_rate_hz,
        source.pairs_per_pulse,
        source.werner,
        (transmissivity(arms[0].loss_db), transmissivity(arms[1].loss_db)),
        receivers,
        herald_s=arms[0].delay_s + arms[1].delay_s,
    )


def swap_physics(bsm: Bsm, memory: Memory | None) -> SwapPhysics:
    return SwapPhysics(bsm.success, bsm.werner, memory.t2_s if memory is not None else None)
