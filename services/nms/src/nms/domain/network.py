"""One operator's topology, indexed for placement: who is next to whom, over which link, at which port.

Built once per topology revision and shared by all placements. It holds no usage and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import rustworkx as rx

from qmodel.errors import NotFound
from qmodel.hops import link_delay_s
from qmodel.propagation import fibre_delay_s
from qmodel.topology import Node, NodeKind, QuantumLink, TimingLink, Topology

FORBIDDEN = 1e12
"""Cost of a link that must not be used. A route that costs this much is none."""


class Network:
    """Read-only view of a `Topology`. Indices are positions in the topology's lists."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.operator = topology.operator
        self._nodes = {node.id: node for node in topology.nodes}
        self._index = {node.id: index for index, node in enumerate(topology.nodes)}
        self._links = {link.id: link for link in topology.quantum_links}
        self._timing = {link.id: link for link in topology.timing_links}
        self._photons = self._graph(link.ends for link in topology.quantum_links)
        self._clocks = self._graph((link.a.node, link.b.node) for link in topology.timing_links)
        self._bits = self._graph((link.a, link.b) for link in topology.classical_links)
        self._timing_between: dict[frozenset[str], list[TimingLink]] = {}
        for link in topology.timing_links:
            self._timing_between.setdefault(frozenset((link.a.node, link.b.node)), []).append(link)

    def _graph(self, edges: Iterable[tuple[str, str]]) -> rx.PyGraph:
        graph = rx.PyGraph(multigraph=True)
        graph.add_nodes_from(range(len(self._nodes)))
        graph.add_edges_from([(self._index[a], self._index[b], i) for i, (a, b) in enumerate(edges)])
        return graph

    def node(self, node_id: str) -> Node:
        """Raises NotFound."""
        try:
            return self._nodes[node_id]
        except KeyError:
            raise NotFound(f"operator {self.operator} has no node {node_id!r}", where=node_id) from None

    def link(self, link_id: str) -> QuantumLink:
        """Raises NotFound."""
        try:
            return self._links[link_id]
        except KeyError:
            raise NotFound(
                f"operator {self.operator} has no quantum link {link_id!r}", where=link_id
            ) from None

    def timing_link(self, link_id: str) -> TimingLink:
        """Raises NotFound."""
        try:
            return self._timing[link_id]
        except KeyError:
            raise NotFound(
                f"operator {self.operator} has no timing link {link_id!r}", where=link_id
            ) from None

    def owns(self, node: Node) -> bool:
        return node.operator == self.operator

    def handovers(self, node_id: str) -> tuple[QuantumLink, ...]:
        """Quantum links that join `node_id` to a node of the other side: photons change operator there."""
        mine = self.owns(self.node(node_id))
        return tuple(
            link
            for link in self.topology.quantum_links
            if node_id in link.ends and self.owns(self.node(far_end(link, node_id))) != mine
        )

    def borders(self) -> tuple[str, ...]:
        """Nodes at which photons change operator, ours and theirs, in the topology's order."""
        touched = {
            end
            for link in self.topology.quantum_links
            if self.owns(self.node(link.a.node)) != self.owns(self.node(link.b.node))
            for end in link.ends
        }
        return tuple(node.id for node in self.topology.nodes if node.id in touched)

    def photon_route(
        self, a: str, b: str, cost: Callable[[int], float]
    ) -> tuple[list[str], list[QuantumLink]] | None:
        """Nodes and links of the cheapest way from `a` to `b`; `cost` of the i-th quantum link, `FORBIDDEN`
        for none. None if there is no way."""
        edges = self._cheapest(self._photons, a, b, cost)
        if edges is None:
            return None
        links = [self.topology.quantum_links[edge] for edge in edges]
        nodes = [a]
        for link in links:
            nodes.append(far_end(link, nodes[-1]))
        return nodes, links

    def timing_route(self, a: str, b: str, allowed: Callable[[TimingLink], bool]) -> list[TimingLink] | None:
        """The shortest way from `a` to `b` over allowed timing links, or None."""
        links = self.topology.timing_links
        edges = self._cheapest(
            self._clocks, a, b, lambda i: links[i].length_km if allowed(links[i]) else FORBIDDEN
        )
        return None if edges is None else [links[edge] for edge in edges]

    def timing_beside(self, link: QuantumLink) -> TimingLink | None:
        """The timing link between the same nodes in the same conduits as `link`, if there is one."""
        for timing in self._timing_between.get(frozenset(link.ends), ()):
            if set(timing.conduits) == set(link.conduits):
                return timing
        return None

    def classical_delay_s(self, a: str, b: str) -> float | None:
        """One-way delay of the fastest classical way, in seconds; None if there is none.

        A topology that declares no classical link has its bits run beside its photons."""
        links = self.topology.classical_links
        if links:
            edges = self._cheapest(
                self._bits, a, b, lambda i: fibre_delay_s(links[i].length_km) + links[i].extra_delay_s
            )
            if edges is None:
                return None
            return sum(fibre_delay_s(links[i].length_km) + links[i].extra_delay_s for i in edges)
        photons = self.topology.quantum_links
        edges = self._cheapest(self._photons, a, b, lambda i: link_delay_s(photons[i]))
        return None if edges is None else sum(link_delay_s(photons[i]) for i in edges)

    def _cheapest(self, graph: rx.PyGraph, a: str, b: str, cost: Callable[[int], float]) -> list[int] | None:
        """Edges of the cheapest path, by Dijkstra; of parallel edges the cheapest one."""
        here, there = self._index[a], self._index[b]
        paths = rx.dijkstra_shortest_paths(graph, here, target=there, weight_fn=cost)
        if there not in paths:
            return None
        steps = list(paths[there])
        edges = [min(graph.get_all_edge_data(u, v), key=lambda i: (cost(i), i)) for u, v in pairwise(steps)]
        return None if any(cost(edge) >= FORBIDDEN for edge in edges) else edges


def far_end(link: QuantumLink | TimingLink, node_id: str) -> str:
    """The end of `link` that is not `node_id`."""
    return link.b.node if link.a.node == node_id else link.a.node


def port_at(link: QuantumLink | TimingLink, node_id: str) -> str:
    """The port by which `link` enters `node_id`, one of its ends."""
    return link.a.port if link.a.node == node_id else link.b.port


def carries(link: QuantumLink, sender: Node, receiver: Node) -> bool:
    """Whether photons can go this way: a satellite sends down, nobody sends up to it."""
    if link.medium != "free_space" or receiver.kind is not NodeKind.SATELLITE:
        return True
    return sender.kind is NodeKind.SATELLITE
