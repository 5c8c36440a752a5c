"""What the end of a plan does to links and capacity: in force, or as if it had never been.

`commit` calls `settle` in the transaction that ends the change, so that phase, links, capacity, revision and
events move together; `place` calls `let_go` for plans that never got that far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from nms.domain.network import Network
from nms.domain.plan import Kind, Move, Plan, PlanState, left_shares
from nms.domain.usage import claims_of
from nms.ports import ALIGN_LOOP, HEAL_LOOP, LINK_LOOP, NETWORK_KEY, LinkRow, Store, Unit
from nms.usecases.topology import Networks
from qcommit.machine import Change, Phase
from qmodel.clock import DomainClock
from qmodel.contracts.commit import MemberReport
from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.nms import LinkAlarm, LinkStateChanged
from qmodel.links import LinkState
from qmodel.nodeconfig import NodeConfig


class Settler:
    """`fresh_within_s` and `heal_retry_s` are real time."""

    def __init__(
        self,
        store: Store,
        networks: Networks,
        clock: DomainClock,
        *,
        fresh_within_s: float,
        heal_retry_s: float,
    ) -> None:
        self._store = store
        self._networks = networks
        self._clock = clock
        self._fresh_within_s = fresh_within_s
        self._heal_retry_s = heal_retry_s

    async def drop(self, change_id: str) -> None:
        """Forget what is held and give its capacity back. No effect on what a commit has taken up."""
        await self._store.run(lambda unit: let_go(unit, change_id, PlanState.DROPPED, "dropped"))

    def committing(self, row: LinkRow) -> LinkRow:
        return replace(row, state=LinkState.COMMITTING, since=self._clock.now(), version=row.version + 1)

    async def settle(
        self, unit: Unit, change: Change, body: dict[str, Any], report: Sequence[MemberReport]
    ) -> None:
        """Carry out the end of `change` once; later ends only give back what unknown members had kept."""
        plan = await unit.plan(change.change_id, lock=True)
        if plan is None:
            return
        if plan.state is PlanState.COMMITTING and change.phase is Phase.COMMITTED:
            await self._put_in_force(unit, plan, change, body)
            await unit.end_plan(plan.change_id, PlanState.COMMITTED, None, report)
        elif plan.state is PlanState.COMMITTING:
            problem = change.refusal or "aborted"
            await release(unit, plan, problem)
            await unit.end_plan(plan.change_id, PlanState.ABORTED, problem, report)
            if plan.kind is Kind.HEAL:
                await unit.wake(HEAL_LOOP, NETWORK_KEY, self._heal_retry_s)
        else:
            await unit.end_plan(plan.change_id, plan.state, plan.problem, report)
        if not change.unknown:
            await unit.release_hold(plan.change_id)

    async def _put_in_force(self, unit: Unit, plan: Plan, change: Change, body: dict[str, Any]) -> None:
        _, network = await self._networks.current(unit, "share")
        await self._move_shares(unit, plan, network)
        if change.unknown:  # who is not known to have left may still use what it had
            await unit.hold_shares(plan.change_id, left_shares(plan, network))
        rows = {row.link_id: row for row in await unit.links(plan.link_ids, lock=True)}
        for move in sorted(plan.moves, key=lambda move: move.link_id):
            if move.new is None:
                await self._released(unit, rows[move.link_id], plan)
            else:
                parts = body["parts"][move.link_id]
                await self._moved(unit, rows[move.link_id], move, plan, parts, change.decided_at_s)
        targets = {
            element: NodeConfig.model_validate(target)
            for elements in body["targets"].values()
            for element, target in elements.items()
        }
        await unit.add_revision(plan, targets)
        await unit.set_stale(targets.keys(), False)
        await unit.set_stale(body["skipped"], True)
        for element in body["skipped"]:
            await unit.wake(ALIGN_LOOP, element, self._heal_retry_s)

    @staticmethod
    async def _move_shares(unit: Unit, plan: Plan, network: Network) -> None:
        """Old paths first give back, then new ones take: links may change places within one plan."""
        await unit.release_hold(plan.change_id)
        for link_id in plan.link_ids:
            await unit.replace_link_shares(link_id, {})
        for new in sorted(plan.new, key=lambda placement: placement.link_id):
            await unit.replace_link_shares(new.link_id, claims_of(new, network))

    async def _moved(
        self,
        unit: Unit,
        row: LinkRow,
        move: Move,
        plan: Plan,
        parts: Sequence[str],
        decided_at_s: float | None,
    ) -> None:
        """Every device had its target when the commit was decided: what elements say since then counts."""
        assert move.new is not None
        committed_s = self._clock.real_now_s() if decided_at_s is None else decided_at_s
        reason = plan.why if plan.kind is Kind.HEAL else "devices are settling"
        now = self._clock.now()
        await unit.put_link(
            replace(
                row,
                state=LinkState.STABILIZING,
                placement=move.new,
                in_force=True,
                parts=tuple(parts),
                change_id=None,
                reason=reason,
                expected_in_s=move.new.settle_s,
                since=now,
                committed_at=datetime.fromtimestamp(committed_s, UTC),
                version=row.version + 1,
            )
        )
        await unit.emit(
            LinkStateChanged(
                operator=self._networks.operator,
                link_id=row.link_id,
                state=LinkState.STABILIZING,
                at=now,
                reason=reason,
                expected_in_s=move.new.settle_s,
                placement=move.new,
            )
        )
        await unit.wake(LINK_LOOP, row.link_id, self._fresh_within_s)

    async def _released(self, unit: Unit, row: LinkRow, plan: Plan) -> None:
        now = self._clock.now()
        await unit.put_link(
            replace(
                row,
                state=LinkState.RELEASED,
                in_force=False,
                change_id=None,
                reason=plan.why,
                expected_in_s=0.0,
                since=now,
                version=row.version + 1,
            )
        )
        if not row.in_force:
            return
        await clear_alarm(unit, self._networks.operator, row.link_id, now, "the link was removed")
        await unit.emit(
            LinkStateChanged(
                operator=self._networks.operator,
                link_id=row.link_id,
                state=LinkState.RELEASED,
                at=now,
                reason=plan.why,
            )
        )


async def clear_alarm(unit: Unit, operator: str, link_id: str, at: datetime, text: str) -> None:
    """End the alarm of a link, if it has one, and say so."""
    cleared = await unit.clear_link_alarm(link_id, at)
    if cleared is not None:
        await unit.emit(
            LinkAlarm(
                operator=operator,
                link_id=link_id,
                severity=PerceivedSeverity.CLEARED,
                text=text,
                root_cause=cleared.root_cause,
                at=at,
            )
        )


async def let_go(unit: Unit, change_id: str, state: PlanState, problem: str) -> None:
    """End a plan that is only held."""
    plan = await unit.plan(change_id, lock=True)
    if plan is None or plan.state is not PlanState.HELD:
        return
    await release(unit, plan, problem)
    await unit.release_hold(change_id)
    await unit.end_plan(change_id, state, problem, ())


async def release(unit: Unit, plan: Plan, problem: str) -> None:
    """Free the links of a plan that will not happen: new ones are over, others go on as they were."""
    for row in await unit.links(plan.link_ids, lock=True):
        if row.change_id != plan.change_id:
            continue
        row = replace(row, change_id=None, version=row.version + 1)
        if not row.in_force:
            row = replace(row, state=LinkState.RELEASED, reason=problem)
        await unit.put_link(row)
