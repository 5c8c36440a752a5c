"""From an order to links, and from each link to one request per operator.

The order's loop asks here before anything is placed. A link within one operator is one request; a link across
two is composed from their border offers, which are asked for at every operator at once. Nothing is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qmodel.errors import Infeasible
from qmodel.links import BorderOffer, LinkRequest
from qmodel.nodeconfig import Purpose
from qmodel.security import POLICIES
from sms.domain.ask import Ask, OrderKind
from sms.domain.composition import Demand, Joined, choose, segment_requests
from sms.domain.decomposition import decompose, key_rate_of, total_key_rate_bps
from sms.domain.link import Link, Segment
from sms.domain.order import Order
from sms.domain.problem import no_placement
from sms.ports import Draft, Networks, Place, WantedLink
from sms.usecases.sites import Sites


@dataclass(frozen=True)
class SitePlanner:
    """Implements `ports.Planner` by what the operators say about their sites and borders."""

    networks: Networks
    sites: Sites

    async def draft(self, order: Order) -> Draft:
        ask = order.ask
        places = {place.site: place for place in await self.sites.find(ask.sites)}
        pairs = decompose(ask.kind, list(places))
        wanted = tuple(
            WantedLink(order.link_id(index), places[a], places[b]) for index, (a, b) in enumerate(pairs)
        )
        return Draft(wanted, total_key_rate_bps(ask))

    async def links(self, order: Order, draft: Draft) -> list[Link]:
        demand = demand_of(order.ask)
        offers = await self._offers(draft.wanted, demand)
        links: list[Link] = []
        refused: list[Infeasible] = []
        for wanted in draft.wanted:
            try:
                links.append(_link(order, wanted, demand, offers))
            except Infeasible as error:
                refused.append(error)
        if refused:
            raise no_placement(refused, {w.link_id: (w.a.site, w.b.site) for w in draft.wanted})
        return links

    async def _offers(
        self, wanted: Iterable[WantedLink], demand: Demand
    ) -> dict[Place, tuple[BorderOffer, ...]]:
        """What each site with a link to another operator can have at its operator's borders."""
        asked = sorted({place for w in wanted if w.a.operator != w.b.operator for place in (w.a, w.b)})
        answers = await asyncio.gather(
            *(
                self.networks.offers(place.instance, place.node, demand.security_level, demand.max_latency_s)
                for place in asked
            )
        )
        return dict(zip(asked, answers, strict=True))


def demand_of(ask: Ask) -> Demand:
    """What every link of the order must give, in fidelity at least what the level demands."""
    pairs = ask.kind is OrderKind.ENTANGLEMENT
    return Demand(
        purpose=Purpose.PAIRS if pairs else Purpose.KEYS,
        security_level=ask.security_level,
        key_rate_bps=key_rate_of(ask),
        pair_rate_hz=ask.pair_rate_hz,
        min_fidelity=max(ask.min_fidelity or 0.0, POLICIES[ask.security_level].min_fidelity),
        max_latency_s=ask.max_latency_s,
    )


def _link(
    order: Order, wanted: WantedLink, demand: Demand, offers: dict[Place, tuple[BorderOffer, ...]]
) -> Link:
    a, b = wanted.a, wanted.b
    joint: dict[str, Any] | None = None
    if a.operator == b.operator:
        segments: Sequence[Segment] = (Segment(a.operator, _whole(wanted, demand)),)
    else:
        joined = choose(offers[a], offers[b], demand, wanted.link_id)
        requests = segment_requests(wanted.link_id, joined, demand)
        segments = [Segment(place.operator, r) for place, r in zip((a, b), requests, strict=True)]
        joint = _joint(joined)
    return Link(
        link_id=wanted.link_id,
        service_id=order.planned_service_id,
        tenant=order.tenant,
        a=a.site,
        b=b.site,
        segments=tuple(segments),
        joint=joint,
    )


def _whole(wanted: WantedLink, demand: Demand) -> LinkRequest:
    return LinkRequest(
        link_id=wanted.link_id,
        a=wanted.a.node,
        b=wanted.b.node,
        purpose=demand.purpose,
        security_level=demand.security_level,
        key_rate_bps=demand.key_rate_bps,
        pair_rate_hz=demand.pair_rate_hz,
        min_fidelity=demand.min_fidelity,
        max_latency_s=demand.max_latency_s,
    )


def _joint(joined: Joined) -> dict[str, Any]:
    """How the segments meet, as `domain.figures` reads it; and what was expected of it, for people."""
    return {
        "border": joined.border,
        "success": joined.join.success,
        "werner": joined.join.werner,
        "t2_s": joined.join.t2_s,
        "share": joined.share,
        "expected_fidelity": joined.estimate.fidelity,
        "expected_pair_rate_hz": joined.estimate.pair_rate_hz,
    }
