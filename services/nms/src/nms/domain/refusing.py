"""Why a link cannot be placed: the constraint that binds, where, in a sentence, and what would fit.

`placement` makes a `Failure` for every route and plan that does not do; of these the one that came nearest is
told. All rates that are said to fit have been computed on that route as it is now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from nms.domain.chainplan import Plan, Route
from nms.domain.network import Network
from nms.domain.routing import RouteSearch, why_not_cleared
from nms.domain.sentences import what_is
from nms.domain.usage import Usage
from qmodel.chains import Performance
from qmodel.links import LinkRequest, Refusal
from qmodel.security import POLICIES, SecurityLevel
from qmodel.topology import QuantumLink
from qmodel.units import format_bit_rate, format_duration, format_frequency

_SHOWN_DIGITS = 6
_NEARNESS = ("path", "timing", "fidelity", "key-rate", "capacity")
"""Later ones are nearer to success: all before them were met."""


@dataclass(frozen=True)
class Failure:
    """One way that does not do. `blocked` is a resource that the next route should go around."""

    constraint: str
    where: str | None
    reason: str
    would_fit: dict[str, float] = field(default_factory=dict)
    blocked: str | None = None

    @property
    def nearness(self) -> tuple[int, float]:
        return _NEARNESS.index(self.constraint), max(self.would_fit.values(), default=0.0)

    def refusal(self, request: LinkRequest) -> Refusal:
        return Refusal(
            link_id=request.link_id,
            a=request.a,
            b=request.b,
            constraint=self.constraint,
            where=self.where,
            reason=self.reason,
            would_fit=self.would_fit,
        )

    @staticmethod
    def untimed(link: QuantumLink) -> Failure:
        return Failure(
            "timing",
            link.id,
            f"no timing link runs in the conduits of {link.id}, and no other timing route joins its ends",
        )

    @staticmethod
    def unlit(route: Route) -> Failure:
        ids = route.ids
        return Failure(
            "path", ids[0], f"no source can light the way {' > '.join(ids)}, or an end has no device for it"
        )

    @staticmethod
    def poor(plan: Plan, fidelity: float, request: LinkRequest) -> Failure:
        worst = min(plan.hops, key=lambda hop: hop.full.werner)
        ids = plan.route.ids
        least = least_fidelity(request)
        return Failure(
            "fidelity",
            plan.route.links[min(worst.begin, len(plan.route.links) - 1)].id,
            f"fidelity {fidelity:.4f} on {' > '.join(ids)}, {least:.4f} needed; "
            f"the hop {ids[worst.begin]} to {ids[worst.end]} costs most",
            {"min_fidelity": rounded_down(fidelity)},
        )

    @staticmethod
    def slow(resource: str, fits: Performance, request: LinkRequest) -> Failure:
        """The little that is free is so slow that pairs age too much while they wait for each other."""
        return Failure(
            "capacity",
            resource,
            f"{what_is(resource)} has room only for pairs that wait until their fidelity is "
            f"{fits.fidelity:.4f}, {least_fidelity(request):.4f} needed",
            {},
            resource,
        )

    @staticmethod
    def little_key(
        resource: str, fits_bps: float, fits: Performance, request: LinkRequest, idle: bool
    ) -> Failure:
        asked = format_bit_rate(request.key_rate_bps)
        if fits_bps <= 0 and idle:
            reason = f"pairs of fidelity {fits.fidelity:.4f} give no secret key, {asked} asked"
        elif idle:
            reason = f"{what_is(resource)} gives at most {format_bit_rate(fits_bps)} of key, {asked} asked"
        else:
            reason = f"{what_is(resource)} has room for {format_bit_rate(fits_bps)} of key now, {asked} asked"
        return Failure(
            "key-rate" if idle else "capacity",
            resource,
            reason,
            {"key_rate_bps": rounded_down(fits_bps)},
            resource,
        )

    @staticmethod
    def few_pairs(resource: str, fits_hz: float, request: LinkRequest) -> Failure:
        asked = format_frequency(request.pair_rate_hz)
        return Failure(
            "capacity",
            resource,
            f"{what_is(resource)} has room for {format_frequency(fits_hz)} of pairs now, {asked} asked",
            {"pair_rate_hz": rounded_down(fits_hz)},
            resource,
        )


def least_fidelity(request: LinkRequest) -> float:
    """The least fidelity of the request's own placement. A segment has its budget from the SMS; a whole link
    must meet its security level as well."""
    if request.swap_at_b:
        return request.min_fidelity
    return max(request.min_fidelity, POLICIES[request.security_level].min_fidelity)


def rounded_down(value: float) -> float:
    """To the digits that people are shown, so that what is said to fit still does when they type it in."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) + 1 - _SHOWN_DIGITS)
    return float(f"{math.floor(value / unit) * unit:.{_SHOWN_DIGITS}g}")


def most_telling(failures: Sequence[Failure]) -> Failure:
    """The failure that came nearest to success."""
    return max(failures, key=lambda failure: failure.nearness)


def too_slow(request: LinkRequest, delay_s: float | None) -> Refusal:
    """The classical way is too long, or there is none (`delay_s` None)."""
    if delay_s is None:
        reason = f"no classical way from {request.a} to {request.b}"
        fits: dict[str, float] = {}
    else:
        asked = format_duration(request.max_latency_s)
        reason = f"the classical way takes {format_duration(delay_s)}, at most {asked} asked"
        fits = {"max_latency_s": delay_s}
    return Refusal(
        link_id=request.link_id,
        a=request.a,
        b=request.b,
        constraint="latency",
        where=request.b,
        reason=reason,
        would_fit=fits,
    )


def no_route(network: Network, usage: Usage, request: LinkRequest) -> Refusal:
    """No photon can get from one end to the other: found by lifting one rule after the other."""

    def refuse(constraint: str, where: str | None, reason: str) -> Refusal:
        return Refusal(
            link_id=request.link_id,
            a=request.a,
            b=request.b,
            constraint=constraint,
            where=where,
            reason=reason,
        )

    policy = POLICIES[request.security_level]
    lax = replace_level(request)
    route = next(iter(RouteSearch(network, usage, lax)), None)
    for node in route.nodes if route is not None else ():
        why = why_not_cleared(node, policy, transit=node.id not in (request.a, request.b))
        if why is not None:
            return refuse("security", node.id, f"{why}, and there is no way around it")
    unhindered = RouteSearch(network, usage, lax.model_copy(update={"avoid": ()}))
    if request.avoid and any(True for _ in unhindered):
        return refuse("path", request.avoid[0], f"no way around {', '.join(request.avoid[:5])}")
    full = next(iter(RouteSearch(network, Usage(), lax)), None)
    for link in full.links if full is not None else ():
        if usage.free_ppm(f"quantum-link/{link.id}") <= 0:
            return refuse(
                "capacity", link.id, f"quantum link {link.id} is full, and there is no way around it"
            )
    return refuse("path", request.b, f"no quantum links lead from {request.a} to {request.b}")


def replace_level(request: LinkRequest) -> LinkRequest:
    """The same request without security."""
    return request.model_copy(update={"security_level": SecurityLevel.STANDARD})
