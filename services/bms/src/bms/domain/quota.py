"""How much a tenant may have on order at once: links, and secret key rate in bits per second.

Key rates are whole bits per second, a fraction counts as a whole one: sums are exact, so that what is
released is what was reserved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from qmodel.errors import Invalid, QuotaExceeded

_MOST = 10**15


@dataclass(frozen=True)
class Amount:
    """What an order takes: `links` and `key_rate_bps` over all of them, both >= 0."""

    links: int
    key_rate_bps: int

    @classmethod
    def asked(cls, links: int, key_rate_bps: float) -> Amount:
        """Raises Invalid for an amount below zero or beyond any network."""
        if not 0 <= links <= _MOST:
            raise Invalid("the number of links must be zero or more", where="/links")
        if not (math.isfinite(key_rate_bps) and 0 <= key_rate_bps <= _MOST):
            raise Invalid("the key rate must be finite and zero or more", where="/key_rate_bps")
        return cls(links, math.ceil(key_rate_bps))


@dataclass(frozen=True)
class Quota:
    """Limits of one tenant and what its orders hold; `used` never passes the limit."""

    tenant: str
    links_limit: int
    key_rate_limit_bps: int
    links_used: int = 0
    key_rate_used_bps: int = 0
    version: int = 1

    def take(self, amount: Amount) -> Quota:
        """With `amount` held. Raises QuotaExceeded, naming the limit that binds and what is left."""
        links = self.links_used + amount.links
        key_rate_bps = self.key_rate_used_bps + amount.key_rate_bps
        if links > self.links_limit:
            left = self.links_limit - self.links_used
            raise self._exceeded(
                f"{amount.links} more links, but {left} of {self.links_limit} are left", "/links"
            )
        if key_rate_bps > self.key_rate_limit_bps:
            left = self.key_rate_limit_bps - self.key_rate_used_bps
            raise self._exceeded(
                f"{amount.key_rate_bps} bit/s more key, but {left} of {self.key_rate_limit_bps} are left",
                "/key_rate_bps",
            )
        return replace(self, links_used=links, key_rate_used_bps=key_rate_bps, version=self.version + 1)

    def give_back(self, amount: Amount) -> Quota:
        return replace(
            self,
            links_used=self.links_used - amount.links,
            key_rate_used_bps=self.key_rate_used_bps - amount.key_rate_bps,
            version=self.version + 1,
        )

    def _exceeded(self, text: str, where: str) -> QuotaExceeded:
        return QuotaExceeded(
            f"the order needs {text}",
            where=where,
            links_used=self.links_used,
            links_limit=self.links_limit,
            key_rate_used_bps=self.key_rate_used_bps,
            key_rate_limit_bps=self.key_rate_limit_bps,
        )


@dataclass(frozen=True)
class Reservation:
    """What one order holds. Once released it stays so: a late repetition must not take quota again."""

    order_id: str
    tenant: str
    amount: Amount
    released: bool = False
