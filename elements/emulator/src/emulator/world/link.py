"""One link of the world: the parts that nodes play in it, and how far that has come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.world.chain import Chain, Part
from qmodel.nodeconfig import Circuit, Purpose, TimingRoute


@dataclass(frozen=True)
class LinkStatus:
    """How a link is now. `expected_in_s` is domain time until it should be ready, where that is only a
    matter of time; `fidelity` is None without pairs to measure."""

    ready: bool
    reason: str = ""
    expected_in_s: float = 0.0
    pair_rate_hz: float = 0.0
    key_rate_bps: float = 0.0
    fidelity: float | None = None


@dataclass(eq=False)
class Link:
    """All circuits and timing routes with one link id. `chain` and `broken` are found when asked for."""

    link_id: str
    settled_s: float
    circuits: dict[str, tuple[Circuit, ...]] = field(default_factory=dict)
    timing: dict[str, tuple[TimingRoute, ...]] = field(default_factory=dict)
    chain: Chain | None = None
    broken: str | None = None

    def parts(self) -> list[Part]:
        return [Part(node, circuit) for node, circuits in self.circuits.items() for circuit in circuits]

    def timing_parts(self) -> Iterable[tuple[str, TimingRoute]]:
        return ((node, route) for node, routes in self.timing.items() for route in routes)

    def forget_chain(self) -> None:
        self.chain, self.broken = None, None

    @property
    def purpose(self) -> Purpose:
        return next((part.circuit.purpose for part in self.parts()), Purpose.KEYS)

    @property
    def empty(self) -> bool:
        return not self.circuits and not self.timing
