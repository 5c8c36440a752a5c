"""The domain clock: one time for devices, usage and satellite passes, which may run faster than real time.

Leases, time limits and tokens never use it. Whoever needs time takes a `Clock` and is told the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class DomainClock:
    """Domain time runs `scale` times as fast as real time since the shared `origin_s`.

    `origin_s` is a real time (seconds since 1970, UTC) at which both clocks agreed; it is the same setting
    in every process of a deployment. With `scale` 1 the domain clock is the real clock.
    """

    origin_s: float
    scale: float
    real_now_s: Callable[[], float]

    def now_s(self) -> float:
        """Domain time in seconds since 1970, UTC."""
        return self.origin_s + (self.real_now_s() - self.origin_s) * self.scale

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s(), UTC)

    def real_duration_s(self, domain_s: float) -> float:
        """How long a domain duration lasts on real time, in seconds."""
        return domain_s / self.scale
