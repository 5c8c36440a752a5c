"""What is built: nodes, ports and lines of one or more operators' topologies, joined where they meet.

A border node of one file is an own node of another with the same id. Nothing here changes while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qmodel.errors import Invalid, NotFound
from qmodel.topology import (
    Bsm,
    Detector,
    Memory,
    Node,
    PortRef,
    QuantumLink,
    Source,
    TimingLink,
    Topology,
)


@dataclass(frozen=True)
class Line:
    """A quantum or timing link of one operator's file. `key` is unique in the plant."""

    operator: str
    link: QuantumLink | TimingLink

    @property
    def key(self) -> str:
        return f"{self.operator}/{self.link.id}"

    @property
    def quantum(self) -> bool:
        return isinstance(self.link, QuantumLink)

    def far_end(self, node: str, port: str) -> PortRef:
        link = self.link
        return link.b if (link.a.node, link.a.port) == (node, port) else link.a


class Plant:
    """All that the given topologies declare."""

    def __init__(self, topologies: Sequence[Topology]) -> None:
        """Raises Invalid where two files contradict each other."""
        self.nodes: dict[str, Node] = {}
        self.lines: dict[str, Line] = {}
        self.at_port: dict[tuple[str, str], Line] = {}
        elements: dict[str, str] = {}
        for topology in topologies:
            for node in topology.nodes:
                if node.operator == topology.operator:
                    self._own(node, elements)
            links: list[QuantumLink | TimingLink] = [*topology.quantum_links, *topology.timing_links]
            for link in links:
                self._line(Line(topology.operator, link))
        for topology in topologies:
            for border in topology.borders:
                self.nodes.setdefault(border.id, border)

    def elements(self) -> Iterable[Node]:
        """Nodes that have an element here: every operator's own."""
        return (node for node in self.nodes.values() if node.element is not None)

    def ports(self, node_id: str) -> dict[str, Line]:
        """The lines at a node's ports, by port."""
        return {port: line for (node, port), line in self.at_port.items() if node == node_id}

    def lines_named(self, name: str) -> list[Line]:
        """The lines that a name stands for: `link`, `operator/link`, or all lines in a conduit.

        Raises NotFound, or Invalid if several operators have a link of this name."""
        if name in self.lines:
            return [self.lines[name]]
        links = [line for line in self.lines.values() if line.link.id == name]
        if len(links) > 1:
            raise Invalid(f"several operators have {name}: {', '.join(line.key for line in links)}")
        found = links or [line for line in self.lines.values() if name in line.link.conduits]
        if not found:
            raise NotFound(f"no link or conduit {name!r}")
        return found

    def _own(self, node: Node, elements: dict[str, str]) -> None:
        if node.id in self.nodes:
            raise Invalid(f"node {node.id} is an own node in two files")
        if node.element is not None:
            if node.element in elements:
                raise Invalid(f"element {node.element} is at two nodes: {elements[node.element]}, {node.id}")
            elements[node.element] = node.id
        parts: list[Source | Bsm | Detector | Memory] = [*node.sources, *node.bsms]
        parts += [*node.detectors, *node.memories]
        names = [part.id for part in parts]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise Invalid(f"node {node.id}: component ids are not unique: {', '.join(sorted(twice))}")
        self.nodes[node.id] = node

    def _line(self, line: Line) -> None:
        if line.key in self.lines:
            raise Invalid(f"{line.key} is both a quantum and a timing link")
        if line.link in (known.link for known in self.lines.values()):
            return  # both operators declare the line between them
        self.lines[line.key] = line
        for end in (line.link.a, line.link.b):
            taken = self.at_port.get((end.node, end.port))
            if taken is not None:
                raise Invalid(f"port {end.node}/{end.port} has two lines: {taken.key}, {line.key}")
            self.at_port[end.node, end.port] = line
