"""The state of a link in force: what its elements report, against what was asked of it.

`usecases.link` calls `judge` whenever a report, a commit, a fault or time may have changed the answer. Pure:
it is told the time and never looks at a clock. It decides nothing about healing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qmodel.contracts.ems import CircuitReadiness
from qmodel.links import LinkRequest, LinkState, Placement
from qmodel.security import POLICIES

IN_FORCE = (LinkState.STABILIZING, LinkState.UP, LinkState.DOWN)


@dataclass(frozen=True)
class Report:
    """What one element last said of one link. `stale`: said before the present configuration was committed,
    and recently enough that a new word may still be on its way."""

    circuit: CircuitReadiness
    stale: bool = False


@dataclass(frozen=True)
class Circumstances:
    """What holds besides the elements' reports.

    `cause` is the fault that cuts the link, if one is known. `lit`: photons can be expected now (a satellite
    is overhead, or none is needed). `overdue`: it has been stabilizing for much longer than forecast."""

    cause: str | None = None
    lit: bool = True
    overdue: bool = False


@dataclass(frozen=True)
class Standing:
    """A state with its reason; `expected_in_s` is the domain time until it should be up."""

    state: LinkState
    reason: str = ""
    expected_in_s: float = 0.0


def judge(
    now: LinkState,
    parts: Iterable[str],
    reports: Mapping[str, Report],
    least_fidelity: float,
    around: Circumstances,
) -> Standing:
    """The standing of a link in force whose circuits run on the elements `parts`.

    STABILIZING becomes UP when every part is ready and no measured fidelity is below `least_fidelity`. UP
    becomes DOWN by a loss, but not while a satellite is away; DOWN becomes UP when everything is ready.
    """
    if around.cause is not None:
        return Standing(LinkState.DOWN, around.cause)
    lacking, expected_in_s = _lacking(parts, reports, least_fidelity)
    if not lacking:
        return Standing(LinkState.UP, "every element is ready and the measured fidelity holds")
    if now is LinkState.UP and not around.lit:
        return Standing(LinkState.UP, "between passes")
    if now is LinkState.STABILIZING and not around.overdue:
        return Standing(LinkState.STABILIZING, lacking, expected_in_s)
    if now is LinkState.STABILIZING:
        return Standing(LinkState.DOWN, f"did not settle in time: {lacking}", expected_in_s)
    return Standing(LinkState.DOWN, lacking, expected_in_s)


def _lacking(parts: Iterable[str], reports: Mapping[str, Report], least_fidelity: float) -> tuple[str, float]:
    """What is missing, as one sentence ("" if nothing is), and for how long (domain time, seconds)."""
    missing: list[str] = []
    expected_in_s = 0.0
    for element in sorted(parts):
        report = reports.get(element)
        if report is None or report.stale:
            missing.append(f"{element} has not reported yet")
            continue
        circuit = report.circuit
        if not circuit.ready:
            missing.append(f"{element}: {circuit.reason or 'not ready'}")
            expected_in_s = max(expected_in_s, circuit.expected_in_s)
        elif circuit.fidelity is not None and circuit.fidelity < least_fidelity:
            missing.append(f"{element} measures fidelity {circuit.fidelity:.3f}, below {least_fidelity:.3f}")
    return "; ".join(missing), expected_in_s


def least_fidelity(request: LinkRequest, border: bool, tolerance: float) -> float:
    """The fidelity in [0, 1] that elements must measure for the link to count as up.

    What a segment's endpoint measures is the whole link's fidelity, which other operators' segments lower as
    well: at a `border` only the security level's own bound can be held against it.
    """
    asked = POLICIES[request.security_level].min_fidelity if border else request.min_fidelity
    return max(0.25, asked - tolerance)


def lit(placement: Placement, domain_now_s: float, acquisition_s: float) -> bool:
    """Whether the placement's photons can be expected now, `acquisition_s` after the start of a pass."""
    visibility = placement.visibility
    if visibility is None:
        return True
    return visibility.open_at(domain_now_s) and (
        domain_now_s - visibility.next_start_s(domain_now_s) >= acquisition_s
    )
