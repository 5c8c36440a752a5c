"""Secret key: finite blocks never beat endless ones and tend to them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodel import secretkey as key
from qmodel.errors import Invalid

werners = st.floats(0, 1)
parameters = st.builds(
    key.KeyParameters,
    reconciliation_efficiency=st.floats(1, 2),
    block_pairs=st.floats(1e3, 1e12),
    epsilon_secrecy=st.floats(1e-15, 1e-3),
    sampling_basis_share=st.floats(0.01, 0.5),
)


@given(werners, parameters)
def test_finite_key_is_between_nothing_and_the_asymptotic_rate(w: float, some: key.KeyParameters) -> None:
    assert 0 <= key.secret_key_per_pair(w, some) <= key.asymptotic_key_per_pair(w, some) <= 1


@given(st.floats(0.85, 1))
def test_endless_blocks_reach_the_asymptotic_rate(w: float) -> None:
    huge = replace(key.DEFAULT_KEY_PARAMETERS, block_pairs=1e18)
    assert key.secret_key_per_pair(w, huge) == pytest.approx(key.asymptotic_key_per_pair(w, huge), abs=1e-5)


@given(werners, werners)
def test_better_pairs_never_give_less_key(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert key.secret_key_per_pair(low) <= key.secret_key_per_pair(high) + 1e-12


@given(st.floats(0.7, 1), st.floats(1e4, 1e10), st.floats(1, 100))
def test_larger_blocks_never_give_less_key(w: float, block: float, factor: float) -> None:
    small = replace(key.DEFAULT_KEY_PARAMETERS, block_pairs=block)
    large = replace(key.DEFAULT_KEY_PARAMETERS, block_pairs=block * factor)
    assert key.secret_key_per_pair(w, small) <= key.secret_key_per_pair(w, large) + 1e-12


@given(st.floats(0.9, 1), st.floats(0, 1e6))
def test_the_pair_rate_for_a_key_rate_gives_that_key_rate(w: float, rate_bps: float) -> None:
    needed_hz = key.pair_rate_for_key_hz(rate_bps, w)
    assert key.secret_key_rate_bps(needed_hz, w) == pytest.approx(rate_bps)


def test_no_key_beyond_eleven_per_cent_errors_at_the_shannon_limit() -> None:
    ideal = key.KeyParameters(reconciliation_efficiency=1.0)
    assert key.asymptotic_key_per_pair(1 - 2 * 0.1101, ideal) == 0
    assert key.asymptotic_key_per_pair(1 - 2 * 0.1099, ideal) > 0


def test_key_begins_where_it_is_said_to_begin() -> None:
    edge = key.min_werner_for_key()
    assert key.secret_key_per_pair(edge) > 0
    assert key.secret_key_per_pair(edge - 1e-5) == 0
    assert key.min_werner_for_key(replace(key.DEFAULT_KEY_PARAMETERS, block_pairs=100)) == 1
    assert math.isinf(key.pair_rate_for_key_hz(1.0, edge - 0.01))


def test_a_block_fills_at_the_pair_rate() -> None:
    assert key.block_time_s(1e5) == pytest.approx(100)
    assert math.isinf(key.block_time_s(0.0))


def test_entropy_is_one_bit_for_a_fair_coin_and_none_for_a_sure_one() -> None:
    assert [key.binary_entropy(p) for p in (0.0, 0.5, 1.0)] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "bad",
    [
        {"reconciliation_efficiency": 0.9},
        {"block_pairs": 0},
        {"epsilon_secrecy": 0},
        {"sampling_basis_share": 0.6},
    ],
)
def test_absurd_parameters_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        key.KeyParameters(**bad)


def test_negative_rates_and_entropies_are_refused() -> None:
    with pytest.raises(Invalid):
        key.secret_key_rate_bps(-1.0, 0.9)
    with pytest.raises(Invalid):
        key.pair_rate_for_key_hz(-1.0, 0.9)
    with pytest.raises(Invalid):
        key.binary_entropy(1.5)
