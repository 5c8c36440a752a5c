"""The timing route of a link: in the photons' conduits where its protocol measures delay, else anywhere.

Placed together with the photons: a route without timing is no route.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from nms.domain.chainplan import Route
from nms.domain.network import Network
from qmodel.topology import QuantumLink, TimingLink


@dataclass(frozen=True)
class TimingPlan:
    """Timing links in order from the first node to the last. `coherent`: all of it runs beside the photons,
    so that its drift is theirs. Empty and not coherent where the topology declares no timing at all."""

    links: tuple[TimingLink, ...]
    coherent: bool


def plan_timing(network: Network, route: Route, avoid: Collection[str]) -> TimingPlan | QuantumLink:
    """Timing for every node of `route`, or the first quantum link that cannot be timed.

    Beside each quantum link a timing link in the same conduits is taken; where there is none, a detour over
    links whose protocol measures no delay, since only a measured delay must be the photons' own. A detour
    keeps to own nodes, which alone can be told to pass time on, and off links, conduits and nodes to
    `avoid`."""
    if not network.topology.timing_links:
        return TimingPlan((), coherent=False)
    links: list[TimingLink] = []
    coherent = True
    here = route.nodes[0].id
    for node, photons in zip(route.nodes[1:], route.links, strict=True):
        beside = network.timing_beside(photons)
        if beside is not None:
            links.append(beside)
        else:
            detour = network.timing_route(here, node.id, _detours(network, {here, node.id}, avoid))
            if detour is None:
                return photons
            links += detour
            coherent = False
        here = node.id
    return TimingPlan(tuple(links), coherent)


def _detours(network: Network, ends: set[str], avoid: Collection[str]) -> Callable[[TimingLink], bool]:
    """Whether a detour between `ends` may use a timing link."""

    def allowed(timing: TimingLink) -> bool:
        passed = {timing.a.node, timing.b.node} - ends
        named = {timing.id, *timing.conduits, *passed}
        return (
            not timing.measures_delay
            and named.isdisjoint(avoid)
            and all(network.owns(network.node(node)) for node in passed)
        )

    return allowed
