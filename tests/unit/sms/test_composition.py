"""Two operators' offers are joined at the border that takes least of them, or refused with what would fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmodel.chains import HopPhysics, SwapPhysics, chain_performance
from qmodel.entanglement import werner_of_fidelity
from qmodel.errors import Infeasible
from qmodel.links import BorderOffer, Join
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import secret_key_rate_bps
from qmodel.security import SecurityLevel
from qmodel.topology import Pass
from sms.domain.composition import Demand, Joined, choose, segment_requests

JOIN = Join(success=0.5, werner=0.99, t2_s=10.0)


def offer(node: str = "a", border: str = "gate", rate_hz: float = 1e6, **more: Any) -> BorderOffer:
    fields: dict[str, Any] = {
        "operator": "north" if node == "a" else "south",
        "node": node,
        "border": border,
        "pair_rate_hz": rate_hz,
        "werner": 0.98,
        "latency_s": 0.004,
        "handover": None if "join" in more else "h1",
    }
    return BorderOffer(**(fields | more))


def demand(**more: Any) -> Demand:
    fields: dict[str, Any] = {
        "purpose": Purpose.KEYS,
        "security_level": SecurityLevel.TOP_SECRET,
        "key_rate_bps": 1000.0,
        "pair_rate_hz": 0.0,
        "min_fidelity": 0.9,
        "max_latency_s": 1.0,
    }
    return Demand(**(fields | more))


def pairs(rate_hz: float, **more: Any) -> Demand:
    return demand(purpose=Purpose.PAIRS, key_rate_bps=0.0, pair_rate_hz=rate_hz, **more)


def passing(offset_s: float) -> Pass:
    return Pass(period_s=900.0, offset_s=offset_s, duration_s=300.0)


def refusals(a: list[BorderOffer], b: list[BorderOffer], wanted: Demand) -> list[dict[str, Any]]:
    with pytest.raises(Infeasible) as refused:
        choose(a, b, wanted, "l")
    found: list[dict[str, Any]] = refused.value.facts["refusals"]
    assert refused.value.detail == found[0]["reason"]
    return found


def joined_performance(joined: Joined, rates_hz: tuple[float, float]) -> tuple[float, float]:
    """(sustained pairs per second, Werner parameter) by the physics alone, for offers without passes."""
    hops = [HopPhysics(rate, o.werner, rate) for o, rate in zip((joined.a, joined.b), rates_hz, strict=True)]
    swap = SwapPhysics(joined.join.success, joined.join.werner, joined.join.t2_s)
    whole = chain_performance(hops, [swap])
    return whole.pair_rate_hz, whole.werner


def test_the_border_of_which_least_is_taken_is_chosen() -> None:
    a = [offer(border="near", rate_hz=1e4), offer(border="far", rate_hz=1e6), offer(border="ours")]
    b = [offer("b", border, 1e6, join=JOIN) for border in ("near", "far", "theirs")]

    assert choose(a, b, demand(), "l").border == "far"
    assert choose(list(reversed(a)), list(reversed(b)), demand(), "l").border == "far"


def test_the_rates_asked_of_both_sides_give_the_key() -> None:
    joined = choose([offer(rate_hz=1e5)], [offer("b", join=JOIN)], demand(), "l")

    rate_hz, werner = joined_performance(joined, joined.rates_hz)
    assert secret_key_rate_bps(rate_hz, werner) >= 1000.0
    assert 0 < joined.share <= 1
    assert joined.latency_s == pytest.approx(0.008)


def test_each_operator_is_asked_for_its_segment() -> None:
    joined = choose([offer()], [offer("b", join=JOIN)], demand(), "l")
    first, second = segment_requests("l", joined, demand())

    assert [(r.link_id, r.a, r.b, r.swap_at_b) for r in (first, second)] == [
        ("l", "a", "gate", True),
        ("l", "b", "gate", True),
    ]
    assert (first.metered, second.metered) == (True, False)
    assert (first.pair_rate_hz, second.pair_rate_hz) == joined.rates_hz
    assert first.key_rate_bps == second.key_rate_bps == 1000.0


@pytest.mark.parametrize("owner", ["a", "b"])
def test_both_operators_are_told_the_link_that_hands_over(owner: str) -> None:
    a = offer(join=JOIN) if owner == "a" else offer()
    b = offer("b", join=JOIN) if owner == "b" else offer("b")

    requests = segment_requests("l", choose([a], [b], demand(), "l"), demand())

    assert [request.handover for request in requests] == ["h1", "h1"]


def test_segments_that_just_keep_their_budgets_keep_that_of_the_whole() -> None:
    wanted = demand(min_fidelity=0.92, max_latency_s=0.1)
    joined = choose([offer(werner=0.97)], [offer("b", join=JOIN)], wanted, "l")
    first, second = segment_requests("l", joined, wanted)

    lost = joined.estimate.werner / (joined.a.werner * joined.b.werner)
    both = werner_of_fidelity(first.min_fidelity) * werner_of_fidelity(second.min_fidelity)
    assert both * lost == pytest.approx(werner_of_fidelity(0.92))
    assert first.max_latency_s + second.max_latency_s == pytest.approx(0.1)


def test_without_a_common_border_there_is_no_way() -> None:
    (refusal,) = refusals([offer(border="x")], [offer("b", "y", join=JOIN)], demand())
    assert refusal["constraint"] == "path"
    assert refusals([], [], demand())[0]["constraint"] == "path"


def test_a_border_at_which_nobody_swaps_is_no_way() -> None:
    (refusal,) = refusals([offer()], [offer("b")], demand())
    assert (refusal["constraint"], refusal["where"]) == ("path", "gate")


def test_too_slow_is_refused_and_the_latency_that_would_fit_does() -> None:
    a, b = [offer()], [offer("b", join=JOIN)]
    (refusal,) = refusals(a, b, demand(max_latency_s=0.005))

    assert refusal["constraint"] == "latency"
    assert choose(a, b, demand(max_latency_s=refusal["would_fit"]["max_latency_s"]), "l")


def test_too_poor_is_refused_with_the_fidelity_that_can_be_had() -> None:
    (refusal,) = refusals([offer(werner=0.8)], [offer("b", join=JOIN)], demand())

    assert refusal["constraint"] == "fidelity"
    assert 0.8 < refusal["would_fit"]["min_fidelity"] < 0.9


def test_the_border_that_came_nearest_is_told_first() -> None:
    borders: dict[str, dict[str, Any]] = {
        "slow": {"latency_s": 2.0},
        "poor": {"werner": 0.7},
        "thin": {"rate_hz": 10.0},
    }
    a = [offer(border=border, **fields) for border, fields in borders.items()]
    b = [offer("b", border, join=JOIN) for border in borders]

    found = refusals(a, b, demand())

    assert [one["where"] for one in found] == ["thin", "poor", "slow"]


def test_a_satellite_gives_only_during_its_pass() -> None:
    away = offer(rate_hz=1e5, visibility=passing(0.0))
    joined = choose([away], [offer("b", join=JOIN)], pairs(100.0), "l")

    assert joined.visibility == passing(0.0)
    assert joined.estimate.pair_rate_hz >= 100.0
    # What is asked of the other side is for the whole of the time.
    assert joined.rates_hz[1] > joined.rates_hz[0]


def test_two_satellites_join_as_long_as_both_are_there() -> None:
    a, b = offer(visibility=passing(0.0)), offer("b", join=JOIN, visibility=passing(200.0))
    joined = choose([a], [b], pairs(100.0), "l")

    assert joined.visibility is not None
    assert (joined.visibility.offset_s, joined.visibility.duration_s) == (200.0, 100.0)
    alone = choose([a], [offer("b", join=JOIN, visibility=passing(0.0))], pairs(100.0), "l")
    assert joined.rates_hz[0] == pytest.approx(3 * alone.rates_hz[0], rel=0.01)


def test_two_satellites_that_never_meet_are_no_way() -> None:
    a, b = offer(visibility=passing(0.0)), offer("b", join=JOIN, visibility=passing(450.0))
    (refusal,) = refusals([a], [b], pairs(1.0))

    assert refusal["constraint"] == "path"
    assert "never meet" in refusal["reason"]


RATES = st.floats(min_value=10.0, max_value=1e8)
WERNERS = st.floats(min_value=0.93, max_value=0.999)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    RATES, RATES, WERNERS, WERNERS, st.floats(min_value=0.01, max_value=20.0), st.sampled_from(list(Purpose))
)
def test_what_would_fit_does_and_never_takes_more_than_is_offered(
    a_hz: float, b_hz: float, a_werner: float, b_werner: float, t2_s: float, purpose: Purpose
) -> None:
    a = offer(rate_hz=a_hz, werner=a_werner)
    b = offer("b", rate_hz=b_hz, werner=b_werner, join=Join(success=0.5, werner=0.99, t2_s=t2_s))
    name = "key_rate_bps" if purpose is Purpose.KEYS else "pair_rate_hz"
    wanted = {"purpose": purpose, "min_fidelity": 0.5, "key_rate_bps": 0.0, "pair_rate_hz": 0.0}

    (refusal,) = refusals([a], [b], demand(**(wanted | {name: 1e12})))

    most = refusal["would_fit"].get(name, 0.0)
    if most > 0:
        joined = choose([a], [b], demand(**(wanted | {name: float(f"{most:g}")})), "l")
        assert joined.share <= 1
        rate_hz, werner = joined_performance(joined, joined.rates_hz)
        given_rate = secret_key_rate_bps(rate_hz, werner) if purpose is Purpose.KEYS else rate_hz
        assert given_rate >= most * (1 - 1e-5)
