"""What placements take of each resource, in millionths, and what is left.

The store keeps the same numbers under a constraint (0 <= taken <= 1,000,000). Integers, so that releasing
gives back exactly what was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nms.domain.network import Network
from qmodel.hops import memory_of
from qmodel.links import Placement
from qmodel.topology import Node

WHOLE_PPM = 1_000_000


def fibre_resource(link_id: str) -> str:
    return f"quantum-link/{link_id}"


def device_resource(kind: str, node_id: str, device_id: str) -> str:
    """`kind` is source, bsm, memory or detector."""
    return f"{kind}/{node_id}/{device_id}"


def memory_resource(node: Node, bsm_id: str) -> str | None:
    """The memory bank behind a BSM, or at a border of another operator the bank it shows us."""
    memory = memory_of(node, bsm_id)
    return None if memory is None else device_resource("memory", node.id, memory.id)


@dataclass(frozen=True)
class Needs:
    """Which resources each hop of a link uses. `hops` holds those of each hop alone; `joins` (BSM, memory or
    None) those between neighbours; the lists `first` and `last` what the outer ends use."""

    hops: tuple[tuple[str, ...], ...]
    joins: tuple[tuple[str, str | None], ...]
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    def loads(self, shares: Sequence[float]) -> dict[str, float]:
        """What each resource gives when hop i works for `shares[i]` of the time.

        A BSM is bound while either of its hops works; a memory bank holds the photons of both. The result
        grows in proportion with the shares and, for integer shares, is made of integers."""
        loads: dict[str, float] = {}
        for resources, share in zip(self.hops, shares, strict=True):
            for resource in resources:
                loads[resource] = loads.get(resource, 0) + share
        for (bsm, memory), left, right in zip(self.joins, shares, shares[1:], strict=False):
            loads[bsm] = loads.get(bsm, 0) + max(left, right)
            if memory is not None:
                loads[memory] = loads.get(memory, 0) + left + right
        for resource in self.first:
            loads[resource] = loads.get(resource, 0) + shares[0]
        for resource in self.last:
            loads[resource] = loads.get(resource, 0) + shares[-1]
        return loads


@dataclass(frozen=True)
class Usage:
    """Millionths taken of each resource; what is not named is free."""

    taken_ppm: Mapping[str, int] = field(default_factory=dict)

    def free_ppm(self, resource: str) -> int:
        return WHOLE_PPM - self.taken_ppm.get(resource, 0)

    def plus(self, claims: Mapping[str, int]) -> Usage:
        """With these claims taken. Whether they fit is the caller's to see."""
        taken = dict(self.taken_ppm)
        for resource, ppm in claims.items():
            taken[resource] = taken.get(resource, 0) + ppm
        return Usage(taken)

    def minus(self, claims: Mapping[str, int]) -> Usage:
        """With these claims given back; a resource of which nothing is taken is no longer named."""
        taken = dict(self.taken_ppm)
        for resource, ppm in claims.items():
            left = taken.get(resource, 0) - ppm
            if left:
                taken[resource] = left
            else:
                taken.pop(resource, None)
        return Usage(taken)


def claims_of(placement: Placement, network: Network) -> dict[str, int]:
    """Millionths of each resource that `placement` takes. Depends on the placement's own figures and on which
    devices the topology names, never on how good they are: a recalibrated network gives back the same."""
    loads = _needs_of(placement, network).loads([hop.share_ppm for hop in placement.hops])
    return {resource: int(ppm) for resource, ppm in sorted(loads.items())}


def usage_of(placements: Iterable[Placement], network: Network) -> Usage:
    """What all of `placements` take together."""
    usage = Usage()
    for placement in placements:
        usage = usage.plus(claims_of(placement, network))
    return usage


def end_resources(node: Node, detector: str | None, bsm: str | None, *, foreign: bool) -> tuple[str, ...]:
    """What the outer end of a link uses: a detector, or at a border the BSM if we own it, and the memory."""
    if detector is not None:
        return (device_resource("detector", node.id, detector),)
    memory = memory_resource(node, bsm or "")
    used = [] if foreign or bsm is None else [device_resource("bsm", node.id, bsm)]
    return (*used, *([memory] if memory is not None else []))


def _needs_of(placement: Placement, network: Network) -> Needs:
    hops = tuple(
        (
            *(fibre_resource(link) for link in hop.quantum_links),
            device_resource("source", hop.source_node, hop.source),
        )
        for hop in placement.hops
    )
    inner = len(placement.hops) - 1
    joins = tuple(
        (device_resource("bsm", node, bsm), memory_resource(network.node(node), bsm))
        for node, bsm in zip(placement.swap_nodes[:inner], placement.bsms[:inner], strict=True)
    )
    a, b = network.node(placement.nodes[0]), network.node(placement.nodes[-1])
    border_bsm = placement.bsms[inner] if len(placement.bsms) > inner else None
    return Needs(
        hops,
        joins,
        end_resources(a, placement.detectors[0], None, foreign=False),
        end_resources(b, placement.detectors[1], border_bsm, foreign=not network.owns(b)),
    )
