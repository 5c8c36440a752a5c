"""When satellites give light: passes that must overlap for a link over several of them.

Placement asks for the passes along one operator's route, composition for those of the segments that it joins.
"""

from __future__ import annotations

from collections.abc import Iterable

from qmodel.topology import Pass

_SAME_PERIOD = 1e-9
"""Relative difference up to which two periods are the same."""


def joint_pass(passes: Iterable[Pass]) -> Pass | None:
    """The longest window of each period in which all of `passes` are open, or None if there is none.

    Passes of different periods have no common calendar and give None as well. Raises ValueError for an empty
    list."""
    first, *rest = passes
    joint: Pass | None = first
    for other in rest:
        joint = joint and _overlap(joint, other)
    return joint


def _overlap(one: Pass, other: Pass) -> Pass | None:
    period_s = one.period_s
    if abs(other.period_s - period_s) > _SAME_PERIOD * period_s:
        return None
    begin_s, length_s = one.offset_s % period_s, min(one.duration_s, period_s)
    best: tuple[float, float] | None = None
    for turn in (-1, 0, 1):
        other_s = other.offset_s % period_s + turn * period_s
        start_s = max(begin_s, other_s)
        open_s = min(begin_s + length_s, other_s + min(other.duration_s, period_s)) - start_s
        if open_s > 0 and (best is None or open_s > best[1]):
            best = (start_s % period_s, open_s)
    if best is None:
        return None
    return Pass(
        period_s=period_s,
        offset_s=best[0],
        duration_s=best[1],
        max_elevation_deg=min(one.max_elevation_deg, other.max_elevation_deg),
    )
