"""Which nodes of a route swap and which source feeds each hop: a dynamic program over the route's nodes.

`placement` asks for the promising chains of one route, fastest first. A hop runs between two ends (an end of
the link or a swapping node) and needs exactly one source, at either end or on the way; all other nodes on the
way pass the photons by their optical switch. Nothing here looks at other routes or at what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from nms.domain.chainplan import Plan, PlannedHop, Route
from nms.domain.network import Network, carries
from nms.domain.usage import (
    Needs,
    Usage,
    device_resource,
    end_resources,
    fibre_resource,
    memory_resource,
)
from qmodel.chains import MAX_HOPS, HopPhysics, Receiver, SwapPhysics, chain_performance
from qmodel.entanglement import stored_werner
from qmodel.hops import (
    AT_HOME,
    Arm,
    arm,
    detector_receiver,
    hop_physics,
    memory_of,
    swap_physics,
    swap_receiver,
)
from qmodel.topology import Bsm, Detector, Node, Pass, Source
from qmodel.windows import joint_pass

FAST_HOP_FACTOR = 4.0
"""A hop never gets more than this many times the slowest hop's rate: beyond, waiting hardly shrinks."""
MAX_ROUTE_NODES = 32
_KEPT_LABELS = 6
"""Non-dominated chains kept per node of the route."""

Device = TypeVar("Device", Bsm, Detector, Source)


@dataclass(frozen=True)
class _Devices:
    """What each node of the route would use if a hop ended there: the least used of its kind."""

    bsms: tuple[Bsm | None, ...]
    detectors: tuple[Detector | None, Detector | None]
    receivers: tuple[Receiver, ...]


@dataclass(frozen=True)
class _Label:
    """A chain from the first node to some node. Completed runs (between memories) take `waited_s` in turn,
    `run` is still open; `success` is that of all swaps with memories."""

    hops: tuple[PlannedHop, ...]
    run: HopPhysics
    waited_s: float
    success: float
    werner: float

    @property
    def cost_s(self) -> float:
        """Upper bound of the mean time per pair: every run waits for the one before."""
        rate_hz = self.run.pair_rate_hz
        return (self.waited_s + 1.0 / rate_hz) / self.success if rate_hz > 0 else math.inf


def plans_along(route: Route, network: Network, usage: Usage) -> list[Plan]:
    """The non-dominated chains along `route` (by time per pair and Werner parameter), fastest first.

    Empty where no source can feed some hop, an end has no device, or the satellites' passes never meet."""
    passes = [link.visibility for link in route.links if link.visibility is not None]
    visibility = joint_pass(passes) if passes else None
    devices = _devices(route, network, usage)
    if devices is None or (passes and visibility is None) or len(route.nodes) > MAX_ROUTE_NODES:
        return []
    last = len(route.nodes) - 1
    ends = [i for i in range(last + 1) if i in (0, last) or devices.bsms[i] is not None]
    labels: dict[int, list[_Label]] = {}
    for place, end in enumerate(ends[1:], start=1):
        found: list[_Label] = []
        for begin in ends[:place]:
            hop = _best_hop(route, begin, end, devices, network, usage)
            if hop is None or hop.full.pair_rate_hz <= 0:
                continue
            if begin == 0:
                found.append(_Label((hop,), hop.full, 0.0, 1.0, hop.full.werner))
            found += [_extended(label, hop, _swap(route, begin, devices)) for label in labels.get(begin, ())]
        labels[end] = _undominated(found)
    return [_plan(route, label, devices, network, visibility) for label in labels[last]]


def _devices(route: Route, network: Network, usage: Usage) -> _Devices | None:
    bsms: list[Bsm | None] = []
    receivers: list[Receiver] = []
    last = len(route.nodes) - 1
    for index, node in enumerate(route.nodes):
        swaps = network.owns(node) and (0 < index < last or (index == last and route.swap_at_b))
        bsm = _least_used(node.bsms, "bsm", node, usage) if swaps else None
        bsms.append(bsm)
        receivers.append(swap_receiver(memory_of(node, bsm.id if bsm else "")))
    first_node, last_node = route.nodes[0], route.nodes[last]
    a = _least_used(first_node.detectors, "detector", first_node, usage)
    b = None if route.swap_at_b else _least_used(last_node.detectors, "detector", last_node, usage)
    ends_well = (
        b is not None if not route.swap_at_b else (bsms[last] is not None or not network.owns(last_node))
    )
    if a is None or not ends_well:
        return None
    receivers[0] = detector_receiver(a)
    if b is not None:
        receivers[last] = detector_receiver(b)
    return _Devices(tuple(bsms), (a, b), tuple(receivers))


def _least_used(devices: Sequence[Device], kind: str, node: Node, usage: Usage) -> Device | None:
    return max(devices, key=lambda d: usage.free_ppm(device_resource(kind, node.id, d.id)), default=None)


def _best_hop(
    route: Route, begin: int, end: int, devices: _Devices, network: Network, usage: Usage
) -> PlannedHop | None:
    """The own source on the way whose free share would give most pairs, or None."""
    best: tuple[float, PlannedHop] | None = None
    for at in range(begin, end + 1):
        node = route.nodes[at]
        source = _least_used(node.sources, "source", node, usage) if network.owns(node) else None
        arms = _arms(route, begin, at, end) if source is not None else None
        if source is None or arms is None:
            continue
        full = hop_physics(source, arms, (devices.receivers[begin], devices.receivers[end]))
        free = usage.free_ppm(device_resource("source", node.id, source.id))
        score = full.pair_rate_hz * full.werner * max(free, 1)
        if best is None or score > best[0]:
            best = score, PlannedHop(begin, end, at, source, arms[0].loss_db + arms[1].loss_db, full)
    return best[1] if best is not None else None


def _arms(route: Route, begin: int, at: int, end: int) -> tuple[Arm, Arm] | None:
    """The two photons' ways from the source's node, or None where light cannot go that way."""
    left = range(at, begin, -1)
    right = range(at, end)
    fits = all(carries(route.links[i - 1], route.nodes[i], route.nodes[i - 1]) for i in left) and all(
        carries(route.links[i], route.nodes[i], route.nodes[i + 1]) for i in right
    )
    if not fits:
        return None
    west = arm([route.nodes[i] for i in range(at, begin - 1, -1)], [route.links[i - 1] for i in left])
    east = arm(route.nodes[at : end + 1], route.links[at:end])
    return (west if left else AT_HOME), (east if right else AT_HOME)


def _swap(route: Route, at: int, devices: _Devices) -> SwapPhysics:
    node, bsm = route.nodes[at], devices.bsms[at]
    assert bsm is not None, "hops end only where a BSM is"
    return swap_physics(bsm, memory_of(node, bsm.id))


def _extended(label: _Label, hop: PlannedHop, swap: SwapPhysics) -> _Label:
    werner = label.werner * hop.full.werner * swap.werner
    before = label.run
    if swap.t2_s is not None:
        werner = stored_werner(werner, before.herald_s + hop.full.herald_s, swap.t2_s)
        waited_s = label.waited_s + 1.0 / before.pair_rate_hz
        return _Label((*label.hops, hop), hop.full, waited_s, label.success * swap.success, werner)
    trials_hz = min(before.trial_rate_hz, hop.full.trial_rate_hz)
    chance = before.pair_rate_hz / before.trial_rate_hz * hop.full.pair_rate_hz / hop.full.trial_rate_hz
    run = HopPhysics(
        trials_hz * chance * swap.success, werner, trials_hz, before.herald_s + hop.full.herald_s
    )
    return _Label((*label.hops, hop), run, label.waited_s, label.success, werner)


def _undominated(labels: list[_Label]) -> list[_Label]:
    kept: list[_Label] = []
    for label in sorted(labels, key=lambda x: (x.cost_s, -x.werner, len(x.hops))):
        if len(label.hops) <= MAX_HOPS and (not kept or label.werner > kept[-1].werner):
            kept.append(label)
    # The last ones have the best Werner parameters: keep both ends of the trade.
    return kept if len(kept) <= _KEPT_LABELS else [*kept[: _KEPT_LABELS - 1], kept[-1]]


def _plan(route: Route, label: _Label, devices: _Devices, network: Network, visibility: Pass | None) -> Plan:
    hops = label.hops
    swap_at = [hop.end for hop in hops[:-1]]
    swaps = tuple(_swap(route, at, devices) for at in swap_at)
    bsms = [bsm for at in swap_at if (bsm := devices.bsms[at]) is not None]
    border_bsm = devices.bsms[-1]
    a, b = route.nodes[0], route.nodes[-1]
    detector_a, detector_b = devices.detectors
    needs = Needs(
        tuple(
            (
                *(fibre_resource(link.id) for link in route.links[hop.begin : hop.end]),
                device_resource("source", route.nodes[hop.at].id, hop.source.id),
            )
            for hop in hops
        ),
        tuple(
            (
                device_resource("bsm", route.nodes[at].id, bsm.id),
                memory_resource(route.nodes[at], bsm.id),
            )
            for at, bsm in zip(swap_at, bsms, strict=True)
        ),
        end_resources(a, detector_a.id if detector_a else None, None, foreign=False),
        end_resources(
            b,
            detector_b.id if detector_b else None,
            border_bsm.id if border_bsm else None,
            foreign=not network.owns(b),
        ),
    )
    all_bsms = (*bsms, *([border_bsm] if border_bsm is not None else []))
    factors = _factors([hop.full for hop in hops], swaps)
    return Plan(route, hops, all_bsms, devices.detectors, needs, swaps, factors, visibility)


def _factors(hops: Sequence[HopPhysics], swaps: Sequence[SwapPhysics]) -> tuple[float, ...]:
    """How the hops' shares relate. Hops of one memoryless run work in the same time slots; between memories
    a fast run is held to `FAST_HOP_FACTOR` times the slowest one's rate."""
    runs: list[list[int]] = [[0]]
    for index, swap in enumerate(swaps, start=1):
        if swap.t2_s is None:
            runs[-1].append(index)
        else:
            runs.append([index])
    rates_hz = [
        chain_performance([hops[i] for i in run], swaps[run[0] : run[-1]]).pair_rate_hz for run in runs
    ]
    slowest_hz = min(rates_hz)
    factors = [1.0] * len(hops)
    for run, rate_hz in zip(runs, rates_hz, strict=True):
        for index in run:
            factors[index] = min(1.0, FAST_HOP_FACTOR * slowest_hz / rate_hz)
    return tuple(factors)
