"""Small networks for placement tests, built in a line or two: nodes with devices, timing beside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nms.domain.network import Network
from nms.domain.placement import place
from nms.domain.usage import Usage
from qmodel.links import LinkRequest, Placement, Refusal
from qmodel.security import SecurityLevel
from qmodel.topology import (
    Bsm,
    Conduit,
    Detector,
    Memory,
    Node,
    NodeKind,
    Pass,
    PortRef,
    QuantumLink,
    Source,
    TimingLink,
    Topology,
)
from qmodel.topology_file import load_topology

TOPOLOGIES = Path(__file__).parents[3] / "deploy" / "local" / "topologies"
IDLE = Usage()


def example(operator: str) -> Network:
    """One operator of the example that `make demo` runs."""
    return Network(load_topology(TOPOLOGIES / f"{operator}.yaml"))


def end(name: str, **more: Any) -> Node:
    """A site with a detector of the same name at every site."""
    return own(name, detectors=(Detector(id="det-1"),), **more)


def lamp(name: str, **more: Any) -> Node:
    """A node with a source only: it cannot swap."""
    return own(name, sources=(Source(id="src-1", werner=0.998),), **more)


def bank(name: str, *, t2_s: float = 1.0, modes: int = 100_000, **more: Any) -> Node:
    """A node that swaps, by one BSM with a memory. It has no source."""
    memories = (Memory(id="mem-1", modes=modes, t2_s=t2_s),)
    return own(name, bsms=(Bsm(id="bsm-1", werner=0.995),), memories=memories, **more)


def satellite(name: str) -> Node:
    source = Source(id="src-1", trial_rate_hz=1e11, pairs_per_pulse=0.005, werner=0.998)
    return own(name, kind=NodeKind.SATELLITE, sources=(source,))


def own(name: str, **more: Any) -> Node:
    return Node(**{"id": name, "operator": "us", "element": f"{name}-qn", "ems": "us", **more})


def foreign(name: str, **more: Any) -> Node:
    return Node(id=name, operator="them", **more)


def fibre(a: str, b: str, length_km: float = 10.0, *, name: str | None = None, **more: Any) -> QuantumLink:
    """A fibre in a conduit of its own, with ports named after where they lead."""
    name = name or f"{a}-{b}"
    return QuantumLink(
        **{
            "id": name,
            "a": PortRef(node=a, port=f"q-{name}"),
            "b": PortRef(node=b, port=f"q-{name}"),
            "length_km": length_km,
            "conduits": (f"c-{name}",),
            **more,
        }
    )


def downlink(sat: str, ground: str, offset_s: float = 0.0) -> QuantumLink:
    return fibre(
        sat,
        ground,
        900.0,
        medium="free_space",
        attenuation_db_per_km=0.0,
        extra_loss_db=7.0,
        conduits=(),
        visibility=Pass(period_s=900.0, offset_s=offset_s, duration_s=300.0),
    )


def clock(a: str, b: str, length_km: float = 10.0, **more: Any) -> TimingLink:
    """A timing link whose conduit is none of the photons' unless it is said."""
    name = str(more.pop("name", f"t-{a}-{b}"))
    return TimingLink(
        id=name,
        a=PortRef(node=a, port=name),
        b=PortRef(node=b, port=name),
        length_km=length_km,
        **{"measures_delay": False, **more},
    )


def beside(link: QuantumLink) -> TimingLink:
    a, b = link.ends
    return clock(a, b, link.length_km, name=f"t-{link.id}", conduits=link.conduits, measures_delay=True)


def network(
    nodes: Iterable[Node],
    links: Iterable[QuantumLink],
    clocks: Iterable[TimingLink] | None = None,
    **more: Any,
) -> Network:
    """With timing beside every link, unless `clocks` says what there is."""
    links = tuple(links)
    timing = tuple(map(beside, links)) if clocks is None else tuple(clocks)
    named = [*(link.conduits for link in links), *(link.conduits for link in timing)]
    conduits = sorted({conduit for names in named for conduit in names})
    return Network(
        Topology(
            bellweave_topology=1,
            operator="us",
            conduits=tuple(Conduit(id=name) for name in conduits),
            nodes=tuple(nodes),
            quantum_links=links,
            timing_links=timing,
            **more,
        )
    )


def wanted(a: str = "a", b: str = "b", **more: Any) -> LinkRequest:
    return LinkRequest(
        **{
            "link_id": f"{a}-{b}",
            "a": a,
            "b": b,
            "security_level": SecurityLevel.STANDARD,
            "key_rate_bps": 1000.0,
            "min_fidelity": 0.85,
            "max_latency_s": 1.0,
            **more,
        }
    )


def placed(net: Network, request: LinkRequest, usage: Usage = IDLE) -> Placement:
    outcome = place(net, usage, [request])
    assert not outcome.refusals, outcome.refusals[0].reason
    return outcome.placements[0]


def refused(net: Network, request: LinkRequest, usage: Usage = IDLE) -> Refusal:
    outcome = place(net, usage, [request])
    assert not outcome.placements, outcome.placements[0].why
    return outcome.refusals[0]
