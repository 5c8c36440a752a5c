"""A link across operators from their border offers: which border, what it gives, and one request to each.

The SMS sees offers only, never an inside. Two segments are joined as two hops by the swap of the border's
owner, with the same model that placement and the emulator use (`qmodel.chains`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qmodel.chains import HopPhysics, Performance, SwapPhysics, chain_performance
from qmodel.entanglement import fidelity, werner_of_fidelity
from qmodel.errors import Infeasible
from qmodel.links import BorderOffer, Join, LinkRequest, Refusal
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import pair_rate_for_key_hz, secret_key_rate_bps
from qmodel.security import SecurityLevel
from qmodel.topology import Pass

_HEADROOM = 1.02
"""Segments are asked for a little more than the estimate needs, since each rounds by itself."""


@dataclass(frozen=True)
class Demand:
    """What a link must give end to end. Rates sustained, fidelity in [0, 1]."""

    purpose: Purpose
    security_level: SecurityLevel
    key_rate_bps: float
    pair_rate_hz: float
    min_fidelity: float
    max_latency_s: float

    def needed_hz(self, werner: float) -> float:
        """Pairs per second that it takes at this Werner parameter; infinite where no key can be had."""
        if self.purpose is Purpose.KEYS:
            return pair_rate_for_key_hz(self.key_rate_bps, werner)
        return self.pair_rate_hz


@dataclass(frozen=True)
class Joined:
    """Two offers that meet at one border, and the share of each that the demand takes."""

    a: BorderOffer
    b: BorderOffer
    join: Join
    share: float
    estimate: Performance
    latency_s: float

    @property
    def border(self) -> str:
        return self.a.border

    @property
    def visibility(self) -> Pass | None:
        return self.a.visibility or self.b.visibility


def choose(a: Iterable[BorderOffer], b: Iterable[BorderOffer], demand: Demand, link_id: str) -> Joined:
    """The border at which the demand takes the smallest share of what is offered.

    Raises Infeasible with `refusals` (one per border that fails, nearest first) where none will do."""
    theirs = {offer.border: offer for offer in b}
    ours = [offer for offer in a if offer.border in theirs]
    judged = [_judge(offer, theirs[offer.border], demand, link_id) for offer in ours]
    fitting = [one for one in judged if isinstance(one, Joined)]
    if fitting:
        return min(fitting, key=lambda one: (one.share, one.border))
    refusals = [one for one in judged if isinstance(one, Refusal)]
    if not refusals:
        ends = ("here", "there") if not ours else (ours[0].node, theirs[ours[0].border].node)
        refusals = [
            Refusal(
                link_id=link_id,
                a=ends[0],
                b=ends[1],
                constraint="path",
                reason="the two operators offer no common border under this security level and latency",
            )
        ]
    raise Infeasible(
        refusals[0].reason,
        where=refusals[0].where,
        refusals=[refusal.model_dump(mode="json") for refusal in refusals],
    )


def segment_requests(link_id: str, joined: Joined, demand: Demand) -> tuple[LinkRequest, LinkRequest]:
    """What each operator is asked for: the segment of `a` first, which is the metered one.

    The slack between what is offered and what is needed is split evenly over the two, as a factor on
    Werner parameters and as seconds on delays."""
    slack = min(1.0, werner_of_fidelity(demand.min_fidelity) / joined.estimate.werner) ** 0.5
    spare_s = (demand.max_latency_s - joined.latency_s) / 2
    first, second = (
        LinkRequest(
            link_id=link_id,
            a=mine.node,
            b=joined.border,
            purpose=demand.purpose,
            security_level=demand.security_level,
            key_rate_bps=demand.key_rate_bps,
            pair_rate_hz=mine.pair_rate_hz * joined.share,
            min_fidelity=fidelity(mine.werner * slack),
            max_latency_s=mine.latency_s + spare_s,
            swap_at_b=True,
            handover=other.handover if mine.join is not None else None,
            metered=mine is joined.a,
        )
        for mine, other in ((joined.a, joined.b), (joined.b, joined.a))
    )
    return first, second


def _judge(a: BorderOffer, b: BorderOffer, demand: Demand, link_id: str) -> Joined | Refusal:
    def refuse(constraint: str, reason: str, **would_fit: float) -> Refusal:
        return Refusal(
            link_id=link_id,
            a=a.node,
            b=b.node,
            constraint=constraint,
            where=a.border,
            reason=reason,
            would_fit=would_fit,
        )

    join = a.join or b.join
    if join is None:
        return refuse("path", f"nobody offers a swap at {a.border}")
    latency_s = a.latency_s + b.latency_s
    if latency_s > demand.max_latency_s:
        return refuse(
            "latency",
            f"{latency_s:.4f} s over {a.border}, {demand.max_latency_s} s asked",
            max_latency_s=latency_s,
        )
    whole = _performance(a, b, join, 1.0)
    if whole.pair_rate_hz <= 0:
        return refuse("capacity", f"nothing is free over {a.border} now")
    if whole.fidelity < demand.min_fidelity:
        return refuse(
            "fidelity",
            f"fidelity {whole.fidelity:.4f} over {a.border}, {demand.min_fidelity:.4f} asked",
            min_fidelity=whole.fidelity,
        )
    share = _share(a, b, join, demand, whole)
    if share > 1.0:
        return _too_little(refuse, a.border, whole, demand)
    return Joined(a, b, join, share, _performance(a, b, join, share), latency_s)


def _too_little(refuse: Callable[..., Refusal], border: str, whole: Performance, demand: Demand) -> Refusal:
    if demand.purpose is Purpose.KEYS:
        most_bps = secret_key_rate_bps(whole.pair_rate_hz, whole.werner)
        reason = f"at most {most_bps:.0f} bit/s of key over {border}, {demand.key_rate_bps:.0f} asked"
        return refuse("key-rate", reason, key_rate_bps=most_bps)
    reason = f"at most {whole.pair_rate_hz:.1f} pairs/s over {border}, {demand.pair_rate_hz:.1f} asked"
    return refuse("capacity", reason, pair_rate_hz=whole.pair_rate_hz)


def _share(a: BorderOffer, b: BorderOffer, join: Join, demand: Demand, whole: Performance) -> float:
    """The share of both offers that gives what is needed; rates grow with it, Werner falls a little below 1,
    since slower segments wait longer in memory. Above 1: the offers do not suffice."""
    share = _HEADROOM * demand.needed_hz(whole.werner) / whole.pair_rate_hz
    for _ in range(8):
        if not math.isfinite(share) or share > 1.0:
            return math.inf
        now = _performance(a, b, join, share)
        needed_hz = _HEADROOM * demand.needed_hz(now.werner)
        if now.fidelity < demand.min_fidelity:
            share = 1.0 if share < 1.0 else math.inf
            continue
        if now.pair_rate_hz >= needed_hz * (1 - 1e-6):
            return share
        share *= needed_hz / now.pair_rate_hz
    return share


def _performance(a: BorderOffer, b: BorderOffer, join: Join, share: float) -> Performance:
    """Sustained, of a share of both offers; while a satellite is away nothing arrives from its side."""
    duty = min(offer.visibility.duty if offer.visibility else 1.0 for offer in (a, b))
    hops = [HopPhysics(offer.pair_rate_hz * share / duty_of(offer), offer.werner, 1e9) for offer in (a, b)]
    whole = chain_performance(hops, [SwapPhysics(join.success, join.werner, join.t2_s)])
    return Performance(whole.pair_rate_hz * duty, whole.werner, whole.swap_success)


def duty_of(offer: BorderOffer) -> float:
    """Share of time in which the offer's photons fly."""
    return offer.visibility.duty if offer.visibility is not None else 1.0
