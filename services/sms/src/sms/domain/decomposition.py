"""Which links a service is made of. Pure; the order use case asks here once sites are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from qmodel.security import vpn_key_rate_bps
from sms.domain.ask import Ask, OrderKind


def decompose(kind: OrderKind, sites: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of sites to be linked, each once, sorted: all n(n-1)/2 of them, whatever is ordered.

    A point-to-point service has two sites, so one link; keys and entanglement are had between every two."""
    return list(combinations(sorted(sites), 2))


def key_rate_of(ask: Ask) -> float:
    """Secret key that each link must give, bits per second; 0 for entanglement."""
    if ask.kind.is_vpn:
        return vpn_key_rate_bps(ask.security_level, ask.rate_bytes_per_s)
    return ask.key_rate_bps


def total_key_rate_bps(ask: Ask) -> float:
    """What all links of the service take together, for the quota."""
    return key_rate_of(ask) * len(decompose(ask.kind, ask.sites))
