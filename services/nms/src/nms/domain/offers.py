"""What can be had from one of our nodes to each border, without showing the inside.

The SMS asks for offers before it orders segments. Nothing is held; an offer is what would fit now.
"""

from __future__ import annotations

from nms.domain.assignment import plans_along
from nms.domain.chainplan import Plan, Route
from nms.domain.network import Network
from nms.domain.placement import RATE_MARGIN
from nms.domain.routing import RouteSearch
from nms.domain.timingroute import plan_timing
from nms.domain.usage import Usage
from qmodel.chains import Performance
from qmodel.errors import Invalid
from qmodel.hops import memory_of
from qmodel.links import BorderOffer, Join, LinkRequest
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import secret_key_rate_bps
from qmodel.security import SecurityLevel
from qmodel.topology import Node, QuantumLink

_ROUTES = 3
"""Routes compared per border."""


def border_offers(
    network: Network, usage: Usage, node: str, level: SecurityLevel, max_latency_s: float
) -> list[BorderOffer]:
    """The best segment from `node` to each border that can be had now, in the topology's order.

    Borders without a memory are never offered: two operators' pulses do not meet by chance. Raises NotFound
    for an unknown node, Invalid for one of another operator."""
    if not network.owns(network.node(node)):
        raise Invalid(f"{node} is not a node of {network.operator}", where=node)
    offers: list[BorderOffer] = []
    for border in network.borders():
        if border != node:
            request = LinkRequest(
                link_id="offer",
                a=node,
                b=border,
                purpose=Purpose.PAIRS,
                security_level=level,
                min_fidelity=0.25,
                max_latency_s=max_latency_s,
                swap_at_b=True,
            )
            offer = _offer(network, usage, request)
            if offer is not None:
                offers.append(offer)
    return offers


def _offer(network: Network, usage: Usage, request: LinkRequest) -> BorderOffer | None:
    border = network.node(request.b)
    join = _join(border) if network.owns(border) else None
    delay_s = network.classical_delay_s(request.a, request.b)
    if (network.owns(border) and join is None) or delay_s is None or delay_s > request.max_latency_s:
        return None
    best: tuple[tuple[float, float], Plan, Performance] | None = None
    for count, route in enumerate(RouteSearch(network, usage, request), start=1):
        for plan in _timed_plans(network, usage, route):
            now = plan.safe(usage)
            worth = secret_key_rate_bps(now.pair_rate_hz * plan.duty, now.werner), now.pair_rate_hz
            if now.pair_rate_hz > 0 and (best is None or worth > best[0]):
                best = worth, plan, now
        if count >= _ROUTES:
            break
    if best is None:
        return None
    _, plan, now = best
    return BorderOffer(
        operator=network.operator,
        node=request.a,
        border=request.b,
        pair_rate_hz=now.pair_rate_hz * plan.duty / RATE_MARGIN,
        werner=now.werner,
        latency_s=delay_s,
        swap_success=now.swap_success,
        join=join,
        handover=None if network.owns(border) else plan.route.links[-1].id,
        visibility=plan.visibility,
    )


def _timed_plans(network: Network, usage: Usage, route: Route) -> list[Plan]:
    if isinstance(plan_timing(network, route, ()), QuantumLink):
        return []
    return plans_along(route, network, usage)


def _join(border: Node) -> Join | None:
    """The best swap that we can make at our border for another operator's photons."""
    joins = [
        Join(success=bsm.success, werner=bsm.werner, t2_s=memory.t2_s)
        for bsm in border.bsms
        if (memory := memory_of(border, bsm.id)) is not None
    ]
    return max(joins, key=lambda join: (join.success, join.werner), default=None)
