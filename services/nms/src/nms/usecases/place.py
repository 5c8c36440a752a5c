"""Placing links: planned together, capacity held until a commit, given back when nobody commits.

`worker` hands in what the SMS asks. A plan is made outside of any transaction, on what was read; the database
then has the last word on capacity, and a lost race is planned again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from nms.domain.network import Network
from nms.domain.offers import border_offers
from nms.domain.placement import place
from nms.domain.plan import Kind, Move, Plan, PlanState, extra_shares
from nms.domain.rootcause import dark_links
from nms.domain.usage import Usage
from nms.ports import HOLD_LOOP, OVERBOOKED, LinkRow, Store, Unit
from nms.usecases.settle import let_go
from nms.usecases.topology import Networks
from qmodel.clock import DomainClock
from qmodel.contracts.nms import (
    DescribeReply,
    OfferBorders,
    OfferReply,
    PlaceLinks,
    PlaceReply,
    RemoveLinks,
    RemoveReply,
    SiteView,
)
from qmodel.errors import BellweaveError, Conflict, Infeasible, Invalid, NotFound, Unavailable
from qmodel.links import LinkRequest, LinkState, Placement, Refusal
from qmodel.topology import QuantumLink, TimingLink

_PARENT = "sms"

Situation = tuple[int, Network, Usage, frozenset[str]]
"""Revision and network, what is taken, and the links that carry no light."""


class Places:
    """`hold_s` is real time; `tries` bounds how often a lost race for capacity is planned again."""

    def __init__(
        self,
        store: Store,
        networks: Networks,
        clock: DomainClock,
        *,
        hold_s: float,
        tries: int,
    ) -> None:
        self._store = store
        self._networks = networks
        self._clock = clock
        self._hold_s = hold_s
        self._tries = tries

    async def describe(self) -> DescribeReply:
        revision, network = await self._store.run(self._networks.current)
        sites = tuple(
            SiteView(site=node.site, node=node.id, clearance=node.clearance)
            for node in network.topology.nodes
            if node.site is not None and network.owns(node)
        )
        return DescribeReply(
            operator=network.operator, revision=revision, sites=sites, borders=network.borders()
        )

    async def offers(self, ask: OfferBorders) -> OfferReply:
        """What could be placed now. Raises NotFound for an unknown node."""
        _, network, usage, dark = await self._store.run(self._situation)
        offers = await asyncio.to_thread(
            border_offers, without(network, dark), usage, ask.node, ask.security_level, ask.max_latency_s
        )
        return OfferReply(offers=tuple(offers))

    async def place(self, ask: PlaceLinks) -> PlaceReply:
        """Hold a placement for every link, or none. Asked again, the answer is the same.

        Raises Infeasible with the refusals, NotFound for an unknown node, Conflict for a change that is over
        or a link that exists, Unavailable when others were faster too often.
        """
        _check_requests(ask.links)
        for _ in range(self._tries):
            known, scene = await self._store.run(lambda unit: self._asked(unit, ask))
            if known is not None or scene is None:
                return PlaceReply(placements=known or ())
            revision, network, usage, dark = scene
            placed = await asyncio.to_thread(place, without(network, dark), usage, ask.links)
            if placed.refusals:
                raise infeasible(placed.refusals)
            plan = self._plan(ask, placed.placements)
            if await self._hold(plan, revision, network):
                return PlaceReply(placements=plan.new)
        raise Unavailable("others took the capacity each time", retry_after_s=0.5)

    def _plan(self, ask: PlaceLinks, placements: Sequence[Placement]) -> Plan:
        by_link = {placement.link_id: placement for placement in placements}
        moves = tuple(
            Move(
                request.link_id,
                request,
                new=by_link[request.link_id].model_copy(update={"request": request}),
            )
            for request in ask.links
        )
        why = f"place {len(moves)} link{'s' if len(moves) > 1 else ''}"
        return Plan(ask.change_id, Kind.PLACE, _PARENT, why, moves, self._expiry())

    async def _asked(
        self, unit: Unit, ask: PlaceLinks
    ) -> tuple[tuple[Placement, ...] | None, Situation | None]:
        """What is held already, or what to plan on."""
        known = await self._known(unit, ask)
        return (known, None) if known is not None else (None, await self._situation(unit))

    async def _known(self, unit: Unit, ask: PlaceLinks) -> tuple[Placement, ...] | None:
        """The placements that the change holds already; None if it must be planned."""
        plan = await unit.plan(ask.change_id, lock=True)
        if plan is None or plan.state is PlanState.EXPIRED:
            return None
        if plan.kind is not Kind.PLACE or tuple(move.request for move in plan.moves) != ask.links:
            raise Conflict("the change id was used for something else", where="/change_id")
        if plan.state in (PlanState.DROPPED, PlanState.ABORTED):
            raise Conflict(f"the change is over: {plan.state.value}", where="/change_id")
        if plan.state is PlanState.HELD:
            await unit.extend_plan(plan.change_id, self._expiry())
        return plan.new

    async def _situation(self, unit: Unit) -> Situation:
        revision, network = await self._networks.current(unit)
        alarms = await unit.active_alarms()
        dark = dark_links(network.topology, alarms, self._clock.now_s()) if alarms else frozenset()
        return revision, network, Usage(await unit.used_ppm()), dark

    async def _hold(self, plan: Plan, revision: int, network: Network) -> bool:
        """Whether it could be held; False if the topology or the free capacity is no longer the same."""

        async def work(unit: Unit) -> bool:
            now_revision, _ = await self._networks.current(unit, "share")
            if now_revision != revision or not await unit.add_plan(plan):
                return False
            existing = await unit.links(plan.link_ids, lock=True)
            for row in existing:
                if row.state is not LinkState.RELEASED:
                    raise Conflict(f"link {row.link_id} exists already", where=row.link_id)
            versions = {row.link_id: row.version + 1 for row in existing}
            for move in plan.moves:
                await unit.put_link(self._held(plan, move, versions.get(move.link_id, 1)))
            await unit.hold_shares(plan.change_id, extra_shares(plan, network))
            await unit.wake(HOLD_LOOP, plan.change_id, self._hold_s)
            return True

        try:
            return await self._store.run(work)
        except Conflict as error:
            if error.facts.get("constraint") == OVERBOOKED:
                return False
            raise

    def _held(self, plan: Plan, move: Move, version: int) -> LinkRow:
        assert move.new is not None
        return LinkRow(
            link_id=move.link_id,
            state=LinkState.HELD,
            request=move.request,
            placement=move.new,
            in_force=False,
            since=self._clock.now(),
            change_id=plan.change_id,
            version=version,
        )

    async def remove(self, ask: RemoveLinks) -> RemoveReply:
        """Hold the removal of links; those that are gone already count as removed.

        Raises NotFound for a link that never was, Unavailable while another change has one of them."""
        if not ask.link_ids or len(set(ask.link_ids)) != len(ask.link_ids):
            raise Invalid("name at least one link, and each once", where="/link_ids")

        async def work(unit: Unit) -> RemoveReply:
            plan = await unit.plan(ask.change_id, lock=True)
            if plan is None or plan.state is PlanState.EXPIRED:
                plan = await self._hold_removal(unit, ask)
            elif plan.kind is not Kind.REMOVE or plan.link_ids != sorted(ask.link_ids):
                raise Conflict("the change id was used for something else", where="/change_id")
            elif plan.state in (PlanState.DROPPED, PlanState.ABORTED):
                raise Conflict(f"the change is over: {plan.state.value}", where="/change_id")
            elif plan.state is PlanState.HELD:
                await unit.extend_plan(plan.change_id, self._expiry())
            return RemoveReply(elements=tuple(sorted({e for old in plan.old for e in old.elements})))

        return await self._store.run(work)

    async def _hold_removal(self, unit: Unit, ask: RemoveLinks) -> Plan:
        await self._networks.current(unit, "share")
        rows = {row.link_id: row for row in await unit.links(sorted(ask.link_ids), lock=True)}
        for link_id in ask.link_ids:
            if link_id not in rows:
                raise NotFound(f"no link {link_id}", where=link_id)
            if rows[link_id].change_id is not None:
                raise Unavailable("another change has this link", where=link_id, retry_after_s=1.0)
        moves = tuple(
            Move(
                link_id,
                rows[link_id].request,
                old=rows[link_id].placement if rows[link_id].in_force else None,
            )
            for link_id in ask.link_ids
        )
        plan = Plan(ask.change_id, Kind.REMOVE, _PARENT, f"remove {len(moves)} links", moves, self._expiry())
        if not await unit.add_plan(plan):
            raise Unavailable("the same change is being held right now", retry_after_s=0.2)
        for move in moves:
            row = rows[move.link_id]
            await unit.put_link(replace(row, change_id=plan.change_id, version=row.version + 1))
        await unit.wake(HOLD_LOOP, plan.change_id, self._hold_s)
        return plan

    async def expire(self, change_id: str) -> float | None:
        """The hold loop: give back what nobody has committed in time. Returns seconds until it may expire."""

        async def work(unit: Unit) -> float | None:
            plan = await unit.plan(change_id, lock=True)
            if plan is None or plan.state is not PlanState.HELD:
                return None
            left_s = plan.expires_at.timestamp() - self._clock.real_now_s()
            if left_s > 0:
                return left_s
            await let_go(unit, change_id, PlanState.EXPIRED, "nobody committed it in time")
            return None

        return await self._store.run(work)

    def _expiry(self) -> datetime:
        return datetime.fromtimestamp(self._clock.real_now_s(), UTC) + timedelta(seconds=self._hold_s)


def _check_requests(requests: Sequence[LinkRequest]) -> None:
    if not requests:
        raise Invalid("there is nothing to place", where="/links")
    seen: set[str] = set()
    for index, request in enumerate(requests):
        if request.link_id in seen:
            raise Invalid(f"link {request.link_id} occurs twice", where=f"/links/{index}/link_id")
        if request.a == request.b:
            raise Invalid("a link needs two ends", where=f"/links/{index}/b")
        seen.add(request.link_id)


def without(network: Network, broken: frozenset[str]) -> Network:
    """The network less the quantum and timing links that are broken or run in a broken conduit."""
    if not broken:
        return network

    def whole(link: QuantumLink | TimingLink) -> bool:
        return link.id not in broken and not broken.intersection(link.conduits)

    topology = network.topology
    return Network(
        topology.model_copy(
            update={
                "quantum_links": tuple(filter(whole, topology.quantum_links)),
                "timing_links": tuple(filter(whole, topology.timing_links)),
            }
        )
    )


def infeasible(refusals: Sequence[Refusal]) -> BellweaveError:
    """Why nothing was placed, link by link."""
    first = refusals[0]
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return Infeasible(
        f"{first.a} to {first.b}: {first.reason}{more}",
        where=first.where,
        refusals=[refusal.model_dump(mode="json") for refusal in refusals],
    )
