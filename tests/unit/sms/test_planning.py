"""An order becomes links, and a link one request per operator, joined at a border that both offer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from qmodel.errors import Infeasible, Unavailable
from qmodel.links import BorderOffer, Join
from qmodel.nodeconfig import Purpose
from qmodel.security import SecurityLevel
from sms.domain.ask import Ask, OrderKind
from sms.domain.figures import figures_of
from sms.domain.order import Order
from sms.usecases.following import placed_anew
from sms.usecases.planning import SitePlanner, demand_of

MESH = ("Alice", "Bob", "Charlie", "Dave")


def an_order(*sites: str, kind: OrderKind = OrderKind.FULL_MESH_VPN, **ask: Any) -> Order:
    rates = {} if ask.keys() & {"key_rate_bps", "pair_rate_hz"} else {"rate_bytes_per_s": 1000.0}
    asked = Ask(kind, sites or MESH, SecurityLevel.TOP_SECRET, 1.0, **(rates | ask))
    return Order("ord_1", "acme", asked, datetime(2026, 1, 1, tzinfo=UTC), 0.0)


def offer(operator: str, node: str, border: str, rate_hz: float = 1e6) -> BorderOffer:
    owner = operator == "north"
    return BorderOffer(
        operator=operator,
        node=node,
        border=border,
        pair_rate_hz=rate_hz,
        werner=0.98,
        latency_s=0.004,
        join=Join(success=0.5, werner=0.99, t2_s=10.0) if owner else None,
        handover=None if owner else "downlink",
    )


def let_operators_offer(world: Any, **borders: dict[str, float]) -> SitePlanner:
    async def offers(
        instance: str, node: str, level: SecurityLevel, latency_s: float
    ) -> tuple[BorderOffer, ...]:
        world.networks._call("offers", instance)
        return tuple(offer(instance, node, border, rate) for border, rate in borders[instance].items())

    world.networks.offers = offers
    return SitePlanner(world.networks, world.sites)


async def test_a_mesh_of_four_is_six_links_four_of_them_across(world: Any) -> None:
    planner = let_operators_offer(world, north={"sat": 1e6, "hut": 1e4}, south={"sat": 1e6, "hut": 1e4})
    order = an_order()
    draft = await planner.draft(order)
    links = await planner.links(order, draft)
    assert [(link.link_id, link.a, link.b) for link in links][:2] == [
        ("lnk_1-0", "Alice", "Bob"),
        ("lnk_1-1", "Alice", "Charlie"),
    ]
    across = [link for link in links if link.joint is not None]
    assert (len(links), len(across)) == (6, 4)
    assert {link.joint["border"] for link in across if link.joint} == {"sat"}
    assert draft.key_rate_bps == pytest.approx(6 * 16_320)
    assert world.networks.asked["offers"] == 4
    inside = links[0].segments
    assert [(s.operator, s.request.a, s.request.b) for s in inside] == [("north", "alice", "bob")]
    both = links[1].segments
    assert [(s.operator, s.request.b, s.request.swap_at_b) for s in both] == [
        ("north", "sat", True),
        ("south", "sat", True),
    ]
    assert [s.request.metered for s in both] == [True, False]


async def test_what_was_asked_for_comes_out_of_the_joined_segments(world: Any) -> None:
    planner = let_operators_offer(world, north={"sat": 1e6}, south={"sat": 1e6})
    order = an_order("Alice", "Charlie")
    links = await planner.links(order, await planner.draft(order))
    assert figures_of(links[0]) is None
    placements = []
    for segment in links[0].segments:
        made = await world.networks.place(segment.operator, order.change_id, [segment.request])
        least = {"fidelity": segment.request.min_fidelity, "pair_rate_hz": segment.request.pair_rate_hz}
        placements.append(made[0].model_copy(update=least))
    (placed,) = placed_anew(links, placements)
    assert placed.figures is not None
    assert placed.figures.fidelity >= 0.9 - 1e-6
    better = [p.model_copy(update={"fidelity": 0.985}) for p in placements]
    (placed,) = placed_anew(links, better)
    assert placed.figures is not None
    assert placed.figures.key_rate_bps == pytest.approx(16_320)
    assert "Joined at sat" in placed.why


async def test_refusals_of_all_links_are_told_by_site(world: Any) -> None:
    planner = let_operators_offer(world, north={"sat": 10.0}, south={"sat": 10.0})
    order = an_order("Alice", "Bob", "Charlie")
    with pytest.raises(Infeasible) as refused:
        await planner.links(order, await planner.draft(order))
    refusals = refused.value.facts["refusals"]
    assert [(r["a"], r["b"]) for r in refusals] == [("Alice", "Charlie"), ("Bob", "Charlie")]
    assert refusals[0]["constraint"] == "key-rate"
    assert refusals[0]["would_fit"]["key_rate_bps"] < 16_320
    assert "2 of 3 links" in refused.value.detail


async def test_an_operator_that_does_not_answer_is_no_refusal(world: Any) -> None:
    planner = let_operators_offer(world, north={"sat": 1e6}, south={"sat": 1e6})
    world.networks.fails["offers", "south"] = Unavailable("nobody answers")
    order = an_order("Alice", "Charlie")
    with pytest.raises(Unavailable):
        await planner.links(order, await planner.draft(order))


def test_demands_follow_kind_and_level() -> None:
    vpn = demand_of(an_order().ask)
    assert (vpn.purpose, vpn.min_fidelity) == (Purpose.KEYS, 0.9)
    assert vpn.key_rate_bps == pytest.approx(16_320)
    keys = demand_of(an_order(kind=OrderKind.KEY, key_rate_bps=500.0, min_fidelity=0.95).ask)
    assert (keys.key_rate_bps, keys.min_fidelity) == (500.0, 0.95)
    pairs = demand_of(an_order(kind=OrderKind.ENTANGLEMENT, pair_rate_hz=100.0).ask)
    assert (pairs.purpose, pairs.key_rate_bps, pairs.pair_rate_hz) == (Purpose.PAIRS, 0.0, 100.0)
