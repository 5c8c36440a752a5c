"""What a whole link gives now: the chain's physics under its limits, the drift, and the passes.

The one place where the emulator turns physics into rates; the functions are those that placement predicts
with, so that only the world can make a difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from emulator.world.chain import Chain
from emulator.world.drift import residual_rotation_deg, rotation_werner
from qmodel.chains import chain_performance
from qmodel.entanglement import fidelity
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import secret_key_rate_bps
from qmodel.topology import Pass


@dataclass(frozen=True)
class LinkPerformance:
    """`pair_rate_hz` and `key_rate_bps` are what the link can give; fidelity in [0.25, 1]."""

    pair_rate_hz: float
    werner: float
    key_rate_bps: float

    @property
    def fidelity(self) -> float:
        return fidelity(self.werner)


def link_performance(chain: Chain, purpose: Purpose, now_s: float) -> LinkPerformance:
    """What `chain` gives at `now_s`.

    Over a satellite, a link for keys gives its sustained average all the time, since between passes keys
    come from the stores that passes fill; a link for pairs gives its whole rate, during passes only (see
    `light_s`). Limits of the circuits are sustained averages in both cases.
    """
    duty = min((window.duty for window in chain.passes), default=1.0)
    hops = []
    for hop, limit_hz in zip(chain.hops, chain.hop_limits_hz, strict=True):
        if purpose is Purpose.KEYS:
            hops.append(hop.scaled(duty).limited_to(limit_hz))
        else:
            hops.append(hop.limited_to(limit_hz / duty))
    given = chain_performance(hops, chain.swaps)
    rotation_deg = sum(residual_rotation_deg(node, now_s) for node in (chain.nodes[0], chain.nodes[-1]))
    werner = given.werner * rotation_werner(rotation_deg)
    return LinkPerformance(given.pair_rate_hz, werner, secret_key_rate_bps(given.pair_rate_hz, werner))


def next_light_s(passes: Iterable[Pass], now_s: float) -> float:
    """How long until all passes are open at once, in seconds; 0 if they are. Looks 1000 passes ahead and
    gives infinity beyond."""
    windows = set(passes)
    at_s = now_s
    for _ in range(_MAX_CHANGES):
        closed = [window for window in windows if not window.open_at(at_s)]
        if not closed:
            return at_s - now_s
        at_s = max(_next_change_s(window, at_s) for window in closed)
    return math.inf


def light_s(passes: Iterable[Pass], from_s: float, to_s: float) -> float:
    """For how many seconds between the two times all passes are open. With several different passes, what
    lies beyond 1000 changes is taken as their mean."""
    windows = set(passes)
    if not windows:
        return max(0.0, to_s - from_s)
    if len(windows) == 1:
        window = windows.pop()
        return max(0.0, _lit_until_s(window, to_s) - _lit_until_s(window, from_s))
    lit_s, at_s = 0.0, from_s
    for _ in range(_MAX_CHANGES):
        if at_s >= to_s:
            return lit_s
        until_s = min(to_s, *(_next_change_s(window, at_s) for window in windows))
        if all(window.open_at((at_s + until_s) / 2.0) for window in windows):
            lit_s += until_s - at_s
        at_s = until_s
    return lit_s + (to_s - at_s) * min(window.duty for window in windows)


_MAX_CHANGES = 1000
_STEP_S = 1e-6
"""Between two changes at least, so that rounding cannot hold up time."""


def _lit_until_s(window: Pass, at_s: float) -> float:
    """Light of one pass from its offset until `at_s`, in seconds; negative before."""
    whole, into_s = divmod(at_s - window.offset_s, window.period_s)
    duration_s = min(window.duration_s, window.period_s)
    return whole * duration_s + min(into_s, duration_s)


def _next_change_s(window: Pass, now_s: float) -> float:
    """The next time at which the pass opens or closes."""
    into_s = (now_s - window.offset_s) % window.period_s
    ahead_s = window.duration_s - into_s if into_s < window.duration_s else window.period_s - into_s
    return now_s + max(ahead_s, _STEP_S)
