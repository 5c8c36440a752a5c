"""How well two ends must agree on time, and how far a timing route may drift from the photons'.

Placement and calibration use it. The static offset between the routes is calibrated away; what remains is
the differential drift, which eats the coincidence window.
"""

from __future__ import annotations

import math

from qmodel.errors import Invalid
from qmodel.propagation import FIBRE_DELAY_S_PER_KM

FIBRE_DRIFT_S_PER_KM_K = 37e-12
"""Thermal change of a fibre's delay; Slavík et al., Sci. Rep. 5, 15447 (2015)."""
SUB_NANOSECOND_S = 1e-9


def differential_drift_s(length_km: float, temperature_difference_k: float) -> float:
    """Drift between two fibres of `length_km` whose temperatures move apart by this many kelvin. In one
    conduit the difference is a fraction of a kelvin; in different ones it may be ten."""
    if length_km < 0:
        raise Invalid("length_km must not be negative")
    return abs(length_km * temperature_difference_k) * FIBRE_DRIFT_S_PER_KM_K


def timing_budget_s(window_s: float, jitters_s: tuple[float, ...], sigmas: float = 2.0) -> float:
    """Drift, seconds, that a coincidence window still tolerates on either side once independent jitters
    (standard deviations of detectors and clocks) have taken `sigmas` of their joint spread; at least 0."""
    if window_s <= 0 or any(jitter < 0 for jitter in jitters_s):
        raise Invalid("the window must be positive and jitters must not be negative")
    return max(0.0, window_s / 2.0 - sigmas * math.hypot(*jitters_s))


def fibre_length_of_m(offset_s: float) -> float:
    """The length of fibre, metres, that a time offset stands for: 1 ns is about 0.2 m."""
    return offset_s / FIBRE_DELAY_S_PER_KM * 1e3
