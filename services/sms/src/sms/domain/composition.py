"""A link across operators from their border offers: which border, what it gives, and one request to each.

The SMS sees offers only, never an inside. Two segments are joined as two hops by the swap of the border's
owner, with the same model that placement and the emulator use (`qmodel.chains`).
"""

from __future__ import annotations

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
from qmodel.windows import joint_pass

_FASTER = 3.0
"""How much faster the offer with more to give may work than the other: beyond, waiting hardly shrinks."""
_BISECTIONS = 30
_HEADROOM = 1.02
"""Segments are asked for a little more than the estimate needs, since each rounds by itself."""

_ROUNDING = 1e-5
"""What is said to fit is this much less, so that it still does with the digits that people are shown."""

_NEARNESS = ("path", "latency", "fidelity", "capacity", "key-rate")
"""Later ones are nearer to success: all before them were met."""


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
    """Two offers that meet at one border, and the sustained pair rate that the demand takes of each."""

    a: BorderOffer
    b: BorderOffer
    join: Join
    rates_hz: tuple[float, float]
    estimate: Performance
    latency_s: float

    @property
    def border(self) -> str:
        return self.a.border

    @property
    def handover(self) -> str | None:
        """The quantum link by which the side that does not own the border delivers, and which the owner joins
        to its own: both must use the same."""
        return self.b.handover if self.a.join is not None else self.a.handover

    @property
    def share(self) -> float:
        """The larger share that is taken of the two offers, in (0, 1]."""
        return max(self.rates_hz[0] / self.a.pair_rate_hz, self.rates_hz[1] / self.b.pair_rate_hz)

    @property
    def visibility(self) -> Pass | None:
        """When both sides have light; None if they always do."""
        return _joint(self.a, self.b)


def choose(a: Iterable[BorderOffer], b: Iterable[BorderOffer], demand: Demand, link_id: str) -> Joined:
    """The border at which the demand takes the smallest share of what is offered.

    Raises Infeasible with `refusals` (one per border that fails, nearest first) where none will do."""
    theirs = {offer.border: offer for offer in b}
    ours = [offer for offer in a if offer.border in theirs]
    judged = [_judge(offer, theirs[offer.border], demand, link_id) for offer in ours]
    fitting = [one for one in judged if isinstance(one, Joined)]
    if fitting:
        return min(fitting, key=lambda one: (one.share, one.border))
    refusals = sorted((one for one in judged if isinstance(one, Refusal)), key=_nearness, reverse=True)
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
            pair_rate_hz=rate_hz,
            min_fidelity=fidelity(mine.werner * slack),
            max_latency_s=mine.latency_s + spare_s,
            swap_at_b=True,
            handover=joined.handover,
            metered=mine is joined.a,
        )
        for mine, rate_hz in zip((joined.a, joined.b), joined.rates_hz, strict=True)
    )
    return first, second


def _nearness(refusal: Refusal) -> tuple[int, float]:
    """Greater for what came nearer to success."""
    most = max(refusal.would_fit.values(), default=0.0)
    return _NEARNESS.index(refusal.constraint), -most if refusal.constraint == "latency" else most


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
    if (a.visibility or b.visibility) is not None and _joint(a, b) is None:
        return refuse("path", f"the passes of the two sides over {a.border} never meet")
    pair = _Pair(a, b, join)
    whole = pair.performance(pair.slower_hz)
    if whole.pair_rate_hz <= 0:
        return refuse("capacity", f"nothing is free over {a.border} now")
    if whole.fidelity < demand.min_fidelity:
        return refuse(
            "fidelity",
            f"fidelity {whole.fidelity:.4f} over {a.border}, {demand.min_fidelity:.4f} asked",
            min_fidelity=whole.fidelity,
        )
    level_hz = pair.level_for(demand)
    if level_hz is None:
        return _too_little(refuse, a.border, whole, demand)
    return Joined(a, b, join, pair.sustained_hz(level_hz), pair.performance(level_hz), latency_s)


def _too_little(refuse: Callable[..., Refusal], border: str, whole: Performance, demand: Demand) -> Refusal:
    most_hz = whole.pair_rate_hz / _HEADROOM * (1 - _ROUNDING)
    if demand.purpose is Purpose.KEYS:
        most_bps = secret_key_rate_bps(most_hz, whole.werner)
        reason = f"at most {most_bps:.0f} bit/s of key over {border}, {demand.key_rate_bps:.0f} asked"
        return refuse("key-rate", reason, key_rate_bps=most_bps)
    reason = f"at most {most_hz:.1f} pairs/s over {border}, {demand.pair_rate_hz:.1f} asked"
    return refuse("capacity", reason, pair_rate_hz=most_hz)


@dataclass(frozen=True)
class _Pair:
    """Two offers joined. A level is the rate (while photons fly) of the offer that has less to give; the
    other one may work faster, so that little time is lost by waiting for it."""

    a: BorderOffer
    b: BorderOffer
    join: Join

    @property
    def duty(self) -> float:
        """Share of time in which both sides have light."""
        together = _joint(self.a, self.b)
        return together.duty if together is not None else 1.0

    @property
    def slower_hz(self) -> float:
        return min(self._most_hz(self.a), self._most_hz(self.b))

    def performance(self, level_hz: float) -> Performance:
        """Sustained; while a satellite is away nothing arrives from its side."""
        rates = zip((self.a, self.b), self._rates_hz(level_hz), strict=True)
        hops = [HopPhysics(rate_hz, offer.werner, rate_hz) for offer, rate_hz in rates]
        if not all(hop.pair_rate_hz > 0 for hop in hops):
            return Performance(0.0, 0.0)
        whole = chain_performance(hops, [SwapPhysics(self.join.success, self.join.werner, self.join.t2_s)])
        return Performance(whole.pair_rate_hz * self.duty, whole.werner, whole.swap_success)

    def level_for(self, demand: Demand) -> float | None:
        """The lowest level at which the demand is met with a little headroom, by bisection; None if none."""

        def enough(level_hz: float) -> bool:
            now = self.performance(level_hz)
            return now.fidelity >= demand.min_fidelity and now.pair_rate_hz >= _HEADROOM * demand.needed_hz(
                now.werner
            )

        low, high = 0.0, self.slower_hz
        if not enough(high):
            return None
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def sustained_hz(self, level_hz: float) -> tuple[float, float]:
        """What each operator is asked for at this level, averaged over its passes."""
        a_hz, b_hz = self._rates_hz(level_hz)
        return a_hz * _duty(self.a), b_hz * _duty(self.b)

    def _rates_hz(self, level_hz: float) -> tuple[float, float]:
        most = self._most_hz(self.a), self._most_hz(self.b)
        a_hz, b_hz = (level_hz if hz == self.slower_hz else min(hz, _FASTER * level_hz) for hz in most)
        return a_hz, b_hz

    @staticmethod
    def _most_hz(offer: BorderOffer) -> float:
        return offer.pair_rate_hz / _duty(offer)


def _joint(a: BorderOffer, b: BorderOffer) -> Pass | None:
    """The passes in which both offers have light; None if they need none, or have none in common."""
    passes = [offer.visibility for offer in (a, b) if offer.visibility is not None]
    return joint_pass(passes) if passes else None


def _duty(offer: BorderOffer) -> float:
    return offer.visibility.duty if offer.visibility is not None else 1.0
