"""An NMS in the network-wide commit: in the middle under the SMS, or the root when it acts alone.

`worker` hands in the SMS's verbs, `heal` its own plans; `qcommit.desk` keeps the changes, and this module is
the log and the members of its runner. What a commit does to links and capacity is in `usecases.settle`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from nms.domain.network import Network
from nms.domain.plan import Kind, Plan, PlanState, Targets, ems_of, targets_of
from nms.ports import COMMIT_LOOP, Peers, Store, Unit
from nms.usecases.settle import Settler
from nms.usecases.topology import Networks
from qcommit.desk import Desk
from qcommit.machine import Change, Heard, Level, Limits, Member, Phase
from qcommit.runner import Runner
from qmodel.contracts.commit import (
    CommitAtNms,
    CommitReply,
    MemberReport,
    Outcome,
    Verb,
    Vote,
)
from qmodel.errors import BellweaveError, Conflict, TimedOut, Unavailable
from qmodel.links import LinkState, Placement
from qmodel.nodeconfig import NodeConfig

_REMEMBERED = 500
_OPEN_TRIES = 5


@dataclass
class _Memory:
    """What this process remembers of a change; all of it is also in rows, except who took how long."""

    targets: dict[str, dict[str, NodeConfig]] = field(default_factory=dict)
    replies: dict[str, CommitReply] = field(default_factory=dict)
    begun: dict[tuple[str, Verb], float] = field(default_factory=dict)
    elapsed_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """`vote` None: the change is open and its verbs can be carried out."""

    change: Change | None = None
    vote: Vote | None = None
    detail: str | None = None
    where: str | None = None


class Commits:
    """Log and members of the NMS's runner. One per process; `epoch` is this process's own."""

    def __init__(
        self,
        store: Store,
        peers: Peers,
        networks: Networks,
        settler: Settler,
        *,
        now_s: Callable[[], float],
        epoch: Callable[[], int],
        limits: Limits,
        carry_s: float,
        confirm_timeout_s: float,
    ) -> None:
        self._store = store
        self._peers = peers
        self._networks = networks
        self._settler = settler
        self._now_s = now_s
        self._epoch = epoch
        self._carry_s = carry_s
        self._confirm_timeout_s = confirm_timeout_s
        self._memories: OrderedDict[str, _Memory] = OrderedDict()
        self._log = structlog.get_logger("nms.commit")
        self.desk = Desk(Runner(self, self, now_s, limits), self._load, epoch)

    # What others ask.

    async def handle(self, ask: CommitAtNms) -> CommitReply:
        """Carry out one verb of the SMS; asked again, answer with where the change stands.

        Raises Unavailable while nothing can be said yet."""
        if ask.verb is Verb.VALIDATE and not self.desk.knows(ask.change_id):
            opened = await self._open(
                ask.change_id, Level.MIDDLE, parent=ask.coordinator, timeout_s=ask.confirm_timeout_s
            )
            if opened.vote is not None:
                return CommitReply(
                    change_id=ask.change_id, vote=opened.vote, detail=opened.detail, where=opened.where
                )
        change, vote = await self.desk.told(ask.change_id, ask.verb)
        if change is None:
            return await self._strange(ask)
        if vote is None:
            raise Unavailable("the change is being worked on", where=ask.change_id, retry_after_s=0.2)
        return CommitReply(
            change_id=change.change_id,
            vote=vote,
            expires_at_s=change.expires_at_s,
            detail=change.refusal,
            where=change.refused_where,
            members=await self._report(change),
        )

    async def _strange(self, ask: CommitAtNms) -> CommitReply:
        """A verb for a change of which there is no row: nothing was done here, so it can only end."""
        if ask.verb is Verb.ABORT:
            await self._settler.drop(ask.change_id)
            return CommitReply(change_id=ask.change_id, vote=Vote.ABORTED)
        detail = f"{self._networks.operator} knows no such change"
        return CommitReply(change_id=ask.change_id, vote=Vote.REFUSED, detail=detail)

    async def outcome(self, change_id: str) -> Outcome:
        """What an EMS in doubt is told, from the durable row: no row means abort."""
        stored = await self._store.run(lambda unit: unit.change(change_id))
        return Outcome.ABORT if stored is None else stored[0].outcome

    # What we begin ourselves.

    async def run_own(self, plan: Plan) -> Opened:
        """Commit a held plan of our own as its root, to its end. `vote` is CONFIRMED, UNKNOWN (committed, and
        carried forward), ABORTED, or BUSY (nothing was done)."""
        opened = await self._open(plan.change_id, Level.ROOT, parent=None, timeout_s=self._confirm_timeout_s)
        if opened.vote is not None or opened.change is None:
            return opened
        change, vote = await self.desk.begin(opened.change)
        if change is None:
            return Opened(vote=Vote.ABORTED, detail="the change is gone")
        return Opened(change, vote, change.refusal, change.refused_where)

    async def resume_all(self) -> None:
        """After a start: have every unfinished change taken up at once."""

        async def work(unit: Unit) -> None:
            for change_id in await unit.unfinished():
                await unit.wake(COMMIT_LOOP, change_id)

        await self._store.run(work)

    async def carry(self, change_id: str) -> float | None:
        """The commit loop: take up a change whose process died, and carry unknown members forward.

        Returns seconds until the next look, None when the change is settled."""
        stored = await self._store.run(lambda unit: unit.change(change_id))
        if stored is None or _settled(stored[0]):
            return None
        change = stored[0]
        if not change.phase.final and self.desk.knows(change_id):
            return self._carry_s
        if change.epoch != self._epoch() and await self._store.run(
            lambda unit: unit.holder_lives(change.epoch)
        ):
            return self._carry_s
        resumed, _ = await self.desk.resume(change_id)
        return None if resumed is None or _settled(resumed) else self._carry_s

    # Opening a change.

    async def _open(self, change_id: str, level: Level, *, parent: str | None, timeout_s: float) -> Opened:
        for _ in range(_OPEN_TRIES):
            try:
                opened = await self._store.run(
                    lambda unit: self._opening(unit, change_id, level, parent, timeout_s)
                )
            except _Raced:
                continue
            except Conflict as error:
                if "holder" not in error.facts:
                    raise
                detail = f"{error.where} is busy with change {error.facts['holder']}"
                return Opened(vote=Vote.BUSY, detail=detail, where=error.where)
            if opened.change is not None:
                self.desk.open(opened.change)
            return opened
        return Opened(vote=Vote.BUSY, detail="links change too fast to compute targets")

    async def _opening(
        self, unit: Unit, change_id: str, level: Level, parent: str | None, timeout_s: float
    ) -> Opened:
        """One transaction: claim the elements, compute their targets, store both."""
        plan = await unit.plan(change_id, lock=True)
        if plan is None or plan.state not in (PlanState.HELD, PlanState.COMMITTING):
            state = "nothing" if plan is None else plan.state.value
            return Opened(vote=Vote.REFUSED, detail=f"nothing is held under this change ({state})")
        if plan.state is PlanState.COMMITTING:
            return Opened()
        _, network = await self._networks.current(unit, "share")
        skip = frozenset[str]() if plan.kind is not Kind.HEAL else await self._dispensable(unit, plan)
        before = await self._running(unit, plan)
        targets = targets_of(plan, before, network, skip=skip)
        by_ems, claims = _by_ems(targets, plan, network, skip)
        change = Change(
            change_id=change_id,
            level=level,
            epoch=self._epoch(),
            members=tuple(Member(ems) for ems in sorted(by_ems)),
            parent=parent,
            confirm_timeout_s=timeout_s,
        )
        if not await unit.open_change(change, claims, _body(by_ems, targets, skip)):
            return Opened()
        # Claims are ours now, so nobody else can change these elements: what was read before must still hold.
        if await self._running(unit, plan) != before:
            raise _Raced
        await unit.begin_plan(change_id)
        for row in await unit.links(plan.link_ids, lock=True):
            if row.state is LinkState.HELD:
                await unit.put_link(self._settler.committing(row))
        await unit.wake(COMMIT_LOOP, change_id, self._carry_s)
        self._memory(change_id).targets = by_ems
        return Opened(change)

    @staticmethod
    async def _running(unit: Unit, plan: Plan) -> list[Placement]:
        return [row.placement for row in await unit.links_touching(plan.touched)]

    @staticmethod
    async def _dispensable(unit: Unit, plan: Plan) -> frozenset[str]:
        """Elements that are away and that the new placements do not need: they must not stop healing."""
        needed = {element for placement in plan.new for element in placement.elements}
        return (await unit.unreachable()) - needed

    # Log of the runner.

    async def save(self, change: Change) -> None:
        report = await self._report(change) if change.phase.final else ()

        async def work(unit: Unit) -> None:
            await unit.save_change(change)
            if change.phase.final:
                stored = await unit.change(change.change_id)
                assert stored is not None
                await self._settler.settle(unit, change, stored[1], report)
                if change.unknown:
                    await unit.wake(COMMIT_LOOP, change.change_id, self._carry_s)

        await self._store.run(work)
        if change.phase in (Phase.CONFIRMING, Phase.COMMITTED, Phase.ABORTED):
            self._log.info(
                "change", change_id=change.change_id, phase=change.phase.value, refusal=change.refusal
            )

    async def _load(self, change_id: str) -> Change | None:
        stored = await self._store.run(lambda unit: unit.change(change_id))
        return None if stored is None else stored[0]

    # Members of the runner.

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        memory = self._memory(change.change_id)
        begun = memory.begun.setdefault((member, verb), self._now_s())
        try:
            targets = await self._targets(change.change_id, member) if verb is Verb.VALIDATE else {}
            reply = await self._peers.tell_ems(member, change, verb, targets)
        except BellweaveError as error:
            if verb in (Verb.VALIDATE, Verb.PROVISION) and not isinstance(error, (TimedOut, Unavailable)):
                return Heard(member, verb, Vote.REFUSED, detail=error.detail, where=error.where)
            return Heard(member, verb, None, detail=error.detail, where=error.where)
        memory.replies[member] = reply
        memory.elapsed_s[member] = self._now_s() - begun
        where = f"{member}/{reply.where}" if reply.where else None
        return Heard(member, verb, reply.vote, reply.expires_at_s, reply.detail, where)

    async def ask_parent(self, change: Change) -> Outcome:
        if change.parent is None:
            return Outcome.UNDECIDED
        try:
            return await self._peers.ask_outcome(change.parent, change.change_id)
        except BellweaveError as error:
            self._log.info("parent-silent", change_id=change.change_id, detail=error.detail)
            return Outcome.UNDECIDED

    async def _targets(self, change_id: str, member: str) -> Mapping[str, NodeConfig]:
        memory = self._memory(change_id)
        if member not in memory.targets:
            stored = await self._store.run(lambda unit: unit.change(change_id))
            memory.targets = targets_in(stored[1]) if stored is not None else {}
        return memory.targets.get(member, {})

    def _memory(self, change_id: str) -> _Memory:
        memory = self._memories.setdefault(change_id, _Memory())
        self._memories.move_to_end(change_id)
        while len(self._memories) > _REMEMBERED:
            self._memories.popitem(last=False)
        return memory

    async def _report(self, change: Change) -> tuple[MemberReport, ...]:
        """Flat: each EMS, then its elements as `ems.north/alice-qn`."""
        memory = self._memory(change.change_id)
        reports: list[MemberReport] = []
        for member in change.members:
            reply = memory.replies.get(member.name)
            vote = member.vote or (reply.vote if reply is not None else Vote.UNKNOWN)
            reports.append(
                MemberReport(
                    member=member.name,
                    vote=vote,
                    detail=member.detail,
                    where=member.where,
                    elapsed_s=memory.elapsed_s.get(member.name, 0.0),
                )
            )
            for below in reply.members if reply is not None else ():
                reports.append(below.model_copy(update={"member": f"{member.name}/{below.member}"}))
        return tuple(reports)


class _Raced(Exception):
    """What runs changed while targets were computed."""


def _settled(change: Change) -> bool:
    return change.phase.final and not change.unknown


def _by_ems(
    targets: Targets, plan: Plan, network: Network, skip: frozenset[str]
) -> tuple[dict[str, dict[str, NodeConfig]], set[str]]:
    """Targets by EMS, and the claims: every element that the plan's placements touch, before or after."""
    ems = ems_of(network)
    by_ems: dict[str, dict[str, NodeConfig]] = {}
    for element, target in targets.by_element.items():
        by_ems.setdefault(ems[element], {})[element] = target
    return by_ems, {f"{ems[element]}/{element}" for element in plan.touched - skip}


def _body(
    by_ems: Mapping[str, Mapping[str, NodeConfig]], targets: Targets, skip: frozenset[str]
) -> dict[str, Any]:
    """What is stored beside the change: see `targets_in` and `settle`."""
    return {
        "targets": {
            ems: {element: target.model_dump(mode="json") for element, target in elements.items()}
            for ems, elements in by_ems.items()
        },
        "parts": {link_id: sorted(elements) for link_id, elements in targets.parts.items()},
        "skipped": sorted(skip),
    }


def targets_in(body: Mapping[str, Any]) -> dict[str, dict[str, NodeConfig]]:
    """Whole targets by EMS and element, from a change's body."""
    return {
        ems: {element: NodeConfig.model_validate(target) for element, target in elements.items()}
        for ems, elements in body["targets"].items()
    }
