"""From placements to the whole target of every element: who emits, swaps, passes on, detects, and keeps time.

`plan.targets_of` compares the targets before and after a change. Only own nodes are configured. Rates are
sustained averages: what flies during a pass, times the share of time that passes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nms.domain.network import Network, far_end, port_at
from qmodel.links import Hop, Placement
from qmodel.nodeconfig import Circuit, NodeConfig, Purpose, Role, TimingRole, TimingRoute
from qmodel.topology import QuantumLink

_DIGITS = 6
"""The nodes' YANG gives rates this many digits after the point."""


def node_configs(placements: Iterable[Placement], network: Network) -> dict[str, NodeConfig]:
    """Element -> everything that it must do for `placements`, which are all those in force.

    Elements without any part are absent. Raises NotFound where a placement names what the topology no
    longer has."""
    circuits: dict[str, list[Circuit]] = {}
    timing: dict[str, list[TimingRoute]] = {}
    for placement in placements:
        for node_id, circuit in _circuits(placement, network):
            circuits.setdefault(node_id, []).append(circuit)
        for node_id, entry in _timing(placement, network):
            timing.setdefault(node_id, []).append(entry)
    configs: dict[str, NodeConfig] = {}
    for node_id in sorted(circuits.keys() | timing.keys()):
        node = network.node(node_id)
        if network.owns(node) and node.element is not None:
            configs[node.element] = NodeConfig(
                circuits=tuple(circuits.get(node_id, ())), timing=tuple(timing.get(node_id, ()))
            ).normalized()
    return configs


def handover_link(placement: Placement, network: Network) -> QuantumLink | None:
    """The link over which the other operator's photons reach the border that this placement swaps at."""
    request = placement.request
    border = placement.nodes[-1]
    if not request.swap_at_b or not network.owns(network.node(border)):
        return None
    if request.handover is not None:
        return network.link(request.handover)
    return next(iter(network.handovers(border)), None)


def _circuits(placement: Placement, network: Network) -> Iterator[tuple[str, Circuit]]:
    bsm_at = dict(zip(placement.swap_nodes, placement.bsms, strict=True))
    detector_at = dict(zip((placement.nodes[0], placement.nodes[-1]), placement.detectors, strict=True))
    for hop in placement.hops:
        yield from _hop_circuits(placement, hop, network, bsm_at, detector_at)
    for left, right in zip(placement.hops, placement.hops[1:], strict=False):
        node = left.ends[1]
        ports = (_port(network, left.quantum_links[-1], node), _port(network, right.quantum_links[0], node))
        rate_hz = max(left.pair_rate_hz, right.pair_rate_hz)
        yield node, _circuit(placement, Role.SWAP, ports, rate_hz, bsm=bsm_at[node])
    incoming = handover_link(placement, network)
    if incoming is not None:
        last, node = placement.hops[-1], placement.nodes[-1]
        ports = (_port(network, last.quantum_links[-1], node), port_at(incoming, node))
        yield node, _circuit(placement, Role.SWAP, ports, last.pair_rate_hz, bsm=bsm_at[node])


def _hop_circuits(
    placement: Placement,
    hop: Hop,
    network: Network,
    bsm_at: dict[str, str],
    detector_at: dict[str, str | None],
) -> Iterator[tuple[str, Circuit]]:
    last = len(hop.nodes) - 1
    for index, node in enumerate(hop.nodes):
        ports = tuple(
            _port(network, hop.quantum_links[side], node) for side in (index - 1, index) if 0 <= side < last
        )
        at_end = index in (0, last)
        detector = detector_at.get(node) if at_end else None
        metered = placement.request.metered and node == placement.nodes[0] and detector is not None
        if node == hop.source_node:
            bsm = bsm_at.get(node) if at_end and detector is None else None
            yield (
                node,
                _circuit(
                    placement,
                    Role.SOURCE,
                    ports,
                    hop.pair_rate_hz,
                    source=hop.source,
                    bsm=bsm,
                    detector=detector,
                    metered=metered,
                ),
            )
        elif not at_end:
            yield node, _circuit(placement, Role.SWITCH, ports, hop.pair_rate_hz)
        elif detector is not None:
            yield (
                node,
                _circuit(
                    placement, Role.ENDPOINT, ports, hop.pair_rate_hz, detector=detector, metered=metered
                ),
            )


def _circuit(
    placement: Placement,
    role: Role,
    ports: tuple[str, ...],
    peak_rate_hz: float,
    *,
    source: str | None = None,
    bsm: str | None = None,
    detector: str | None = None,
    metered: bool = False,
) -> Circuit:
    request = placement.request
    duty = placement.visibility.duty if placement.visibility is not None else 1.0
    ends_here = detector is not None
    keys = request.purpose is Purpose.KEYS
    return Circuit(
        link_id=placement.link_id,
        role=role,
        ports=ports,
        source=source,
        bsm=bsm,
        detector=detector,
        pair_rate_hz=round(peak_rate_hz * duty, _DIGITS),
        purpose=request.purpose,
        key_rate_bps=round(request.key_rate_bps, _DIGITS) if ends_here and keys else 0.0,
        metered=metered,
    )


def _timing(placement: Placement, network: Network) -> Iterator[tuple[str, TimingRoute]]:
    """Along the timing links from the first node, which gives the time, to the last. A node that a detour
    passes twice has an entry for each time."""
    links = [network.timing_link(name) for name in placement.timing_links]
    here, came_by = placement.nodes[0], None
    seen: set[tuple[str, TimingRole, str]] = set()
    for link in [*links, None]:
        goes_by = port_at(link, here) if link is not None else _border_clock(placement, network)
        ports = tuple(dict.fromkeys(port for port in (came_by, goes_by) if port is not None))
        if ports:
            role = TimingRole.MASTER if came_by is None else TimingRole.CLIENT
            role = TimingRole.RELAY if len(ports) == 2 else role
            if (here, role, ports[0]) not in seen:
                seen.add((here, role, ports[0]))
                yield here, TimingRoute(link_id=placement.link_id, role=role, ports=ports)
        if link is not None:
            came_by, here = port_at(link, far_end(link, here)), far_end(link, here)


def _border_clock(placement: Placement, network: Network) -> str | None:
    """The timing port beside the hand-over link of a border that we own: time goes on to the other side."""
    incoming = handover_link(placement, network)
    beside = network.timing_beside(incoming) if incoming is not None else None
    return port_at(beside, placement.nodes[-1]) if beside is not None else None


def _port(network: Network, link_id: str, node_id: str) -> str:
    return port_at(network.link(link_id), node_id)
