"""From device alarms to root causes: which fibre or conduit explains the dark ports, and whom it disrupts.

`usecases.heal` calls it with the alarms that are active now. Pure; it knows the declared topology and the
placements, nothing else. It raises no alarm itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qmodel.contracts.ems import Alarm, PerceivedSeverity
from qmodel.links import Placement
from qmodel.topology import QuantumLink, TimingLink, Topology

Line = QuantumLink | TimingLink

LOSS_OF_LIGHT = frozenset({"loss-of-signal", "link-down", "interface-down"})
"""Alarm types at `port/<name>` that say that no light comes in."""

_GRAVE = (PerceivedSeverity.CRITICAL, PerceivedSeverity.MAJOR)


@dataclass(frozen=True)
class Cause:
    """One root cause. `name` is stable, such as `quantum-link/f1`, `timing-link/t1`, `conduit/c1` or
    `port/n1/q2`; `dark` are the quantum and timing links that carry no light because of it; `avoid` is what
    a new path must not use."""

    name: str
    text: str
    dark: frozenset[str] = frozenset()
    avoid: tuple[str, ...] = ()


def causes_of(
    topology: Topology, alarms: Iterable[Alarm], placements: Iterable[Placement], domain_now_s: float
) -> list[Cause]:
    """The root causes behind the loss of light, each dark fibre explained once, sorted by name.

    A free-space path between two passes is dark by nature and has no cause. Both ends of one fibre dark, or
    the only end that is ours: that fibre. One end of two: its port. At least two dark fibres that share a
    conduit (quantum or timing), with no lit one in use beside them there: the conduit.
    """
    dark = _dark_ends(topology, alarms, domain_now_s)
    in_use = {name for placement in placements for name in used_links(placement)}
    lines: list[Line] = [*topology.quantum_links, *topology.timing_links]
    links = {line.id: line for line in lines}
    open_links = set(dark)
    causes: list[Cause] = []
    while (cut := _worst_conduit(links, open_links, in_use - set(dark))) is not None:
        conduit, members = cut
        names = ", ".join(sorted(members))
        causes.append(
            Cause(
                f"conduit/{conduit}",
                f"conduit {conduit} is cut: {names} dark",
                members,
                (conduit, *sorted(members)),
            )
        )
        open_links -= members
    causes += [_one_link(topology, links[name], dark[name]) for name in open_links]
    return sorted(causes, key=lambda cause: cause.name)


def dark_links(topology: Topology, alarms: Iterable[Alarm], domain_now_s: float) -> frozenset[str]:
    """Quantum and timing links of which at least one end sees no light though it should."""
    return frozenset(_dark_ends(topology, alarms, domain_now_s))


def used_links(placement: Placement) -> frozenset[str]:
    """Quantum and timing links that the placement cannot do without."""
    return frozenset((*placement.quantum_links, *placement.timing_links))


def disrupted(causes: Sequence[Cause], placements: Iterable[Placement]) -> dict[str, Cause]:
    """Link id → the first cause that cuts its placement."""
    cut: dict[str, Cause] = {}
    for placement in placements:
        used = used_links(placement)
        hit = next((cause for cause in causes if cause.dark & used), None)
        if hit is not None:
            cut[placement.link_id] = hit
    return cut


def cause_at_elements(
    topology: Topology, placement: Placement, reason: str, alarms: Iterable[Alarm]
) -> Cause:
    """The likeliest cause of a link that is down though no fibre of it is dark: the gravest alarm at one of
    its elements. That node is avoided unless the link ends there; with nothing to avoid, healing waits."""
    elements = set(placement.elements)
    grave = sorted(
        (alarm for alarm in alarms if alarm.element in elements and alarm.severity in _GRAVE),
        key=lambda alarm: (_GRAVE.index(alarm.severity), alarm.raised_at, alarm.resource),
    )
    if not grave:
        return Cause(f"link/{placement.link_id}", reason)
    alarm = grave[0]
    node = next((node for node in topology.nodes if node.element == alarm.element), None)
    ends = {placement.nodes[0], placement.nodes[-1]} if placement.nodes else set()
    avoid = (node.id,) if node is not None and node.id not in ends else ()
    return Cause(f"{alarm.resource} at {alarm.element}", alarm.text, avoid=avoid)


def _dark_ends(topology: Topology, alarms: Iterable[Alarm], domain_now_s: float) -> dict[str, frozenset[str]]:
    """Quantum or timing link → its nodes at whose port no light comes in though it should."""
    dark_ports: set[tuple[str, str]] = set()
    for alarm in alarms:
        kind, _, port = alarm.resource.partition("/")
        if (
            kind == "port"
            and alarm.alarm_type in LOSS_OF_LIGHT
            and alarm.severity is not PerceivedSeverity.CLEARED
        ):
            dark_ports.add((alarm.element, port))
    element_of = {node.id: node.element for node in topology.nodes}
    ends: dict[str, frozenset[str]] = {}
    lines: list[Line] = [*topology.quantum_links, *topology.timing_links]
    for link in lines:
        visibility = link.visibility if isinstance(link, QuantumLink) else None
        if visibility is not None and not visibility.open_at(domain_now_s):
            continue
        nodes = frozenset(
            end.node for end in (link.a, link.b) if (element_of.get(end.node), end.port) in dark_ports
        )
        if nodes:
            ends[link.id] = nodes
    return ends


def _worst_conduit(
    links: Mapping[str, Line], dark: set[str], lit_in_use: set[str]
) -> tuple[str, frozenset[str]] | None:
    """The conduit that explains most of what is dark, at least two fibres, and contradicts nothing."""
    members: dict[str, set[str]] = {}
    for name in dark:
        for conduit in links[name].conduits:
            members.setdefault(conduit, set()).add(name)
    contradicted = {conduit for name in lit_in_use if name in links for conduit in links[name].conduits}
    candidates = [
        (len(names), conduit)
        for conduit, names in members.items()
        if len(names) >= 2 and conduit not in contradicted
    ]
    if not candidates:
        return None
    _, conduit = min(candidates, key=lambda found: (-found[0], found[1]))
    return conduit, frozenset(members[conduit])


def _one_link(topology: Topology, link: Line, dark_nodes: frozenset[str]) -> Cause:
    ours = {node.id for node in topology.nodes if node.operator == topology.operator}
    if dark_nodes >= ours & {link.a.node, link.b.node}:
        kind, what = _kind(link)
        text = f"{what} {link.id} between {link.a.node} and {link.b.node} carries no light"
        return Cause(f"{kind}/{link.id}", text, frozenset({link.id}), (link.id,))
    node = min(dark_nodes)
    end = link.a if link.a.node == node else link.b
    text = f"no light at port {end.port} of {node}, and no complaint from the other end of {link.id}"
    return Cause(f"port/{node}/{end.port}", text, frozenset({link.id}), (link.id,))


def _kind(link: Line) -> tuple[str, str]:
    """The kind of resource that a link is, and what people call it."""
    if isinstance(link, TimingLink):
        return "timing-link", "timing fibre"
    return "quantum-link", "fibre" if link.medium == "fibre" else "free-space path"
