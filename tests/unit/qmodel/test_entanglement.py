"""Werner states: conversions, swapping, storage and purification."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodel import entanglement as ent
from qmodel.errors import Invalid

werners = st.floats(0, 1)


@given(werners)
def test_every_figure_of_a_werner_state_is_within_its_bounds(w: float) -> None:
    assert 0.25 <= ent.fidelity(w) <= 1
    assert 0 <= ent.qber(w) <= 0.5
    assert 0 <= ent.chsh(w) <= 2 * math.sqrt(2) + 1e-12
    assert 0.5 <= ent.teleportation_fidelity(w) <= 1
    assert ent.teleportation_fidelity(w) == pytest.approx((2 * ent.fidelity(w) + 1) / 3)
    assert ent.werner_of_fidelity(ent.fidelity(w)) == pytest.approx(w, abs=1e-12)
    assert ent.werner_of_qber(ent.qber(w)) == pytest.approx(w, abs=1e-12)


@given(st.lists(werners, min_size=2, max_size=5), st.lists(werners, max_size=4))
def test_swapping_is_symmetric_and_never_improves(pairs: list[float], bsms: list[float]) -> None:
    joined = ent.swapped_werner(pairs, bsms)
    for order in itertools.islice(itertools.permutations(pairs), 6):
        assert ent.swapped_werner(order, reversed(bsms)) == pytest.approx(joined)
    assert joined <= min(pairs)


def test_swapping_with_a_perfect_pair_changes_nothing() -> None:
    assert ent.swapped_werner([0.83, 1.0], [1.0]) == 0.83


@given(werners, st.floats(0, 10), st.floats(0, 10), st.floats(1e-3, 10))
def test_storing_longer_never_helps(w: float, one: float, other: float, t2_s: float) -> None:
    short, long = sorted((one, other))
    assert 0 <= ent.stored_werner(w, long, t2_s) <= ent.stored_werner(w, short, t2_s) <= w


@given(st.floats(0.51, 0.999))
def test_bbpssw_improves_two_equal_pairs_above_one_half(f: float) -> None:
    better, success = ent.bbpssw(f, f)
    assert f < better <= 1
    assert 0.5 < success <= 1


@given(st.floats(0.34, 0.999))
def test_dejmps_of_werner_states_has_the_fidelity_of_bbpssw(w: float) -> None:
    state = ent.bell_coefficients(w)
    purified, success = ent.dejmps(state, state)
    expected, expected_success = ent.bbpssw(ent.fidelity(w), ent.fidelity(w))
    assert purified[0] == pytest.approx(expected)
    assert success == pytest.approx(expected_success)
    assert sum(purified) == pytest.approx(1)


def test_a_second_dejmps_round_beats_bbpssw() -> None:
    state = ent.bell_coefficients(0.8)
    once, _ = ent.dejmps(state, state)
    twice, _ = ent.dejmps(once, once)
    f1, _ = ent.bbpssw(ent.fidelity(0.8), ent.fidelity(0.8))
    assert twice[0] > ent.bbpssw(f1, f1)[0]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_a_value_out_of_range_is_refused(bad: float) -> None:
    for function in (ent.fidelity, ent.qber, ent.chsh, ent.werner_of_fidelity, ent.werner_of_qber):
        with pytest.raises(Invalid):
            function(bad)
    with pytest.raises(Invalid):
        ent.bbpssw(bad, 0.9)
    with pytest.raises(Invalid):
        ent.swapped_werner([bad])
    with pytest.raises(Invalid):
        ent.dejmps((bad, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))


def test_a_memory_without_coherence_is_refused() -> None:
    with pytest.raises(Invalid):
        ent.stored_werner(0.9, 1.0, 0.0)
