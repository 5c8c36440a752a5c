"""What a tenant asks for, checked as far as it can be without looking at the network.

The API builds an `Ask` from an order's body through `checked`; everything after it may rely on these rules.
Whether the sites exist is for `usecases.sites`, whether it can be had for the NMSs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from qmodel.errors import Invalid
from qmodel.security import SecurityLevel

MAX_SITES = 64
MAX_RATE_BYTES_PER_S = 1e9
MAX_KEY_RATE_BPS = 1e10
MAX_PAIR_RATE_HZ = 1e12
MAX_LATENCY_S = 3600.0


class OrderKind(StrEnum):
    FULL_MESH_VPN = "full_mesh_vpn"
    POINT_TO_POINT_VPN = "point_to_point_vpn"
    KEY = "key"
    ENTANGLEMENT = "entanglement"

    @property
    def is_vpn(self) -> bool:
        return self in (OrderKind.FULL_MESH_VPN, OrderKind.POINT_TO_POINT_VPN)


RATE_OF_KIND: dict[OrderKind, tuple[str, float]] = {
    OrderKind.FULL_MESH_VPN: ("rate_bytes_per_s", MAX_RATE_BYTES_PER_S),
    OrderKind.POINT_TO_POINT_VPN: ("rate_bytes_per_s", MAX_RATE_BYTES_PER_S),
    OrderKind.KEY: ("key_rate_bps", MAX_KEY_RATE_BPS),
    OrderKind.ENTANGLEMENT: ("pair_rate_hz", MAX_PAIR_RATE_HZ),
}
"""Which rate a kind is ordered by, and the highest one that is not absurd."""


@dataclass(frozen=True)
class Ask:
    """An order's content. Exactly one rate is not zero: bytes per second and direction for a VPN, secret key
    in bits per second, or pairs per second. `min_fidelity` in [0.5, 1] or None for the level's own."""

    kind: OrderKind
    sites: tuple[str, ...]
    security_level: SecurityLevel
    max_latency_s: float
    rate_bytes_per_s: float = 0.0
    key_rate_bps: float = 0.0
    pair_rate_hz: float = 0.0
    min_fidelity: float | None = None

    def at(self, sites: Sequence[str]) -> Ask:
        """The same at these sites."""
        return replace(self, sites=tuple(sites))


def checked(ask: Ask) -> Ask:
    """`ask`, if nothing in it contradicts itself.

    Raises Invalid; `where` points at the first fault, the fact `errors` lists {pointer, detail} of all."""
    faults = [*_site_faults(ask.kind, ask.sites), *_number_faults(ask)]
    if faults:
        errors = [{"pointer": pointer, "detail": detail} for pointer, detail in faults]
        raise Invalid(faults[0][1], where=faults[0][0], errors=errors)
    return ask


def _site_faults(kind: OrderKind, sites: Sequence[str]) -> list[tuple[str, str]]:
    if len(sites) < 2:
        return [("/sites", "a service needs at least two sites")]
    if len(sites) > MAX_SITES:
        return [("/sites", f"{len(sites)} sites are more than the {MAX_SITES} that one order may have")]
    if kind is OrderKind.POINT_TO_POINT_VPN and len(sites) != 2:
        return [("/sites", f"a point-to-point VPN has two sites, not {len(sites)}")]
    faults: list[tuple[str, str]] = []
    seen: set[str] = set()
    for index, site in enumerate(sites):
        if site.casefold() in seen:
            faults.append((f"/sites/{index}", f"site {site!r} is named twice"))
        seen.add(site.casefold())
    return faults


def _number_faults(ask: Ask) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    wanted, most = RATE_OF_KIND[ask.kind]
    for name in ("rate_bytes_per_s", "key_rate_bps", "pair_rate_hz"):
        rate = getattr(ask, name)
        if name != wanted and rate:
            faults.append((f"/{name}", f"an order of kind {ask.kind.value} is given by {wanted}"))
        elif name == wanted and not 0 < rate <= most:
            faults.append((f"/{name}", f"{name} must be more than 0 and at most {most:g}"))
    if not 0 < ask.max_latency_s <= MAX_LATENCY_S:
        faults.append(("/max_latency_s", f"max_latency_s must be more than 0 and at most {MAX_LATENCY_S:g}"))
    if ask.min_fidelity is not None and not 0.5 <= ask.min_fidelity <= 1:
        faults.append(("/min_fidelity", "min_fidelity must be between 0.5 and 1"))
    return faults


def to_json(ask: Ask) -> dict[str, Any]:
    """For the order's row; `from_json` reads it back."""
    return {
        "kind": ask.kind.value,
        "sites": list(ask.sites),
        "security_level": ask.security_level.value,
        "max_latency_s": ask.max_latency_s,
        "rate_bytes_per_s": ask.rate_bytes_per_s,
        "key_rate_bps": ask.key_rate_bps,
        "pair_rate_hz": ask.pair_rate_hz,
        "min_fidelity": ask.min_fidelity,
    }


def from_json(row: dict[str, Any]) -> Ask:
    return Ask(
        kind=OrderKind(row["kind"]),
        sites=tuple(row["sites"]),
        security_level=SecurityLevel(row["security_level"]),
        max_latency_s=row["max_latency_s"],
        rate_bytes_per_s=row["rate_bytes_per_s"],
        key_rate_bps=row["key_rate_bps"],
        pair_rate_hz=row["pair_rate_hz"],
        min_fidelity=row["min_fidelity"],
    )
