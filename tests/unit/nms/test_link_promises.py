"""What a placement promises: security, what to avoid, timing, passes, latency, fidelity."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.nms.networks import (
    bank,
    beside,
    clock,
    downlink,
    end,
    fibre,
    foreign,
    lamp,
    network,
    own,
    placed,
    refused,
    satellite,
    wanted,
)

from nms.domain.chainplan import Plan, PlannedHop, Route, shares_ppm, sized
from nms.domain.network import Network
from nms.domain.offers import border_offers
from nms.domain.usage import WHOLE_PPM, Needs, Usage, claims_of, usage_of
from qmodel.chains import HopPhysics, SwapPhysics
from qmodel.links import LinkRequest
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import secret_key_rate_bps
from qmodel.security import SecurityLevel
from qmodel.topology import ClassicalLink, Memory, Source

TOP_SECRET = SecurityLevel.TOP_SECRET


def two_ways(**near: Any) -> Network:
    """a to b over the lamp `near`, or on a longer way over `far`."""
    nodes = [end("a"), end("b"), lamp("near", **near), lamp("far")]
    ways = [fibre("a", "near", 5), fibre("near", "b", 5), fibre("a", "far", 20), fibre("far", "b", 20)]
    return network(nodes, ways)


def one_way(**middle: Any) -> Network:
    return network([end("a"), end("b"), lamp("near", **middle)], [fibre("a", "near"), fibre("near", "b")])


@pytest.mark.parametrize("near", [{"clearance": SecurityLevel.SECRET}, {"trusted_relay": True}])
def test_top_secret_goes_around_what_it_must_not_pass(near: dict[str, Any]) -> None:
    net = two_ways(**near)

    assert placed(net, wanted(security_level=TOP_SECRET, min_fidelity=0.9)).nodes == ("a", "far", "b")
    assert placed(net, wanted()).nodes == ("a", "near", "b")


@pytest.mark.parametrize(
    ("middle", "said"),
    [
        ({"clearance": SecurityLevel.SECRET}, "cleared for secret only"),
        ({"trusted_relay": True}, "trusted relay"),
    ],
)
def test_top_secret_is_refused_where_there_is_no_way_around(middle: dict[str, Any], said: str) -> None:
    refusal = refused(one_way(**middle), wanted(security_level=TOP_SECRET, min_fidelity=0.9))

    assert (refusal.constraint, refusal.where) == ("security", "near")
    assert said in refusal.reason


@pytest.mark.parametrize("avoid", ["a-near", "c-near-b", "near"])
def test_links_conduits_and_nodes_to_avoid_are_avoided(avoid: str) -> None:
    assert placed(two_ways(), wanted()).nodes == ("a", "near", "b")
    assert placed(two_ways(), wanted(avoid=(avoid,))).nodes == ("a", "far", "b")
    assert refused(one_way(), wanted(avoid=(avoid,))).where == avoid


def test_timing_runs_in_the_photons_conduits() -> None:
    link = placed(two_ways(), wanted())

    assert link.timing_links == ("t-a-near", "t-near-b")
    assert link.timing_coherent


def test_a_way_without_timing_is_left_for_one_with_it() -> None:
    ways = [fibre("a", "near", 5), fibre("near", "b", 5), fibre("a", "far", 20), fibre("far", "b", 20)]
    nodes = [end("a"), end("b"), lamp("near"), lamp("far")]
    net = network(nodes, ways, [beside(ways[0]), beside(ways[2]), beside(ways[3])])

    assert placed(net, wanted()).nodes == ("a", "far", "b")


def test_timing_that_measures_delay_elsewhere_is_no_timing() -> None:
    nodes, ways = [end("a"), end("b", sources=lamp("b").sources)], [fibre("a", "b")]
    elsewhere = [clock("a", "b", measures_delay=True)]

    refusal = refused(network(nodes, ways, elsewhere), wanted())
    assert (refusal.constraint, refusal.where) == ("timing", "a-b")
    assert not placed(network(nodes, ways, [clock("a", "b")]), wanted()).timing_coherent


@pytest.mark.parametrize("avoid", ["t-a-t", "t", "c-shed"])
def test_a_timing_detour_avoids_what_the_photons_avoid(avoid: str) -> None:
    nodes = [end("a"), end("b", sources=lamp("b").sources), own("t"), own("u")]
    clocks = [clock("a", "t", 1, conduits=("c-shed",)), clock("t", "b", 1), clock("a", "u"), clock("u", "b")]
    net = network(nodes, [fibre("a", "b")], clocks)

    assert placed(net, wanted()).timing_links == ("t-a-t", "t-t-b")
    assert placed(net, wanted(avoid=(avoid,))).timing_links == ("t-a-u", "t-u-b")


def test_time_is_not_passed_on_by_another_operator() -> None:
    nodes = [end("a"), end("b", sources=lamp("b").sources), foreign("t")]
    net = network(nodes, [fibre("a", "b")], [clock("a", "t", 1), clock("t", "b", 1)])

    assert refused(net, wanted()).constraint == "timing"


def test_a_satellite_lights_two_grounds_during_its_pass() -> None:
    net = network([end("a"), end("b"), satellite("sat")], [downlink("sat", "a"), downlink("sat", "b", 100.0)])
    link = placed(net, wanted(key_rate_bps=100.0))

    assert link.hops[0].source_node == "sat"
    assert link.visibility is not None
    assert link.visibility.duration_s == pytest.approx(200.0)
    assert link.visibility.offset_s == pytest.approx(100.0)
    # Rates are sustained: what flies in the pass, times the share of time of the pass.
    assert link.pair_rate_hz == pytest.approx(link.hops[0].pair_rate_hz * 200 / 900)
    assert link.key_rate_bps >= 100.0


def test_passes_that_never_meet_are_no_way() -> None:
    net = network([end("a"), end("b"), satellite("sat")], [downlink("sat", "a"), downlink("sat", "b", 450.0)])

    assert refused(net, wanted(key_rate_bps=1.0)).constraint == "path"


def test_nobody_sends_photons_up_to_a_satellite() -> None:
    dark = own("sat", kind="satellite")
    nodes = [end("a", sources=lamp("a").sources), end("b", sources=lamp("b").sources), dark]

    assert (
        refused(network(nodes, [downlink("sat", "a"), downlink("sat", "b")]), wanted()).constraint == "path"
    )


def test_latency_is_that_of_the_classical_way() -> None:
    bits = (ClassicalLink(id="k", a="a", b="b", length_km=10.0, extra_delay_s=0.2),)
    net = network([end("a"), end("b"), lamp("n")], [fibre("a", "n"), fibre("n", "b")], classical_links=bits)

    assert placed(net, wanted()).latency_s == pytest.approx(0.2, rel=1e-3)
    refusal = refused(net, wanted(max_latency_s=0.1))
    assert refusal.constraint == "latency"
    assert placed(net, wanted(max_latency_s=refusal.would_fit["max_latency_s"]))


def test_fidelity_beyond_the_devices_is_refused_and_what_would_fit_does() -> None:
    refusal = refused(one_way(), wanted(min_fidelity=0.9999))

    assert refusal.constraint == "fidelity"
    fits = refusal.would_fit["min_fidelity"]
    assert placed(one_way(), wanted(min_fidelity=fits)).fidelity >= fits


def joined(t2_s: float, length_km: float = 30.0) -> Network:
    """Two hops that meet at the memory m; if they are long, nothing else will do."""
    nodes = [end("a"), lamp("x"), bank("m", t2_s=t2_s), lamp("y"), end("b")]
    return network(nodes, [fibre(p, q, length_km) for p, q in ("ax", "xm", "my", "yb")])


def pairs(rate_hz: float, **more: Any) -> LinkRequest:
    return wanted(**{"purpose": Purpose.PAIRS, "key_rate_bps": 0.0, "pair_rate_hz": rate_hz, **more})


def test_few_pairs_take_more_than_their_share_so_that_they_do_not_age() -> None:
    # At a rate of one pair per second, a pair would wait for its partner far beyond the coherence time.
    link = placed(joined(t2_s=0.1, length_km=90), pairs(1.0))

    assert link.swap_nodes == ("m",)
    assert link.fidelity >= 0.85
    assert link.pair_rate_hz > 5


def test_where_the_free_share_is_too_slow_capacity_binds_and_not_fidelity() -> None:
    net = joined(t2_s=0.1, length_km=90)
    busy = Usage({"source/x/src-1": 990_000})

    refusal = refused(net, pairs(1.0), busy)

    assert (refusal.constraint, refusal.where) == ("capacity", "source/x/src-1")
    assert "wait" in refusal.reason


@pytest.mark.parametrize("taken_ppm", [0, 1, 333_333, 777_777, 999_000])
def test_what_would_fit_beside_others_does_fit(taken_ppm: int) -> None:
    for net in (one_way(), joined(t2_s=1.0)):
        lamp_node = net.topology.nodes[2 if len(net.topology.nodes) == 3 else 1].id
        busy = Usage({f"source/{lamp_node}/src-1": taken_ppm, "quantum-link/a-near": taken_ppm})
        asked = wanted(key_rate_bps=1e9)
        fits_bps = refused(net, asked, busy).would_fit["key_rate_bps"]
        assert fits_bps > 0
        link = placed(net, asked.model_copy(update={"key_rate_bps": fits_bps}), busy)
        assert max(usage_of([link], net).plus(busy.taken_ppm).taken_ppm.values()) <= WHOLE_PPM


def test_an_offer_can_be_had_in_full() -> None:
    nodes = [end("a"), lamp("x"), bank("m"), lamp("y"), bank("gate", modes=1_000_000), foreign("beyond")]
    chain = [fibre("a", "x", 20), fibre("x", "m", 20), fibre("m", "y", 20), fibre("y", "gate", 20)]
    net = network(nodes, [*chain, fibre("gate", "beyond")])
    busy = Usage({"source/y/src-1": 123_457})

    offers = {offer.border: offer for offer in border_offers(net, busy, "a", SecurityLevel.STANDARD, 1.0)}

    assert "gate" in offers
    for offer in offers.values():
        link = placed(
            net,
            pairs(offer.pair_rate_hz, link_id="s", b=offer.border, swap_at_b=True, min_fidelity=0.5),
            busy,
        )
        assert link.pair_rate_hz >= offer.pair_rate_hz


def test_a_border_without_memory_is_never_offered() -> None:
    gate = own("gate", bsms=bank("gate").bsms)
    ways = [fibre("a", "x"), fibre("x", "gate"), fibre("gate", "far")]
    net = network([end("a"), lamp("x"), gate, foreign("far")], ways)
    with_memory = gate.model_copy(update={"memories": (Memory(id="mem-1"),)})
    better = network([end("a"), lamp("x"), with_memory, foreign("far")], ways)

    def borders(one: Network) -> list[str]:
        return [offer.border for offer in border_offers(one, Usage(), "a", SecurityLevel.STANDARD, 1.0)]

    assert "gate" not in borders(net)
    assert "gate" in borders(better)


def test_the_promised_key_is_what_its_pairs_give() -> None:
    link = placed(one_way(), wanted(key_rate_bps=12_345.0))

    assert link.key_rate_bps >= 12_345.0
    assert link.key_rate_bps == pytest.approx(
        secret_key_rate_bps(link.pair_rate_hz, (4 * link.fidelity - 1) / 3)
    )
    assert max(claims_of(link, one_way()).values()) == link.hops[0].share_ppm


def test_rounding_shares_to_millionths_costs_no_fidelity() -> None:
    # Both hops are so fast that they work for some millionths only.
    net = one_way()
    route, source = Route(net.topology.nodes, net.topology.quantum_links, swap_at_b=False), Source(id="s")
    hops = tuple(
        PlannedHop(index, index + 1, index, source, 0.0, HopPhysics(rate_hz, 0.99, 1e9))
        for index, rate_hz in enumerate((1e6, 2.9e6))
    )
    swaps = (SwapPhysics(0.5, 0.99, t2_s=0.5),)
    plan = Plan(route, hops, (), (None, None), Needs(((), ()), ()), swaps, (1.0, 0.9), None)

    for step in range(100):
        least_werner = 0.35 + step / 1000
        ppm = shares_ppm(plan, sized(plan, lambda werner: 0.5, least_werner))
        assert plan.performance([part / 1e6 for part in ppm]).werner >= least_werner
