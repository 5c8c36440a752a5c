"""The timing route of a link. Where a protocol measures delay, it must follow the photons' conduits.

`placement` asks for it together with the photons' route; both are committed together.
"""

from __future__ import annotations

from dataclasses import dataclass

from nms.domain.chainplan import Route
from nms.domain.network import Network


@dataclass(frozen=True)
class TimingRoute:
    """Timing links in order from the first end; `coherent` if they lie beside the photons all the way."""

    links: tuple[str, ...]
    coherent: bool


def timing_for(network: Network, route: Route) -> TimingRoute | None:
    """Beside the photons if there is timing in every conduit; else any way whose protocol does not measure
    delay, since its offset does not depend on the fibre; else None."""
    beside = [network.timing_beside(link) for link in route.links]
    if all(link is not None for link in beside):
        return TimingRoute(tuple(link.id for link in beside if link is not None), True)
    around = network.timing_route(route.nodes[0].id, route.nodes[-1].id, lambda link: not link.measures_delay)
    return None if around is None else TimingRoute(tuple(link.id for link in around), False)
