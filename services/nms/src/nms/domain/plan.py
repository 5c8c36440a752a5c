"""A change of what runs: each link's placement before and after, and what that takes while it is open.

Use cases make plans, the store keeps them, the commit carries them out. Pure. It decides no path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nms.domain.network import Network
from nms.domain.nodeconfig import node_configs
from nms.domain.usage import claims_of
from qmodel.links import LinkRequest, Placement
from qmodel.nodeconfig import NodeConfig


class Kind(StrEnum):
    PLACE = "place"
    REMOVE = "remove"
    HEAL = "heal"
    ALIGN = "align"
    """Moves no link: tells elements that missed a change what they should be."""


class PlanState(StrEnum):
    """HELD until somebody commits it; the other states but COMMITTING are final."""

    HELD = "held"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ABORTED = "aborted"
    DROPPED = "dropped"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Move:
    """One link from `old` to `new`; None where it did not run before, or does not afterwards."""

    link_id: str
    request: LinkRequest
    old: Placement | None = None
    new: Placement | None = None


@dataclass(frozen=True)
class Plan:
    """`elements` are told their target besides those that the moves concern. `expires_at` is real time."""

    change_id: str
    kind: Kind
    who: str
    why: str
    moves: tuple[Move, ...]
    expires_at: datetime
    elements: tuple[str, ...] = ()
    state: PlanState = PlanState.HELD
    problem: str | None = None

    @property
    def link_ids(self) -> list[str]:
        return sorted(move.link_id for move in self.moves)

    @property
    def touched(self) -> frozenset[str]:
        """Every element that the plan may tell something."""
        placements = (*self.old, *self.new)
        return frozenset((*self.elements, *(name for each in placements for name in each.elements)))

    @property
    def old(self) -> tuple[Placement, ...]:
        return tuple(move.old for move in self.moves if move.old is not None)

    @property
    def new(self) -> tuple[Placement, ...]:
        return tuple(move.new for move in self.moves if move.new is not None)


def shares(placements: Iterable[Placement], network: Network) -> Counter[str]:
    """Millionths of each resource that all of `placements` take together."""
    total: Counter[str] = Counter()
    for placement in placements:
        total.update(claims_of(placement, network))
    return total


def extra_shares(plan: Plan, network: Network) -> Counter[str]:
    """What must be free, besides what the plan's links take already, for the plan to be held.

    Everything moves at once, so a resource is needed for the larger of before and after: old paths are kept
    until the commit, and two links may change places."""
    return shares(plan.new, network) - shares(plan.old, network)


def left_shares(plan: Plan, network: Network) -> Counter[str]:
    """What the plan gives back when it is committed everywhere."""
    return shares(plan.old, network) - shares(plan.new, network)


@dataclass(frozen=True)
class Targets:
    """The whole target of each element that a plan changes, and which elements have circuits of each link."""

    by_element: Mapping[str, NodeConfig]
    parts: Mapping[str, frozenset[str]]


def targets_of(
    plan: Plan, in_force: Iterable[Placement], network: Network, *, skip: frozenset[str] = frozenset()
) -> Targets:
    """`in_force` is every placement in force, before the plan, that names an element which the plan touches.

    Elements whose target stays as it was are left alone, except those that the plan names; those in `skip`
    are left out."""
    before = list(in_force)
    moving = set(plan.link_ids)
    after = [placement for placement in before if placement.link_id not in moving] + list(plan.new)
    nothing = NodeConfig()
    was, will = node_configs(before, network), node_configs(after, network)
    changed = {
        element: will.get(element, nothing)
        for element in sorted(was.keys() | will.keys() | set(plan.elements))
        if element not in skip
        and (element in plan.elements or was.get(element, nothing) != will.get(element, nothing))
    }
    parts: dict[str, set[str]] = {move.link_id: set() for move in plan.moves if move.new is not None}
    for element, config in will.items():
        for circuit in config.circuits:
            if circuit.link_id in parts:
                parts[circuit.link_id].add(element)
    return Targets(changed, {link_id: frozenset(names) for link_id, names in parts.items()})


def ems_of(network: Network) -> dict[str, str]:
    """Element → its EMS on the bus, such as `ems.space`."""
    return {
        node.element: f"ems.{node.ems.removeprefix('ems.')}"
        for node in network.topology.nodes
        if node.element is not None and node.ems is not None and network.owns(node)
    }
