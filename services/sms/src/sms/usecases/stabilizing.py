"""How long a committed service may take until its links are up."""

from __future__ import annotations

from collections.abc import Sequence

from qmodel.clock import DomainClock
from sms.domain.link import Link

MARGIN_S = 1800.0
"""Domain time beyond what placement expects: calibration, and a first attempt that did not settle."""


def patience_s(links: Sequence[Link], clock: DomainClock) -> float:
    """Real seconds: twice the slowest laser's warm-up, one whole period of the rarest pass, and a margin, on
    the domain clock, but at least a minute."""
    placements = [placement for link in links for placement in link.placements]
    settle_s = max((p.settle_s for p in placements), default=0.0)
    period_s = max((p.visibility.period_s for p in placements if p.visibility), default=0.0)
    return max(60.0, clock.real_duration_s(2.0 * settle_s + period_s + MARGIN_S))
