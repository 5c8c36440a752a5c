"""A planned chain: hops, sources and swaps along one route, and how large a share of them a request needs.

`assignment` makes plans, `placement` sizes them and turns the chosen one into a placement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nms.domain.usage import WHOLE_PPM, Needs, Usage
from qmodel.chains import HopPhysics, Performance, SwapPhysics, chain_performance
from qmodel.topology import Bsm, Detector, Node, Pass, QuantumLink, Source

_TOLERANCE = 1e-6
"""How near `sized` comes to the smallest share that does, relative to it."""
_STEP = 1.02


@dataclass(frozen=True)
class Route:
    """A way of photons from the first node to the last. `swap_at_b`: the last node is a border, where a
    memory takes the photon in place of a detector."""

    nodes: tuple[Node, ...]
    links: tuple[QuantumLink, ...]
    swap_at_b: bool

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(node.id for node in self.nodes)


@dataclass(frozen=True)
class PlannedHop:
    """Nodes `begin` to `end` of the route, fed by `source` at node `at`; `full` is what it gives alone."""

    begin: int
    end: int
    at: int
    source: Source
    loss_db: float
    full: HopPhysics


@dataclass(frozen=True)
class Plan:
    """A chain along a route. `bsms[i]` joins hops i and i+1; one more joins the segments at an own border.

    `factors` in (0, 1] say how the hops' shares relate: with a common share s, hop i works s factors[i]."""

    route: Route
    hops: tuple[PlannedHop, ...]
    bsms: tuple[Bsm, ...]
    detectors: tuple[Detector | None, Detector | None]
    needs: Needs
    swaps: tuple[SwapPhysics, ...]
    factors: tuple[float, ...]
    visibility: Pass | None

    @property
    def duty(self) -> float:
        return self.visibility.duty if self.visibility is not None else 1.0

    def performance(self, shares: Sequence[float]) -> Performance:
        """While photons fly (during the pass), with hop i working for `shares[i]` of the time."""
        hops = [hop.full.scaled(share) for hop, share in zip(self.hops, shares, strict=True)]
        return chain_performance(hops, self.swaps)

    def at_share(self, share: float) -> Performance:
        return self.performance([share * factor for factor in self.factors])

    def room(self, usage: Usage) -> tuple[float, str]:
        """The largest common share that is free now, and the resource that binds it: of those equally full
        the source, since it sets what the others see.

        Rounded up to whole millionths (`shares_ppm`), a share up to this one fits as well: each hop may take
        one millionth more of what it uses."""
        loads = self.needs.loads(self.factors)
        rounding = self.needs.loads([1] * len(self.hops))

        def room_at(resource: str) -> float:
            return (usage.free_ppm(resource) - rounding[resource]) / WHOLE_PPM / loads[resource]

        resource = min(loads, key=lambda name: (room_at(name), not name.startswith("source/"), name))
        return max(0.0, min(1.0, room_at(resource))), resource

    def safe(self, usage: Usage) -> Performance:
        """What can be had now by who asks for it, the room less the tolerance of `sized`."""
        return self.at_share(self.room(usage)[0] * (1 - 2 * _TOLERANCE))


def sized(plan: Plan, needed_hz: Callable[[float], float], least_werner: float) -> float:
    """The smallest common share (within a millionth of itself) at which the chain gives both `least_werner`
    and `needed_hz(werner)` pairs per second in its pass; infinite where no share in (0, 1] does.

    Slower hops wait longer, so the Werner parameter falls with the share while the need rises: whatever
    share is tried bounds the right one, from below if it is too small and from above if it will do."""

    def enough_at(share: float) -> float:
        """The share that would give the needed rate at the Werner parameter of `share`."""
        now = plan.at_share(share)
        if now.pair_rate_hz <= 0 or now.werner < least_werner:
            return math.inf
        return share * needed_hz(now.werner) / now.pair_rate_hz

    low, high = max(enough_at(1.0), 1.0 / WHOLE_PPM), 1.0
    if low > high:
        return math.inf
    if enough_at(low) <= low:
        high = low
    while high > low * (1 + _TOLERANCE):
        middle = math.sqrt(low * high)
        enough = enough_at(middle)
        low, high = (max(low, enough), middle) if enough <= middle else (middle, min(high, enough))
    return _rounded_well(plan, high, least_werner)


def _rounded_well(plan: Plan, share: float, least_werner: float) -> float:
    """`share` or a little more, so that it still gives `least_werner` in whole millionths: one hop that is
    rounded up makes its pairs wait longer for those of another."""
    while share <= 1.0 and plan.performance(_parts(shares_ppm(plan, share))).werner < least_werner:
        share *= _STEP
    return share if share <= 1.0 else math.inf


def _parts(ppm: Sequence[int]) -> list[float]:
    return [part / WHOLE_PPM for part in ppm]


def shares_ppm(plan: Plan, share: float) -> list[int]:
    """Whole millionths for every hop, rounded up, at least one."""
    return [max(1, math.ceil(share * factor * WHOLE_PPM - 1e-6)) for factor in plan.factors]
