"""Candidate routes of photons for one request: cheapest first, then ways around what did not work.

`placement` and `offers` draw routes from a `RouteSearch` until one works. It knows what may be passed
(clearance, owner, what to avoid) and how full fibres are; it knows nothing of sources or rates.
"""

from __future__ import annotations

from collections.abc import Iterator

from nms.domain.chainplan import Route
from nms.domain.network import FORBIDDEN, Network
from nms.domain.usage import WHOLE_PPM, Usage, fibre_resource
from qmodel.links import LinkRequest
from qmodel.security import POLICIES, SecurityPolicy
from qmodel.topology import Node, QuantumLink

MAX_ROUTES = 8
"""Dijkstra runs per request at most; the first one does for nearly all."""
_HOP_COST_DB = 0.5
_LOAD_COST = 3.0
"""A full fibre costs this much more than an idle one of the same loss."""
_AROUND = 1.6
"""What has been tried gets this much dearer, so that the next route differs where it can."""


class RouteSearch:
    """Routes for `request`, each once. Tell it by `block` which resource was full, so that the next route
    goes around it at once."""

    def __init__(self, network: Network, usage: Usage, request: LinkRequest) -> None:
        self._network = network
        self._request = request
        self._links = network.topology.quantum_links
        self._costs = [self._cost(link, usage) for link in self._links]
        self._index = {link.id: index for index, link in enumerate(self._links)}

    def __iter__(self) -> Iterator[Route]:
        seen: set[tuple[str, ...]] = set()
        for _ in range(MAX_ROUTES):
            found = self._network.photon_route(self._request.a, self._request.b, self._costs.__getitem__)
            if found is None:
                return
            nodes, links = found
            for link in links:
                self._costs[self._index[link.id]] *= _AROUND
            key = tuple(link.id for link in links)
            if key not in seen:
                seen.add(key)
                yield Route(
                    tuple(self._network.node(node) for node in nodes), tuple(links), self._request.swap_at_b
                )

    def block(self, resource: str) -> None:
        """Never use this again: a fibre, or all fibres at the node of a device other than the link's ends."""
        kind, name, *_ = resource.split("/")
        for index, link in enumerate(self._links):
            at_node = name in link.ends and name not in (self._request.a, self._request.b)
            if (kind == "quantum-link" and link.id == name) or (kind != "quantum-link" and at_node):
                self._costs[index] = FORBIDDEN

    def _cost(self, link: QuantumLink, usage: Usage) -> float:
        free = usage.free_ppm(fibre_resource(link.id))
        if (
            free <= 0
            or not set(link.conduits).isdisjoint(self._request.avoid)
            or link.id in self._request.avoid
            or not self._hands_over(link)
        ):
            return FORBIDDEN
        ends = [self._network.node(end) for end in link.ends]
        if any(self._barred(node) for node in ends):
            return FORBIDDEN
        load = 1.0 - free / WHOLE_PPM
        switches_db = sum(node.switch_loss_db for node in ends) / 2.0
        return (link.loss_db + switches_db + _HOP_COST_DB) * (1.0 + _LOAD_COST * load * load)

    def _hands_over(self, link: QuantumLink) -> bool:
        """False for another way into a foreign border than the one at which its owner waits for photons."""
        agreed, border = self._request.handover, self._request.b
        if agreed is None or border not in link.ends or self._network.owns(self._network.node(border)):
            return True
        return link.id == agreed

    def _barred(self, node: Node) -> bool:
        """Photons must not pass or end here."""
        ends = (self._request.a, self._request.b)
        return (
            node.id in self._request.avoid
            or why_not_cleared(node, POLICIES[self._request.security_level], transit=node.id not in ends)
            is not None
            or (node.id not in ends and not self._network.owns(node))
        )


def why_not_cleared(node: Node, policy: SecurityPolicy, *, transit: bool) -> str | None:
    """Why the security level forbids this node, or None. A trusted relay would read what it passes on; as an
    end of the link it reads only its own."""
    if node.clearance.rank < policy.min_clearance.rank:
        return f"{node.id} is cleared for {node.clearance.value} only"
    if transit and node.trusted_relay and not policy.trusted_relays_allowed:
        return f"{node.id} is a trusted relay, which {policy.level.value} forbids"
    return None
