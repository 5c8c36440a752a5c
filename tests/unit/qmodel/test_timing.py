"""Timing: what drifts, and what a window tolerates."""

from __future__ import annotations

import pytest

from qmodel import timing
from qmodel.errors import Invalid


def test_one_nanosecond_is_about_a_fifth_of_a_metre_of_fibre() -> None:
    assert timing.fibre_length_of_m(1e-9) == pytest.approx(0.204, abs=0.001)


def test_a_separate_route_drifts_out_of_a_sub_nanosecond_budget_and_a_shared_one_does_not() -> None:
    assert timing.differential_drift_s(50, 10) > timing.SUB_NANOSECOND_S
    assert timing.differential_drift_s(50, 0.1) < timing.SUB_NANOSECOND_S


def test_jitter_eats_the_window_until_nothing_is_left() -> None:
    assert timing.timing_budget_s(5e-10, ()) == pytest.approx(2.5e-10)
    assert 0 < timing.timing_budget_s(5e-10, (5e-11, 5e-11)) < 2.5e-10
    assert timing.timing_budget_s(5e-10, (1e-9,)) == 0


def test_absurd_values_are_refused() -> None:
    with pytest.raises(Invalid):
        timing.differential_drift_s(-1, 1)
    with pytest.raises(Invalid):
        timing.timing_budget_s(0, ())
