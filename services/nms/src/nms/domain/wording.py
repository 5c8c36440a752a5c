"""Why a link runs where it runs, in one sentence for a person."""

from __future__ import annotations

from nms.domain.chainplan import Plan
from qmodel.chains import Performance


def reason_of(plan: Plan, performance: Performance, share_ppm: int, coherent: bool) -> str:
    """Such as "least loss (9.4 dB in 2 hops), source at n1, swapped at n2; takes 12 % of its hops"."""
    loss_db = sum(hop.loss_db for hop in plan.hops)
    sources = ", ".join(dict.fromkeys(plan.route.ids[hop.at] for hop in plan.hops))
    swaps = ", ".join(plan.route.ids[hop.begin] for hop in plan.hops[1:])
    parts = [
        f"least-cost feasible path ({loss_db:.1f} dB in {len(plan.hops)} hop{'s'[: len(plan.hops) - 1]})"
    ]
    parts.append(f"source at {sources}" + (f", swapped at {swaps}" if swaps else ""))
    if plan.visibility is not None:
        parts.append(f"light for {100 * plan.duty:.0f} % of the time (hypothetical passes)")
    parts.append(f"fidelity {performance.fidelity:.3f}, takes {share_ppm / 1e4:.1f} % of its busiest hop")
    parts.append("timing in the same conduits" if coherent else "timing by a protocol without delay")
    return "; ".join(parts)
