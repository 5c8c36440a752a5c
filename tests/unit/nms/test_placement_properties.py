"""Whatever the network and whatever is asked: nothing is overbooked, and promises are kept."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.nms.checking import faults, taken_ppm
from tests.unit.nms.networks import IDLE, beside, clock, fibre, network, own

from nms.domain.network import Network
from nms.domain.nodeconfig import node_configs
from nms.domain.placement import place
from nms.domain.usage import WHOLE_PPM, Usage, claims_of, usage_of
from qmodel.links import LinkRequest
from qmodel.nodeconfig import Purpose
from qmodel.security import SecurityLevel
from qmodel.topology import Bsm, Detector, Memory, Node, QuantumLink, Source, TimingLink

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
LEVELS = st.sampled_from(list(SecurityLevel))


def devices(kind: Callable[..., Any], least: int, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """From `least` to two devices of a node, named alike at every node."""
    one = st.fixed_dictionaries(fields)
    return st.lists(one, min_size=least, max_size=2).map(
        lambda drawn: tuple(kind(id=f"{kind.__name__.lower()}-{i}", **each) for i, each in enumerate(drawn))
    )


SOURCES = devices(
    Source,
    1,
    trial_rate_hz=st.sampled_from([1e9, 1e11]),
    pairs_per_pulse=st.sampled_from([0.001, 0.01, 0.05]),
    werner=st.sampled_from([0.97, 0.999]),
)
BSMS = devices(Bsm, 1, success=st.sampled_from([0.25, 0.5]), werner=st.sampled_from([0.97, 0.999]))
MEMORIES = devices(Memory, 0, modes=st.sampled_from([1000, 1_000_000]), t2_s=st.sampled_from([0.05, 5.0]))


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Node:
    """Sites a, b and c detect and may have a source; between them x, y and z make pairs and swap."""
    site = name in "abc"
    return own(
        name,
        clearance=draw(st.sampled_from([SecurityLevel.SECRET, *[SecurityLevel.TOP_SECRET] * 5])),
        trusted_relay=draw(st.sampled_from([False, False, True])),
        sources=draw(st.just(()) | SOURCES) if site else draw(SOURCES),
        bsms=() if site else draw(BSMS),
        memories=() if site else draw(MEMORIES),
        detectors=(Detector(id="det-0"), Detector(id="det-1")) if site else (),
    )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A line of six nodes with a few chords; timing beside most. Some are so long that only swaps help."""
    names = "axyzbc"
    pairs = [*pairwise(names)]
    chords = [(p, q) for i, p in enumerate(names) for q in names[i + 2 :]]
    pairs += draw(st.lists(st.sampled_from(chords), max_size=3, unique=True))
    lengths_km = draw(st.sampled_from([st.sampled_from([2.0, 20.0, 50.0]), st.sampled_from([80.0, 100.0])]))
    shared = st.sampled_from([None, None, "c-duct"])
    links: list[QuantumLink] = []
    clocks: list[TimingLink] = []
    for p, q in pairs:
        duct = draw(shared)
        links.append(fibre(p, q, draw(lengths_km), conduits=(duct or f"c-{p}-{q}",)))
        kind = draw(st.sampled_from([*["beside"] * 6, "elsewhere", "none"]))
        if kind != "none":
            clocks.append(beside(links[-1]) if kind == "beside" else clock(p, q, 5))
    return network([draw(nodes(name)) for name in names], links, clocks)


@st.composite
def requests(draw: st.DrawFn, link_id: str) -> LinkRequest:
    a, b = draw(st.permutations("abc"))[:2]
    purpose = draw(st.sampled_from(list(Purpose)))
    rate = draw(st.sampled_from([0.1, 1.0, 10.0, 1000.0, 1e5])) * draw(st.floats(0.5, 5.0))
    avoid = draw(st.lists(st.sampled_from(["x", "y", "z", "a-x", "z-b", "c-duct"]), max_size=1))
    return LinkRequest(
        link_id=link_id,
        a=a,
        b=b,
        purpose=purpose,
        security_level=draw(LEVELS),
        key_rate_bps=rate if purpose is Purpose.KEYS else 0.0,
        pair_rate_hz=rate if purpose is Purpose.PAIRS else 0.0,
        min_fidelity=draw(st.sampled_from([0.5, 0.85, 0.95])),
        max_latency_s=draw(st.sampled_from([1.0, 1.0, 1.0, 1e-3])),
        avoid=tuple(avoid),
    )


BATCHES = st.integers(1, 5).flatmap(lambda n: st.tuples(*(requests(f"l{i}") for i in range(n))))


@FEW
@given(networks(), BATCHES)
def test_every_placement_keeps_its_promises(net: Network, batch: tuple[LinkRequest, ...]) -> None:
    outcome = place(net, IDLE, batch)

    answered = {one.link_id for one in outcome.placements} | {one.link_id for one in outcome.refusals}
    assert answered == {request.link_id for request in batch}
    for placement in outcome.placements:
        assert faults(placement, net) == [], placement.why
    for refusal in outcome.refusals:
        assert refusal.reason
        assert all(value >= 0 for value in refusal.would_fit.values())


@FEW
@given(networks(), BATCHES, st.integers(0, WHOLE_PPM))
def test_nothing_is_ever_taken_twice(net: Network, batch: tuple[LinkRequest, ...], before: int) -> None:
    resources = [f"source/{node.id}/{one.id}" for node in net.topology.nodes for one in node.sources]
    busy = Usage(dict.fromkeys(resources, before))

    placements = place(net, busy, batch).placements

    after = busy.plus(usage_of(placements, net).taken_ppm)
    assert all(0 <= ppm <= WHOLE_PPM for ppm in after.taken_ppm.values())
    assert all(ppm <= WHOLE_PPM for ppm in taken_ppm(placements).values())


@FEW
@given(networks(), BATCHES, st.randoms(use_true_random=False))
def test_releasing_gives_back_exactly_what_was_taken(
    net: Network, batch: tuple[LinkRequest, ...], random: Any
) -> None:
    placements = list(place(net, IDLE, batch).placements)
    usage = usage_of(placements, net)

    random.shuffle(placements)
    for placement in placements:
        usage = usage.minus(claims_of(placement, net))

    assert usage.taken_ppm == {}


@FEW
@given(networks(), requests("l"))
def test_a_rate_that_is_said_to_fit_does(net: Network, request: LinkRequest) -> None:
    rate = "key_rate_bps" if request.purpose is Purpose.KEYS else "pair_rate_hz"
    (refusal,) = place(net, IDLE, [request.model_copy(update={rate: 1e13})]).refusals

    fits = refusal.would_fit.get(rate, 0.0)
    if fits > 0:
        assert place(net, IDLE, [request.model_copy(update={rate: fits})]).placements


@FEW
@given(networks(), requests("l"), st.floats(min_value=0.001, max_value=1.0))
def test_who_asks_for_less_is_not_refused(net: Network, request: LinkRequest, part: float) -> None:
    if place(net, IDLE, [request]).placements:
        rates = {"key_rate_bps": request.key_rate_bps, "pair_rate_hz": request.pair_rate_hz}
        less = request.model_copy(update={name: rate * part for name, rate in rates.items()})
        assert place(net, IDLE, [less]).placements


@FEW
@given(networks(), BATCHES, st.randoms(use_true_random=False))
def test_targets_do_not_depend_on_the_order_and_are_metered_once(
    net: Network, batch: tuple[LinkRequest, ...], random: Any
) -> None:
    placements = list(place(net, IDLE, batch).placements)
    configs = node_configs(placements, net)

    random.shuffle(placements)

    assert node_configs(placements, net) == configs
    metered = [c.link_id for config in configs.values() for c in config.circuits if c.metered]
    assert sorted(metered) == sorted(placement.link_id for placement in placements)
