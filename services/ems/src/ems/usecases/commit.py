"""An EMS's part in the network-wide commit: the leaf of the tree, where verbs become device operations.

`worker` hands in what the NMS asks (`CommitAtEms`); `qcommit.desk` keeps the change, this module is its log
and its members. What to do to a device is decided by `qcommit.device.next_action` from what was *seen* on
it, never from what it answered.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ems.domain.quantum_node import snapshot_of
from ems.domain.snapshot import Snapshot
from ems.ports import CommitStore, DeviceHands, Order, ParentLine
from ems.usecases.busy import Busy
from qcommit.desk import Desk
from qcommit.device import Action, Seen, next_action
from qcommit.machine import Change, Heard, Level, Limits, Member, Phase
from qcommit.runner import Runner
from qmodel.contracts.commit import CommitAtEms, CommitReply, MemberReport, Outcome, Verb, Vote
from qmodel.errors import Invalid, Unavailable
from qmodel.nodeconfig import NodeConfig

_log = structlog.get_logger(__name__)

_MAX_ACTIONS = 8


@dataclass
class Plan:
    """What one change wants of each element, and what each was before. `durable` once its row exists."""

    targets: dict[str, NodeConfig]
    snapshots: dict[str, Snapshot]
    before: dict[str, Snapshot] = field(default_factory=dict)
    durable: bool = False
    elapsed_s: dict[str, float] = field(default_factory=dict)


def _plan(targets: dict[str, NodeConfig]) -> Plan:
    """Raises Invalid for a target that no device could hold."""
    normalized = {element: target.normalized() for element, target in targets.items()}
    return Plan(normalized, {element: snapshot_of(target) for element, target in normalized.items()})


def _reply(change: Change, vote: Vote, elapsed_s: dict[str, float]) -> CommitReply:
    return CommitReply(
        change_id=change.change_id,
        vote=vote,
        expires_at_s=change.expires_at_s,
        detail=change.refusal,
        where=change.refused_where,
        members=tuple(
            MemberReport(
                member=m.name,
                vote=m.vote or Vote.UNKNOWN,
                detail=m.detail,
                where=m.where,
                elapsed_s=elapsed_s.get(m.name, 0.0),
            )
            for m in change.members
        ),
    )


class DeviceCommit:
    """Log and members of the leaf's runner. One per process; `epoch` is this process's own. `moved` is told
    of every element whose configuration may just have changed, and whether the change has ended there."""

    def __init__(
        self,
        store: CommitStore,
        hands: DeviceHands,
        parents: ParentLine,
        busy: Busy,
        *,
        now_s: Callable[[], float],
        epoch: Callable[[], int],
        limits: Limits,
        moved: Callable[[str, bool], None] = lambda element, ended: None,
    ) -> None:
        self._moved = moved
        self._store = store
        self._hands = hands
        self._parents = parents
        self._now_s = now_s
        self._epoch = epoch
        self._plans: dict[str, Plan] = {}
        self._busy = busy
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.desk = Desk(Runner(self, self, now_s, limits), self._load, epoch)

    async def handle(self, request: CommitAtEms) -> CommitReply:
        """Answer one verb of the NMS; asked again, answer with where the change stands.

        Raises Unavailable while nothing can be said yet."""
        if request.verb is Verb.VALIDATE and not self.desk.knows(request.change_id):
            refused = await self._open(request)
            if refused is not None:
                return refused
        plan = self._plans.get(request.change_id)
        change, vote = await self.desk.told(request.change_id, request.verb)
        if change is None:
            await self._let_go(request.change_id)
            vote = Vote.ABORTED if request.verb is Verb.ABORT else Vote.REFUSED
            return CommitReply(change_id=request.change_id, vote=vote, detail="this EMS knows no such change")
        if vote is None:
            raise Unavailable("the change is being worked on", where=request.change_id, retry_after_s=0.2)
        return _reply(change, vote, {} if plan is None else plan.elapsed_s)

    async def resume(self) -> None:
        """Take up every change that its row says has not ended and that nobody here works on; drop what this
        process lost before anything of it was durable."""
        for change_id in [c for c, plan in self._plans.items() if not plan.durable]:
            if not self.desk.knows(change_id):
                await self._let_go(change_id)
        left = [c for c in await self._store.unfinished_changes() if not self.desk.is_active(c)]
        ended = await asyncio.gather(*map(self.desk.resume, left), return_exceptions=True)
        for change_id, outcome in zip(left, ended, strict=True):
            if isinstance(outcome, Exception):
                _log.warning("change-not-resumed", change_id=change_id, error=repr(outcome))

    async def _let_go(self, change_id: str) -> None:
        """Discard the candidates of a change of which there is no row: nothing was ever committed for it."""
        plan = self._plans.get(change_id)
        if plan is None or plan.durable or self.desk.knows(change_id):
            return
        for element, target in plan.snapshots.items():
            async with self._locks[element]:
                if self._hands.staged(element, change_id):
                    await self._hands.act(element, Action.DISCARD, Order(change_id, change_id, 0.0, target))
        self._plans.pop(change_id, None)
        self._busy.give_back(change_id)

    async def _open(self, request: CommitAtEms) -> CommitReply | None:
        """Plan the change, or say why not: an element not ours, or busy with another change."""
        elements = sorted(request.targets)
        if await self._store.stored_change(request.change_id) is not None:
            return None
        unmanaged = await self._store.unmanaged(elements)
        if unmanaged:
            element, why = next(iter(unmanaged.items()))
            return CommitReply(change_id=request.change_id, vote=Vote.REFUSED, detail=why, where=element)
        held = await self._store.claimed(request.change_id, elements)
        held |= {e: by for e in elements if (by := self._busy.holder(e))}  # nothing is awaited from here on
        if held:
            element, holder = next(iter(held.items()))
            detail = f"{element} is busy with {holder}"
            return CommitReply(change_id=request.change_id, vote=Vote.BUSY, detail=detail, where=element)
        try:
            self._plans[request.change_id] = _plan(request.targets)
        except Invalid as error:
            return CommitReply(
                change_id=request.change_id, vote=Vote.REFUSED, detail=error.detail, where=error.where
            )
        self._busy.take(elements, request.change_id)
        self.desk.open(
            Change(
                change_id=request.change_id,
                level=Level.LEAF,
                epoch=self._epoch(),
                members=tuple(Member(element) for element in elements),
                parent=request.coordinator,
                confirm_timeout_s=request.confirm_timeout_s,
            )
        )
        return None

    # Log of the runner.

    async def save(self, change: Change) -> None:
        plan = self._plans[change.change_id]
        if plan.durable:
            await self._store.save_change(change, plan.targets)
        elif change.phase is not Phase.ABORTED:
            await self._store.insert_change(change, plan.targets, plan.before)
            plan.durable = True
        if change.phase.final:
            self._forget(change)
            for member in change.members:
                self._moved(member.name, True)

    def _forget(self, change: Change) -> None:
        self._busy.give_back(change.change_id)
        if not change.unknown or not self._plans[change.change_id].durable:
            self._plans.pop(change.change_id, None)

    async def _load(self, change_id: str) -> Change | None:
        stored = await self._store.stored_change(change_id)
        if stored is None:
            return None
        if stored.change.phase.final and not stored.change.unknown:
            return stored.change
        plan = _plan(stored.targets)
        plan.before, plan.durable = stored.before, True
        self._plans[change_id] = plan
        return stored.change

    # Members of the runner.

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        started_s = self._now_s()
        plan = self._plans[change.change_id]
        async with self._locks[member]:
            heard = await self._drive(change, plan, member, verb)
        plan.elapsed_s[member] = self._now_s() - started_s
        if verb is not Verb.VALIDATE:
            self._moved(member, False)
        return heard

    async def ask_parent(self, change: Change) -> Outcome:
        if change.parent is None:
            return Outcome.UNDECIDED
        return await self._parents.outcome(change.parent, change.change_id)

    def _note(
        self,
        change: Change,
        element: str,
        verb: Verb,
        vote: Vote | None,
        done: tuple[tuple[Action, Seen], ...],
        detail: str | None,
    ) -> None:
        """What did not go straight is worth a line for the operator."""
        if len(done) > 1 or vote in (None, Vote.REFUSED, Vote.UNKNOWN):
            _log.warning(
                "detour",
                change_id=change.change_id,
                element=element,
                verb=verb.value,
                vote=None if vote is None else vote.value,
                actions=[f"{action.value}: {seen.value}" for action, seen in done],
                detail=detail,
            )

    async def _drive(self, change: Change, plan: Plan, element: str, verb: Verb) -> Heard:
        row = next(m for m in change.members if m.name == element)
        sent_at_s = row.sent_at_s
        done: tuple[tuple[Action, Seen], ...] = ()
        detail = where = None
        for _ in range(_MAX_ACTIONS):
            step = next_action(
                verb,
                done,
                staged=self._hands.staged(element, change.change_id),
                sent=row.sent_at_s is not None,
            )
            if not isinstance(step, Action):
                self._note(change, element, verb, step, done, detail)
                expires_at_s = None if sent_at_s is None else sent_at_s + change.confirm_timeout_s
                return Heard(element, verb, step, expires_at_s, detail, where)
            if step is Action.PROVISION:
                sent_at_s = self._now_s()
            order = Order(
                change_id=change.change_id,
                persist_id=change.persist_id,
                confirm_timeout_s=change.confirm_timeout_s,
                target=plan.snapshots[element],
                before=plan.before.get(element),
            )
            sight = await self._hands.act(element, step, order)
            if step in (Action.STAGE, Action.READ) and sight.running is not None and sent_at_s is None:
                plan.before[element] = sight.running
            if sight.detail is not None:
                detail, where = sight.detail, sight.where or element
            done = (*done, (step, sight.seen))
        return Heard(element, verb, None, detail=f"gave up after {_MAX_ACTIONS} operations", where=element)
