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
        """The largest common share that is free now, and the resource that binds it."""
        loads = self.needs.loads(self.factors)
        room, resource = min(
            (usage.free_ppm(resource) / WHOLE_PPM / load, resource) for resource, load in loads.items()
        )
        return max(0.0, min(1.0, room)), resource


def sized(
    plan: Plan, needed_hz: Callable[[float], float], enough: Callable[[Performance], bool]
) -> tuple[float, Performance]:
    """(common share, performance) at which the chain gives `needed_hz(werner)` pairs per second in its pass.

    The Werner parameter falls a little with the share, since slower hops wait longer: so it is found
    by iteration. Stops early, with the share so far, when `enough` no longer holds. The share may be above 1
    or infinite, where no share will do."""
    whole = plan.at_share(1.0)
    needed = needed_hz(whole.werner)
    if whole.pair_rate_hz <= 0 or math.isinf(needed):
        return math.inf, whole
    share = max(needed / whole.pair_rate_hz, 1.0 / WHOLE_PPM)
    for _ in range(12):
        now = plan.at_share(share)
        needed = needed_hz(now.werner)
        if math.isinf(needed) or not enough(now):
            return (math.inf if math.isinf(needed) else share), now
        if now.pair_rate_hz >= needed * (1 - 1e-9):
            break
        share *= needed / now.pair_rate_hz * (1 + 1e-9)
    return share, now


def shares_ppm(plan: Plan, share: float) -> list[int]:
    """Whole millionths for every hop, rounded up, at least one."""
    return [max(1, math.ceil(share * factor * WHOLE_PPM - 1e-6)) for factor in plan.factors]
