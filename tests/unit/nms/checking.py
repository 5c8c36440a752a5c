"""A checker of placements that shares no code with placement: it goes by the topology's words alone.

It follows every photon over ports and links, adds up what is taken, and works out rate, fidelity and key
anew from the declared devices, by the published formulas of the physics library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from nms.domain.network import Network
from qmodel.chains import HopPhysics, Receiver, SwapPhysics, chain_performance
from qmodel.hops import arm, detector_receiver, hop_physics, memory_of, swap_receiver
from qmodel.links import Hop, Placement
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import secret_key_rate_bps
from qmodel.security import POLICIES
from qmodel.topology import Node, NodeKind, QuantumLink, Topology

CLOSE = 1e-6


def faults(placement: Placement, network: Network) -> list[str]:
    """What is wrong with a placement of a whole link, in words; empty if it keeps all that it promises."""
    topology = network.topology
    return [
        *_faults_of_way(placement, topology),
        *_faults_of_security(placement, topology),
        *_faults_of_timing(placement, topology),
        *_faults_of_figures(placement, topology),
    ]


def taken_ppm(placements: Iterable[Placement]) -> Counter[str]:
    """Millionths of fibres, sources and detectors that all of them take together."""
    taken: Counter[str] = Counter()
    for placement in placements:
        for hop in placement.hops:
            taken.update({link: hop.share_ppm for link in hop.quantum_links})
            taken[f"{hop.source_node}.{hop.source}"] += hop.share_ppm
        ends = (placement.nodes[0], placement.hops[0]), (placement.nodes[-1], placement.hops[-1])
        for (node, hop), detector in zip(ends, placement.detectors, strict=True):
            taken[f"{node}.{detector}"] += hop.share_ppm
        for bsm, node, (left, right) in zip(
            placement.bsms, placement.swap_nodes, pairwise(placement.hops), strict=True
        ):
            taken[f"{node}.{bsm}"] += max(left.share_ppm, right.share_ppm)
    return taken


def _links(topology: Topology, names: Iterable[str]) -> list[QuantumLink]:
    by_id = {link.id: link for link in topology.quantum_links}
    return [by_id[name] for name in names]


def _faults_of_way(placement: Placement, topology: Topology) -> Iterator[str]:
    request = placement.request
    if (placement.nodes[0], placement.nodes[-1]) != (request.a, request.b):
        yield "it does not join the two ends"
    if len(set(placement.nodes)) != len(placement.nodes):
        yield "it passes a node twice"
    links = _links(topology, placement.quantum_links)
    for link, step in zip(links, pairwise(placement.nodes), strict=True):
        if set(link.ends) != set(step):
            yield f"{link.id} does not join {step}"
        if {link.id, *link.conduits, *step} & set(request.avoid):
            yield f"{link.id} is to be avoided"
    if [node for hop in placement.hops for node in hop.nodes[:-1]] != list(placement.nodes[:-1]):
        yield "its hops are not its way"
    for hop in placement.hops:
        yield from _faults_of_hop(hop, topology)


def _faults_of_hop(hop: Hop, topology: Topology) -> Iterator[str]:
    source = topology.node(hop.source_node)
    if hop.source not in {one.id for one in source.sources} or hop.source_node not in hop.nodes:
        yield f"no source {hop.source} at {hop.source_node} on the way"
    at = hop.nodes.index(hop.source_node)
    for receiver, link in zip(hop.nodes[:at], hop.quantum_links[:at], strict=True):
        yield from _upwards(topology.node(receiver), link)
    for receiver, link in zip(hop.nodes[at + 1 :], hop.quantum_links[at:], strict=True):
        yield from _upwards(topology.node(receiver), link)


def _upwards(receiver: Node, link: str) -> Iterator[str]:
    if receiver.kind is NodeKind.SATELLITE:
        yield f"photons go up to {receiver.id} over {link}"


def _faults_of_security(placement: Placement, topology: Topology) -> Iterator[str]:
    policy = POLICIES[placement.request.security_level]
    for index, name in enumerate(placement.nodes):
        node = topology.node(name)
        if node.clearance.rank < policy.min_clearance.rank:
            yield f"{name} is not cleared"
        inside = 0 < index < len(placement.nodes) - 1
        if inside and node.trusted_relay and not policy.trusted_relays_allowed:
            yield f"{name} is a trusted relay"
        if inside and node.operator != topology.operator:
            yield f"{name} is not ours"


def _faults_of_timing(placement: Placement, topology: Topology) -> Iterator[str]:
    timing = {link.id: link for link in topology.timing_links}
    conduits = {
        frozenset(step): set(link.conduits)
        for step, link in zip(
            pairwise(placement.nodes), _links(topology, placement.quantum_links), strict=True
        )
    }
    here = placement.nodes[0]
    for name in placement.timing_links:
        link = timing[name]
        ends = {link.a.node, link.b.node}
        if here not in ends:
            yield f"the timing route breaks at {here}"
            return
        beside = conduits.get(frozenset(ends)) == set(link.conduits)
        if link.measures_delay and not beside:
            yield f"{name} measures delay elsewhere than the photons"
        if placement.timing_coherent and not beside:
            yield f"{name} is said to be coherent"
        (here,) = ends - {here}
    if here != placement.nodes[-1]:
        yield "the timing route does not reach the far end"


def _faults_of_figures(placement: Placement, topology: Topology) -> Iterator[str]:
    request = placement.request
    hops = [_physics(placement, index, topology) for index in range(len(placement.hops))]
    swaps = [
        _swap(topology.node(node), bsm)
        for node, bsm in zip(placement.swap_nodes, placement.bsms, strict=True)
    ]
    whole = chain_performance(hops, swaps)
    duty = placement.visibility.duty if placement.visibility is not None else 1.0
    rate_hz = whole.pair_rate_hz * duty
    key_bps = secret_key_rate_bps(rate_hz, whole.werner) if request.purpose is Purpose.KEYS else 0.0
    told = placement.fidelity, placement.pair_rate_hz, placement.key_rate_bps
    for name, said, true in zip(
        ("fidelity", "pair rate", "key rate"), told, (whole.fidelity, rate_hz, key_bps), strict=True
    ):
        if abs(said - true) > CLOSE * max(1.0, true):
            yield f"{name} {said} is said, {true} is so"
    least = max(request.min_fidelity, POLICIES[request.security_level].min_fidelity)
    if whole.fidelity < least - CLOSE:
        yield f"fidelity {whole.fidelity} is below {least}"
    if rate_hz < request.pair_rate_hz or key_bps < request.key_rate_bps:
        yield f"{rate_hz} pairs and {key_bps} bits per second are less than asked"
    if placement.latency_s > request.max_latency_s:
        yield "it is too slow"


def _physics(placement: Placement, index: int, topology: Topology) -> HopPhysics:
    hop = placement.hops[index]
    nodes, links = [topology.node(name) for name in hop.nodes], _links(topology, hop.quantum_links)
    at = hop.nodes.index(hop.source_node)
    source = next(one for one in nodes[at].sources if one.id == hop.source)
    arms = arm(nodes[at::-1], links[:at][::-1]), arm(nodes[at:], links[at:])
    receivers = _receiver(placement, index, nodes[0]), _receiver(placement, index + 1, nodes[-1])
    return hop_physics(source, arms, receivers).scaled(hop.share_ppm / 1e6)


def _receiver(placement: Placement, place: int, node: Node) -> Receiver:
    """What stands at the `place`-th of the hops' ends, the link's own ends included."""
    if 0 < place < len(placement.hops):
        return swap_receiver(memory_of(node, placement.bsms[place - 1]))
    detector = placement.detectors[0 if place == 0 else 1]
    return detector_receiver(next(one for one in node.detectors if one.id == detector))


def _swap(node: Node, bsm_id: str) -> SwapPhysics:
    bsm, memory = next(one for one in node.bsms if one.id == bsm_id), memory_of(node, bsm_id)
    return SwapPhysics(bsm.success, bsm.werner, memory.t2_s if memory is not None else None)
