"""Slow changes of temperature and polarization: bounded, smooth, and the same in every run.

Each thing drifts with its own phase, taken from its name, on the domain clock. No randomness: a test that
knows the time knows the drift.
"""

from __future__ import annotations

import math
from zlib import crc32

_DAY_S = 86400.0
_HOUR_S = 3600.0


def temperature_c(name: str, now_s: float) -> float:
    """Temperature in degrees Celsius of a component: 22 within half a degree, over a day."""
    return 22.0 + 0.5 * _wave(name, now_s, _DAY_S)


def residual_rotation_deg(name: str, now_s: float) -> float:
    """Rotation of polarization, in degrees, that compensation leaves over: within half a degree."""
    return 0.35 * _wave(name, now_s, _HOUR_S) + 0.15 * _wave(name + "'", now_s, _HOUR_S / 7)


def timing_offset_ps(name: str, now_s: float) -> float:
    """Offset of a disciplined timing module from its master, picoseconds: within 20."""
    return 20.0 * _wave(name, now_s, 4 * _HOUR_S)


def loss_variation_db(name: str, now_s: float) -> float:
    """Variation of a line's loss around its mean, in dB: within 0.02."""
    return 0.02 * _wave(name, now_s, _DAY_S)


def rotation_werner(rotation_deg: float) -> float:
    """What a residual rotation leaves of the Werner parameter: cos 2 theta, the contrast of a polarizer
    turned by theta (Malus)."""
    return math.cos(2.0 * math.radians(rotation_deg))


def _wave(name: str, now_s: float, period_s: float) -> float:
    """In [-1, 1]."""
    phase = crc32(name.encode()) / 2**32
    return math.sin(2.0 * math.pi * ((now_s % period_s) / period_s + phase))
