"""Hops and chains: brightness has its price, loss never helps, memories beat their absence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodel.chains import (
    HopPhysics,
    Receiver,
    SwapPhysics,
    chain_performance,
    coincidences,
    mean_slowest_s,
)
from qmodel.errors import Invalid
from qmodel.hops import AT_HOME, arm, hop_physics, memory_of, swap_receiver
from qmodel.topology import Bsm, Memory, Node, PortRef, QuantumLink, Source

DETECTOR = Receiver(efficiency=0.85, dark_rate_hz=100, window_s=5e-10, dead_time_s=2e-8)
shares = st.floats(0.001, 1)
rates = st.floats(1, 1e6)
hops = st.builds(
    lambda rate, excess, w, herald: HopPhysics(rate, w, rate * excess, herald),
    rates,
    st.floats(1.0, 1e4),
    st.floats(0.5, 1),
    st.floats(0, 1e-3),
)
swaps = st.builds(SwapPhysics, st.floats(0.1, 1), st.floats(0.5, 1), st.one_of(st.none(), st.floats(0.1, 10)))


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[HopPhysics], list[SwapPhysics]]:
    count = draw(st.integers(1, 5))
    some_hops = draw(st.lists(hops, min_size=count, max_size=count))
    return some_hops, draw(st.lists(swaps, min_size=count - 1, max_size=count - 1))


@given(shares, shares, shares)
def test_more_loss_never_gives_more_pairs_or_better_ones(one: float, other: float, far: float) -> None:
    dim, bright = sorted((one, other))
    # Without dead time: a saturated detector does click more usefully behind some loss.
    eye = Receiver(efficiency=0.85, dark_rate_hz=100)
    worse = coincidences(1e9, 0.01, 0.99, (dim, far), (eye, eye))
    better = coincidences(1e9, 0.01, 0.99, (bright, far), (eye, eye))
    assert worse.pair_rate_hz <= better.pair_rate_hz * (1 + 1e-12)
    assert worse.werner <= better.werner + 1e-12
    assert 0 <= worse.werner <= 0.99


@given(st.floats(1e-4, 0.5), st.floats(1e-4, 0.5))
def test_a_brighter_source_makes_more_and_worse_pairs(one: float, other: float) -> None:
    weak, strong = sorted((one, other))
    eye = Receiver(dark_rate_hz=0)
    few = coincidences(1e9, weak, 0.99, (0.1, 0.1), (eye, eye))
    many = coincidences(1e9, strong, 0.99, (0.1, 0.1), (eye, eye))
    assert few.pair_rate_hz <= many.pair_rate_hz
    assert few.werner >= many.werner - 1e-12


def test_a_dim_clean_source_keeps_its_werner_parameter_and_mean_rate() -> None:
    hop = coincidences(1e6, 1e-6, 0.97, (0.5, 0.5), (Receiver(), Receiver()))
    assert hop.werner == pytest.approx(0.97, rel=1e-5)
    assert hop.pair_rate_hz == pytest.approx(1e6 * 1e-6 * 0.25, rel=1e-5)


def test_nothing_but_darkness_is_no_entanglement() -> None:
    hop = coincidences(1e9, 0.01, 0.99, (0.0, 0.5), (DETECTOR, DETECTOR))
    assert hop.werner == 0
    assert hop.pair_rate_hz > 0


def test_dead_time_caps_what_a_detector_can_count() -> None:
    hop = coincidences(1e13, 0.001, 0.99, (1.0, 0.9), (DETECTOR, Receiver()))
    assert hop.pair_rate_hz < 1 / DETECTOR.dead_time_s


def test_few_modes_and_a_long_herald_limit_the_attempts() -> None:
    memory = Receiver(efficiency=1.0, modes=10)
    hop = coincidences(1e9, 0.01, 0.99, (0.5, 0.5), (memory, DETECTOR), herald_s=1e-3)
    # Ten modes, each busy for a millisecond per absorbed photon: 10,000 photons, of which the partner's
    # detector sees 0.5 * 0.85.
    assert hop.pair_rate_hz == pytest.approx(10_000 * 0.5 * 0.85, rel=0.05)
    assert hop.trial_rate_hz == pytest.approx(10_000 / (0.01 * 0.5))


@given(chains())
def test_a_chain_is_no_better_than_its_parts(chain: tuple[list[HopPhysics], list[SwapPhysics]]) -> None:
    some_hops, some_swaps = chain
    result = chain_performance(some_hops, some_swaps)
    assert 0 < result.pair_rate_hz <= min(hop.pair_rate_hz for hop in some_hops) * (1 + 1e-9)
    assert 0 <= result.werner <= min(hop.werner for hop in some_hops)
    assert result.swap_success == pytest.approx(math.prod(swap.success for swap in some_swaps))


@given(chains())
def test_a_chain_is_the_same_from_either_end(chain: tuple[list[HopPhysics], list[SwapPhysics]]) -> None:
    some_hops, some_swaps = chain
    there = chain_performance(some_hops, some_swaps)
    back = chain_performance(some_hops[::-1], some_swaps[::-1])
    assert back.pair_rate_hz == pytest.approx(there.pair_rate_hz, rel=1e-6)
    assert back.werner == pytest.approx(there.werner, rel=1e-6)


@given(chains(), st.floats(0.01, 1), st.integers(0, 4))
def test_weakening_one_hop_never_makes_the_chain_faster(
    chain: tuple[list[HopPhysics], list[SwapPhysics]], share: float, which: int
) -> None:
    some_hops, some_swaps = chain
    weaker = list(some_hops)
    weaker[which % len(weaker)] = weaker[which % len(weaker)].scaled(share)
    before = chain_performance(some_hops, some_swaps).pair_rate_hz
    assert chain_performance(weaker, some_swaps).pair_rate_hz <= before * (1 + 1e-9)


@given(chains(), st.floats(0.01, 1))
def test_a_share_of_every_hop_gives_that_share_of_the_rate(
    chain: tuple[list[HopPhysics], list[SwapPhysics]], share: float
) -> None:
    some_hops, some_swaps = chain
    whole = chain_performance(some_hops, some_swaps).pair_rate_hz
    part = chain_performance([hop.scaled(share) for hop in some_hops], some_swaps).pair_rate_hz
    assert part == pytest.approx(share * whole, rel=1e-6)


def test_memories_beat_coincidence_in_one_trial() -> None:
    hop = HopPhysics(1e4, 0.95, 1e7)
    with_memory = chain_performance([hop, hop], [SwapPhysics(0.5, 0.99, t2_s=10.0)])
    without = chain_performance([hop, hop], [SwapPhysics(0.5, 0.99)])
    assert without.pair_rate_hz == pytest.approx(1e7 * 1e-3 * 1e-3 * 0.5)
    assert with_memory.pair_rate_hz == pytest.approx(0.5 * 1e4 / 1.5)
    assert with_memory.werner < without.werner


@given(st.lists(rates, min_size=1, max_size=6))
def test_the_slowest_of_several_is_bounded_by_the_slowest_and_by_their_sum(some: list[float]) -> None:
    mean_s = mean_slowest_s(some)
    assert (
        max(1 / rate for rate in some) * (1 - 1e-9) <= mean_s <= sum(1 / rate for rate in some) * (1 + 1e-9)
    )


def test_equal_hops_wait_a_harmonic_number() -> None:
    assert mean_slowest_s([100.0] * 4) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 100)


def test_one_dead_hop_kills_the_chain() -> None:
    dead = HopPhysics(0.0, 0.9, 1e6)
    result = chain_performance([dead, HopPhysics(10.0, 0.9, 1e6)], [SwapPhysics(0.5, 1.0)])
    assert (result.pair_rate_hz, result.werner) == (0.0, 0.0)


def test_a_limit_leaves_a_slower_hop_alone_and_scales_a_faster_one() -> None:
    hop = HopPhysics(100.0, 0.9, 1e4)
    assert hop.limited_to(200.0) is hop
    assert hop.limited_to(25.0) == HopPhysics(25.0, 0.9, 2500.0)


def test_chains_that_do_not_fit_together_are_refused() -> None:
    hop = HopPhysics(1.0, 0.9, 10.0)
    with pytest.raises(Invalid):
        chain_performance([hop, hop], [])
    with pytest.raises(Invalid):
        chain_performance([hop] * 17, [SwapPhysics(1.0, 1.0)] * 16)
    with pytest.raises(Invalid):
        coincidences(-1.0, 0.1, 1.0, (1.0, 1.0), (Receiver(), Receiver()))
    with pytest.raises(Invalid):
        Receiver(efficiency=1.5)
    with pytest.raises(Invalid):
        Receiver(window_s=0)


def test_a_photon_passes_every_switch_of_its_way_once() -> None:
    nodes = [Node(id=f"n{i}", operator="north", switch_loss_db=1.0 + i) for i in range(3)]
    links = [
        QuantumLink(
            id=f"l{i}",
            a=PortRef(node=f"n{i}", port="east"),
            b=PortRef(node=f"n{i + 1}", port="west"),
            length_km=10.0,
            extra_loss_db=0.5,
        )
        for i in range(2)
    ]
    way = arm(nodes, links)
    assert way.loss_db == pytest.approx(1 + 2 + 3 + 2 * (2.0 + 0.5))
    assert way.delay_s == pytest.approx(98e-6)
    assert arm(nodes[:1], []) == AT_HOME


def test_each_bsm_has_its_memory_bank_round_robin() -> None:
    node = Node(
        id="r",
        operator="north",
        bsms=(Bsm(id="b1"), Bsm(id="b2"), Bsm(id="b3")),
        memories=(Memory(id="m1"), Memory(id="m2")),
    )
    assert [memory_of(node, bsm).id for bsm in ("b1", "b2", "b3", "elsewhere")] == ["m1", "m2", "m1", "m1"]  # type: ignore[union-attr]
    assert memory_of(node.model_copy(update={"memories": ()}), "b1") is None
    assert swap_receiver(None) == Receiver()


def test_a_source_at_an_endpoint_loses_only_the_far_photon() -> None:
    far = arm([Node(id="a", operator="n"), Node(id="b", operator="n")], [_fibre()])
    hop = hop_physics(Source(id="s", trial_rate_hz=1e6), (AT_HOME, far), (Receiver(), Receiver()))
    assert hop.pair_rate_hz == pytest.approx(1e6 * 0.01 * 10 ** (-0.4), rel=0.05)


def _fibre() -> QuantumLink:
    return QuantumLink(
        id="l", a=PortRef(node="a", port="east"), b=PortRef(node="b", port="west"), length_km=10.0
    )
