"""Light's way: limits, monotonicity and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodel import propagation as light
from qmodel.errors import Invalid

lengths = st.floats(0, 2000)
elevations = st.floats(5, 90)


def test_fifty_kilometres_of_fibre_let_a_tenth_through_in_a_quarter_millisecond() -> None:
    assert light.fibre_transmissivity(50.0) == pytest.approx(0.1)
    assert light.fibre_delay_s(50.0) == pytest.approx(245e-6)


@given(lengths, lengths)
def test_a_longer_fibre_never_lets_more_through(one: float, other: float) -> None:
    short, long = sorted((one, other))
    assert 0 < light.fibre_transmissivity(long) <= light.fibre_transmissivity(short) <= 1


@given(st.floats(0, 200))
def test_loss_and_transmissivity_are_inverse(decibels: float) -> None:
    assert light.loss_db(light.transmissivity(decibels)) == pytest.approx(decibels, abs=1e-9)


def test_arrays_give_what_their_elements_give() -> None:
    many = np.array([0.0, 10.0, 50.0])
    assert light.fibre_transmissivity(many) == pytest.approx([light.fibre_transmissivity(x) for x in many])
    assert light.loss_db(light.transmissivity(many)) == pytest.approx(many)


@given(elevations, elevations)
def test_a_satellite_lower_in_the_sky_is_farther_and_dimmer(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert light.slant_range_km(500, low) >= light.slant_range_km(500, high) - 1e-9
    assert light.air_mass(low) >= light.air_mass(high)
    assert light.downlink_loss_db(500, low) >= light.downlink_loss_db(500, high) - 1e-9


def test_the_zenith_is_as_far_as_the_satellite_is_high() -> None:
    assert light.slant_range_km(500, 90) == pytest.approx(500)
    assert light.air_mass(90) == pytest.approx(1.0, abs=1e-3)


def test_a_beam_like_that_of_micius_spreads_and_loses_what_was_published() -> None:
    # Liao et al., Nature 549, 43 (2017): 12 m wide after 1,200 km, 22 dB by diffraction into a 1 m telescope.
    beam_m = light.beam_radius_m(1.2e6, 0.106, 850e-9, beam_quality=2.0)
    assert beam_m == pytest.approx(6.0, rel=0.05)
    assert 17 < light.loss_db(light.diffraction_transmissivity(beam_m, 1.0)) < 23


def test_a_worse_beam_costs_more() -> None:
    assert light.downlink_loss_db(500, 45, beam_quality=4.0) > light.downlink_loss_db(500, 45) + 6


@given(st.floats(1e3, 3e6), st.floats(0, 1e-4))
def test_pointing_jitter_only_costs(distance_m: float, jitter_rad: float) -> None:
    beam_m = light.beam_radius_m(distance_m, 0.1, 810e-9)
    assert beam_m >= 0.1
    assert 0 < light.pointing_transmissivity(distance_m, jitter_rad, beam_m) <= 1
    assert light.pointing_transmissivity(distance_m, 0.0, beam_m) == 1


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_an_aperture_catches_a_share_of_the_beam(beam_m: float, aperture_m: float) -> None:
    assert 0 < light.diffraction_transmissivity(beam_m, aperture_m) <= 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: light.transmissivity(-1.0),
        lambda: light.transmissivity(math.nan),
        lambda: light.loss_db(0.0),
        lambda: light.fibre_delay_s(-1.0),
        lambda: light.vacuum_delay_s(-1.0),
        lambda: light.slant_range_km(-5, 45),
        lambda: light.slant_range_km(500, 0),
        lambda: light.air_mass(91),
        lambda: light.atmosphere_transmissivity(1.2, 45),
        lambda: light.pointing_transmissivity(1.0, -1.0, 1.0),
        lambda: light.beam_radius_m(1.0, 0.0, 1.0),
        lambda: light.diffraction_transmissivity(1.0, 0.0),
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(Invalid):
        call()  # type: ignore[operator]
