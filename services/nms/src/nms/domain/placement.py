"""Placing links: on the cheapest routes that satisfy every constraint, or with the reason why not.

Called by `usecases.place` for what the SMS asks and by `usecases.heal` for what a fault has cut. Pure: it
reads a network and a usage and changes neither; whether a partial answer is of use is the caller's to decide.

Who swaps at a border: the operator that owns it. Both segments end at the border's memory. The owner's
placement names the border's BSM, claims it, and its configuration joins its own last port with that of
the hand-over link (`LinkRequest.handover`, or the only one); the other operator configures nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nms.domain.assignment import plans_along
from nms.domain.chainplan import Plan, Route, shares_ppm, sized
from nms.domain.network import Network
from nms.domain.refusing import Failure, least_fidelity, most_telling, no_route, too_slow
from nms.domain.routing import RouteSearch
from nms.domain.sentences import why_here
from nms.domain.timingroute import TimingPlan, plan_timing
from nms.domain.usage import WHOLE_PPM, Usage, claims_of
from qmodel.entanglement import werner_of_fidelity
from qmodel.errors import Invalid
from qmodel.links import Hop, LinkRequest, Placement, Refusal
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import pair_rate_for_key_hz, secret_key_rate_bps
from qmodel.topology import QuantumLink

RATE_MARGIN = 1.1
"""Placed for this much more than asked: polarization drifts between calibrations, and counts vary."""
_ORDERS = 3
"""Orders in which a batch is tried before some of it is refused."""


class Placed(NamedTuple):
    """Placements in the order of the requests, and a refusal for each request that has none."""

    placements: tuple[Placement, ...]
    refusals: tuple[Refusal, ...]


def place(network: Network, usage: Usage, requests: Sequence[LinkRequest]) -> Placed:
    """Place all of `requests` together beside what `usage` has taken.

    Raises NotFound for an unknown node, Invalid for a request that makes no sense (both ends at one node, an
    end at a node of another operator that is no border, a link asked twice)."""
    _check(network, requests)
    order = sorted(requests, key=lambda r: (not r.swap_at_b, -r.key_rate_bps - r.pair_rate_hz, r.link_id))
    best: tuple[dict[str, Placement], dict[str, Refusal]] | None = None
    for _ in range(_ORDERS):
        placed, refused = _one_after_another(network, usage, order)
        if best is None or len(refused) < len(best[1]):
            best = placed, refused
        if not refused or len(order) == 1:
            break
        order = [r for r in order if r.link_id in refused] + [r for r in order if r.link_id not in refused]
    assert best is not None, "at least one order is tried"
    placements, refusals = best
    return Placed(
        tuple(placements[r.link_id] for r in requests if r.link_id in placements),
        tuple(refusals[r.link_id] for r in requests if r.link_id in refusals),
    )


def least_werner(request: LinkRequest) -> float:
    """The least Werner parameter of the request's own placement."""
    return werner_of_fidelity(least_fidelity(request))


def needed_pairs_hz(request: LinkRequest, werner: float) -> float:
    """Sustained pairs per second, margin included, that satisfy the request at this Werner parameter;
    infinite where no key can be had."""
    needed_hz = request.pair_rate_hz
    if request.purpose is Purpose.KEYS and not request.swap_at_b:
        needed_hz = max(needed_hz, pair_rate_for_key_hz(request.key_rate_bps, werner))
    return RATE_MARGIN * needed_hz


def _check(network: Network, requests: Sequence[LinkRequest]) -> None:
    seen: set[str] = set()
    for request in requests:
        a, b = network.node(request.a), network.node(request.b)
        if a.id == b.id:
            raise Invalid(f"both ends of link {request.link_id} are at {a.id}", where=request.link_id)
        if not network.owns(a):
            raise Invalid(f"{a.id} belongs to {a.operator}; a link begins at an own node", where=a.id)
        if request.swap_at_b and not network.handovers(b.id):
            raise Invalid(f"no photons change operator at {b.id}", where=b.id)
        if not request.swap_at_b and not network.owns(b):
            raise Invalid(f"{b.id} belongs to {b.operator}; only a segment may end there", where=b.id)
        if request.handover is not None and request.handover not in (
            link.id for link in network.handovers(b.id)
        ):
            raise Invalid(f"{request.handover} hands nothing over at {b.id}", where=request.handover)
        if request.link_id in seen:
            raise Invalid(f"link {request.link_id} is asked for twice", where=request.link_id)
        seen.add(request.link_id)


def _one_after_another(
    network: Network, usage: Usage, order: Sequence[LinkRequest]
) -> tuple[dict[str, Placement], dict[str, Refusal]]:
    placements: dict[str, Placement] = {}
    refusals: dict[str, Refusal] = {}
    for request in order:
        outcome = _place_one(network, usage, request)
        if isinstance(outcome, Placement):
            placements[request.link_id] = outcome
            usage = usage.plus(claims_of(outcome, network))
        else:
            refusals[request.link_id] = outcome
    return placements, refusals


def _place_one(network: Network, usage: Usage, request: LinkRequest) -> Placement | Refusal:
    delay_s = network.classical_delay_s(request.a, request.b)
    if delay_s is None or delay_s > request.max_latency_s:
        return too_slow(request, delay_s)
    search = RouteSearch(network, usage, request)
    failures: list[Failure] = []
    for route in search:
        outcome = _on_route(network, usage, request, route, delay_s)
        if isinstance(outcome, Placement):
            return outcome
        failures.append(outcome)
        if outcome.blocked is not None:
            search.block(outcome.blocked)
    if not failures:
        return no_route(network, usage, request)
    return most_telling(failures).refusal(request)


def _on_route(
    network: Network, usage: Usage, request: LinkRequest, route: Route, delay_s: float
) -> Placement | Failure:
    timing = plan_timing(network, route, request.avoid)
    if isinstance(timing, QuantumLink):
        return Failure.untimed(timing)
    plans = plans_along(route, network, usage)
    if not plans:
        return Failure.unlit(route)
    failures: list[Failure] = []
    fitting: list[tuple[float, Plan, float]] = []
    for plan in plans:
        share = _share(plan, usage, request)
        if isinstance(share, Failure):
            failures.append(share)
        else:
            fitting.append((share / plan.room(usage)[0], plan, share))
    if not fitting:
        return most_telling(failures)
    _, plan, share = min(fitting, key=lambda item: item[0])
    return _placement(network, request, plan, share, timing, delay_s)


def _share(plan: Plan, usage: Usage, request: LinkRequest) -> float | Failure:
    """The common share of the plan's hops that the request needs, if it is free."""
    least = least_werner(request)
    whole = plan.at_share(1.0)
    if whole.werner < least:
        return Failure.poor(plan, whole.fidelity, request)
    share = sized(plan, lambda werner: needed_pairs_hz(request, werner) / plan.duty, least)
    return _too_full(plan, usage, request) if share > plan.room(usage)[0] else share


def _too_full(plan: Plan, usage: Usage, request: LinkRequest) -> Failure:
    _, resource = plan.room(usage)
    fits = plan.safe(usage)
    if fits.werner < least_werner(request):
        return Failure.slow(resource, fits, request)
    pairs_hz = fits.pair_rate_hz * plan.duty / RATE_MARGIN
    idle = usage.free_ppm(resource) == WHOLE_PPM
    if request.purpose is Purpose.KEYS and not request.swap_at_b:
        return Failure.little_key(resource, secret_key_rate_bps(pairs_hz, fits.werner), fits, request, idle)
    return Failure.few_pairs(resource, pairs_hz, request)


def _placement(
    network: Network, request: LinkRequest, plan: Plan, share: float, timing: TimingPlan, delay_s: float
) -> Placement:
    ppm = shares_ppm(plan, share)
    given = plan.performance([part / 1e6 for part in ppm])
    pairs_hz = given.pair_rate_hz * plan.duty
    key_bps = 0.0
    if request.purpose is Purpose.KEYS:
        key_bps = request.key_rate_bps if request.swap_at_b else secret_key_rate_bps(pairs_hz, given.werner)
    ids = plan.route.ids
    detector_a, detector_b = plan.detectors
    border = (ids[-1],) if len(plan.bsms) == len(plan.hops) else ()
    timed = {end for link in timing.links for end in (link.a.node, link.b.node)}
    placement = Placement(
        link_id=request.link_id,
        request=request,
        operator=network.operator,
        nodes=ids,
        quantum_links=tuple(link.id for link in plan.route.links),
        hops=tuple(_hop(plan, index, part) for index, part in enumerate(ppm)),
        swap_nodes=(*(ids[hop.end] for hop in plan.hops[:-1]), *border),
        bsms=tuple(bsm.id for bsm in plan.bsms),
        detectors=(detector_a.id if detector_a else None, detector_b.id if detector_b else None),
        elements=tuple(
            sorted(
                node.element
                for node in map(network.node, {*ids, *timed})
                if node.element is not None and network.owns(node)
            )
        ),
        fidelity=given.fidelity,
        pair_rate_hz=pairs_hz,
        key_rate_bps=key_bps,
        latency_s=delay_s,
        timing_links=tuple(link.id for link in timing.links),
        timing_coherent=timing.coherent,
        visibility=plan.visibility,
        settle_s=max(hop.source.warm_up_s for hop in plan.hops),
    )
    return placement.model_copy(update={"why": why_here(placement)})


def _hop(plan: Plan, index: int, ppm: int) -> Hop:
    hop, ids = plan.hops[index], plan.route.ids
    return Hop(
        ends=(ids[hop.begin], ids[hop.end]),
        nodes=ids[hop.begin : hop.end + 1],
        source_node=ids[hop.at],
        source=hop.source.id,
        quantum_links=tuple(link.id for link in plan.route.links[hop.begin : hop.end]),
        loss_db=hop.loss_db,
        pair_rate_hz=hop.full.pair_rate_hz * ppm / 1e6,
        werner=hop.full.werner,
        share_ppm=ppm,
    )
