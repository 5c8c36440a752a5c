"""From alarms to healed links: one alarm per disrupted link with its root cause, then another path.

The heal loop calls `act`; all affected links are placed anew together and committed network-wide with this
NMS as root. Links keep their ids. What no path fits stays down, says why, and is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from nms.domain.link import Standing
from nms.domain.network import Network
from nms.domain.placement import place
from nms.domain.plan import Kind, Move, Plan, PlanState, extra_shares, shares
from nms.domain.rootcause import Cause, cause_at_elements, causes_of, disrupted
from nms.domain.usage import Usage
from nms.ports import HOLD_LOOP, OVERBOOKED, LinkAlarmRow, LinkRow, Store, Unit
from nms.usecases.commit import Commits
from nms.usecases.link import Links
from nms.usecases.place import without
from nms.usecases.settle import let_go
from nms.usecases.topology import Networks
from qmodel.clock import DomainClock
from qmodel.contracts.commit import Vote
from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.nms import LinkAlarm
from qmodel.errors import BellweaveError, Conflict
from qmodel.links import LinkRequest, LinkState, Placement

_BUSY_RETRY_S = 1.0
_WHO = "healing"


@dataclass(frozen=True)
class Damage:
    """What a look at the alarms found: the cause of each link that is disrupted."""

    revision: int
    network: Network
    usage: Usage
    causes: Mapping[str, Cause]
    avoid: frozenset[str]
    rows: tuple[LinkRow, ...]

    @property
    def curable(self) -> list[LinkRow]:
        """Disrupted links that another path might help and that no other change has."""
        return [row for row in self.rows if self.causes[row.link_id].avoid and row.change_id is None]


class Healing:
    """`retry_s`: real time between tries when nothing fits. `hold_s`: how long a plan of ours is held."""

    def __init__(
        self,
        store: Store,
        networks: Networks,
        clock: DomainClock,
        commits: Commits,
        links: Links,
        *,
        retry_s: float,
        hold_s: float,
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._networks = networks
        self._clock = clock
        self._commits = commits
        self._links = links
        self._retry_s = retry_s
        self._hold_s = hold_s
        self._new_id = new_id
        self._log = structlog.get_logger("nms.heal")

    async def act(self, key: str) -> float | None:
        """The heal loop. Returns real seconds until the next try, None when nothing is left to try."""
        damage = await self._store.run(self._look)
        if damage is None or not damage.rows:
            return None
        rows = damage.curable
        if not rows:
            busy = any(row.change_id is not None for row in damage.rows)
            return _BUSY_RETRY_S if busy else None
        placements, hopeless = await asyncio.to_thread(self._replace, damage, rows)
        if hopeless:
            await self._store.run(lambda unit: self._give_up(unit, hopeless))
        if not placements:
            return self._retry_s
        plan = self._plan(damage, rows, placements)
        if not await self._hold(plan, damage):
            return _BUSY_RETRY_S
        opened = await self._commits.run_own(plan)
        self._log.info("healing", change_id=plan.change_id, vote=opened.vote, detail=opened.detail)
        if opened.vote is Vote.BUSY or opened.change is None:
            await self._store.run(
                lambda unit: let_go(unit, plan.change_id, PlanState.DROPPED, opened.detail or "busy")
            )
            return _BUSY_RETRY_S
        if opened.vote is Vote.ABORTED or hopeless:
            return self._retry_s
        return None

    # Looking.

    async def _look(self, unit: Unit) -> Damage | None:
        """Find causes, raise one alarm per disrupted link, and say that the link is down."""
        if await unit.topology() is None:
            return None
        revision, network = await self._networks.current(unit)
        rows = await unit.links(lock=True)
        alarms = await unit.active_alarms()
        placements = [row.placement for row in rows]
        found = causes_of(network.topology, alarms, placements, self._clock.now_s()) if alarms else []
        causes = disrupted(found, placements)
        for row in rows:
            if row.link_id not in causes and row.state is LinkState.DOWN:
                causes[row.link_id] = cause_at_elements(network.topology, row.placement, row.reason, alarms)
        hit = tuple(row for row in rows if row.link_id in causes)
        known = await unit.link_alarms()
        for row in hit:
            await self._raise(unit, row, causes[row.link_id], known.get(row.link_id))
        avoid = {name for cause in (*found, *causes.values()) for name in cause.avoid}
        usage = Usage(await unit.used_ppm())
        return Damage(revision, network, usage, causes, frozenset(avoid), hit)

    async def _raise(self, unit: Unit, row: LinkRow, cause: Cause, known: LinkAlarmRow | None) -> None:
        at_elements = not cause.dark
        if known is not None and (at_elements or known.root_cause == cause.name):
            return
        now = self._clock.now()
        alarm = LinkAlarmRow(row.link_id, PerceivedSeverity.CRITICAL.value, cause.name, cause.text, now)
        await unit.raise_link_alarm(alarm)
        await unit.emit(
            LinkAlarm(
                operator=self._networks.operator,
                link_id=row.link_id,
                severity=PerceivedSeverity.CRITICAL,
                text=cause.text,
                root_cause=cause.name,
                at=now,
            )
        )
        if not at_elements:
            await self._links.stand(unit, row, Standing(LinkState.DOWN, cause.text))

    # Planning.

    def _replace(self, damage: Damage, rows: list[LinkRow]) -> tuple[dict[str, Placement], dict[str, str]]:
        """New placements for as many links as possible, together; and why the others cannot have one."""
        usage = damage.usage.minus(shares((row.placement for row in rows), damage.network))
        network = without(damage.network, damage.avoid)
        kept = {row.link_id: row for row in rows}
        hopeless: dict[str, str] = {}
        while kept:
            requests = [_avoiding(row.request, damage) for row in kept.values()]
            staying = shares((row.placement for row in rows if row.link_id in hopeless), damage.network)
            placed = place(network, usage.plus(staying), requests)
            if not placed.refusals:
                return {p.link_id: p for p in placed.placements}, hopeless
            for refusal in placed.refusals:
                hopeless[refusal.link_id] = refusal.reason
                kept.pop(refusal.link_id, None)
        return {}, hopeless

    def _plan(self, damage: Damage, rows: Iterable[LinkRow], placements: Mapping[str, Placement]) -> Plan:
        moves = tuple(
            Move(
                row.link_id,
                row.request,
                old=row.placement,
                new=placements[row.link_id].model_copy(update={"request": row.request}),
            )
            for row in rows
            if row.link_id in placements
        )
        names = sorted({damage.causes[move.link_id].name for move in moves})
        return Plan(
            self._new_id("heal"), Kind.HEAL, _WHO, f"healed around {', '.join(names)}", moves, self._expiry()
        )

    async def _hold(self, plan: Plan, damage: Damage) -> bool:
        """Whether the plan could be held: what it was made for must still be so."""
        seen = {row.link_id: row for row in damage.rows}

        async def work(unit: Unit) -> bool:
            revision, _ = await self._networks.current(unit, "share")
            rows = await unit.links(plan.link_ids, lock=True)
            same = all(
                row.in_force and row.change_id is None and row.placement == seen[row.link_id].placement
                for row in rows
            )
            if revision != damage.revision or not same or not await unit.add_plan(plan):
                return False
            for row in rows:
                await unit.put_link(replace(row, change_id=plan.change_id, version=row.version + 1))
            await unit.hold_shares(plan.change_id, extra_shares(plan, damage.network))
            await unit.wake(HOLD_LOOP, plan.change_id, self._hold_s)
            return True

        try:
            return await self._store.run(work)
        except Conflict as error:
            if error.facts.get("constraint") == OVERBOOKED:
                return False
            raise

    async def _give_up(self, unit: Unit, hopeless: Mapping[str, str]) -> None:
        alarms = await unit.link_alarms()
        for row in await unit.links(sorted(hopeless), lock=True):
            if row.in_force and row.state is LinkState.DOWN and row.change_id is None:
                cause = alarms[row.link_id].text if row.link_id in alarms else row.reason
                reason = f"{cause}; no other path: {hopeless[row.link_id]}"
                await self._links.stand(unit, row, Standing(LinkState.DOWN, reason))

    # Elements that missed a change.

    async def align(self, element: str) -> float | None:
        """The align loop: tell an element that was away during a change what it should be."""

        async def work(unit: Unit) -> Plan | None:
            if not await unit.stale(element) or element in await unit.unreachable():
                return None
            plan = Plan(
                self._new_id("align"),
                Kind.ALIGN,
                _WHO,
                f"{element} missed a change while it was away",
                (),
                self._expiry(),
                (element,),
            )
            await unit.add_plan(plan)
            await unit.wake(HOLD_LOOP, plan.change_id, self._hold_s)
            return plan

        plan = await self._store.run(work)
        if plan is None:
            return None  # its return wakes the key again
        try:
            opened = await self._commits.run_own(plan)
        except BellweaveError:
            await self._store.run(lambda unit: let_go(unit, plan.change_id, PlanState.DROPPED, "failed"))
            raise
        if opened.vote is Vote.CONFIRMED:
            return None
        await self._store.run(
            lambda unit: let_go(unit, plan.change_id, PlanState.DROPPED, opened.detail or "not done")
        )
        return self._retry_s

    def _expiry(self) -> datetime:
        return datetime.fromtimestamp(self._clock.real_now_s(), UTC) + timedelta(seconds=self._hold_s)


def _avoiding(request: LinkRequest, damage: Damage) -> LinkRequest:
    """The request, avoiding broken nodes as well, except those where the link ends."""
    nodes = {node.id for node in damage.network.topology.nodes}
    broken = (damage.avoid & nodes) - {request.a, request.b}
    return request.model_copy(update={"avoid": tuple(sorted({*request.avoid, *broken}))})
