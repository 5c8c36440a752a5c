"""The EMS's part in the commit: what it votes, what it keeps, and what it leaves behind on devices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ems.domain.quantum_node import snapshot_of
from ems.domain.snapshot import Snapshot
from ems.ports import Order, Sight, StoredPlan
from ems.usecases.busy import Busy
from ems.usecases.commit import DeviceCommit
from qcommit.device import Action, Seen
from qcommit.machine import Change, Limits, Phase
from qmodel.contracts.commit import CommitAtEms, CommitReply, Outcome, Verb, Vote
from qmodel.errors import Unavailable
from qmodel.nodeconfig import Circuit, NodeConfig, Role

TARGET = NodeConfig(
    circuits=(
        Circuit(link_id="lnk_1", role=Role.ENDPOINT, ports=("q1",), detector="det-1", pair_rate_hz=5e4),
    )
)


@dataclass
class FakeHands:
    """Devices in memory that do what they are told, but for `faults`."""

    running: dict[str, Snapshot] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    faults: dict[tuple[str, Action], Sight] = field(default_factory=dict)
    log: list[tuple[str, Action]] = field(default_factory=list)

    def staged(self, element: str, change_id: str) -> bool:
        return self.holder.get(element) == change_id

    async def act(self, element: str, action: Action, order: Order) -> Sight:
        self.log.append((element, action))
        await asyncio.sleep(0)
        if (element, action) in self.faults:
            return self.faults[element, action]
        before = order.before or Snapshot()
        match action:
            case Action.STAGE:
                self.holder[element] = order.change_id
                return Sight(Seen.STAGED, self.running.get(element, Snapshot()))
            case Action.PROVISION | Action.APPLY:
                self.running[element] = order.target
                self.holder.pop(element, None)
            case Action.CANCEL | Action.RESTORE:
                self.running[element] = before
            case Action.DISCARD:
                self.holder.pop(element, None)
            case _:
                pass
        running = self.running.get(element, Snapshot())
        return Sight(Seen.TARGET if running == order.target else Seen.BEFORE, running)


@dataclass
class FakeStore:
    """Rows in memory."""

    strangers: dict[str, str] = field(default_factory=dict)
    rows: dict[str, StoredPlan] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    saves: list[Phase] = field(default_factory=list)

    async def unmanaged(self, elements: Sequence[str]) -> dict[str, str]:
        return {e: self.strangers[e] for e in elements if e in self.strangers}

    async def claimed(self, change_id: str, elements: Sequence[str]) -> dict[str, str]:
        return {}

    async def insert_change(
        self, change: Change, targets: dict[str, NodeConfig], before: dict[str, Snapshot]
    ) -> None:
        if self.failures:
            raise self.failures.pop()
        self.rows[change.change_id] = StoredPlan(change, targets, dict(before))
        self.saves.append(change.phase)

    async def save_change(self, change: Change, targets: dict[str, NodeConfig]) -> None:
        self.rows[change.change_id] = StoredPlan(change, targets, self.rows[change.change_id].before)
        self.saves.append(change.phase)

    async def stored_change(self, change_id: str) -> StoredPlan | None:
        return self.rows.get(change_id)

    async def unfinished_changes(self) -> list[str]:
        return [c for c, plan in self.rows.items() if not plan.change.phase.final or plan.change.unknown]


@dataclass
class FakeParent:
    answer: Outcome = Outcome.UNDECIDED

    async def outcome(self, parent: str, change_id: str) -> Outcome:
        return self.answer


LIMITS = Limits(validate_s=0.3, provision_s=0.3, settle_s=0.1, first_retry_s=0.01, last_retry_s=0.02)


class Ems:
    def __init__(self) -> None:
        self.hands, self.store, self.parent = FakeHands(), FakeStore(), FakeParent()
        self.start(1)

    def start(self, epoch: int) -> None:
        """A new process over the same rows and devices; candidates died with the sessions."""
        self.hands.holder.clear()
        self.commit = DeviceCommit(
            self.store, self.hands, self.parent, Busy(), now_s=time.time, epoch=lambda: epoch, limits=LIMITS
        )

    async def tell(self, verb: Verb, *elements: str, change_id: str = "chg_1") -> CommitReply:
        return await self.commit.handle(
            CommitAtEms(
                request_id="r",
                change_id=change_id,
                epoch=1,
                verb=verb,
                coordinator="nms.north",
                targets=dict.fromkeys(elements or ("a", "b"), TARGET) if verb is Verb.VALIDATE else {},
            )
        )

    async def vote(self) -> CommitReply:
        await self.tell(Verb.VALIDATE)
        return await self.tell(Verb.PROVISION)


async def test_a_change_goes_through_in_three_flights_and_its_rows_are_the_least() -> None:
    ems = Ems()
    await ems.vote()
    assert (await ems.tell(Verb.CONFIRM)).vote is Vote.CONFIRMED
    assert set(ems.hands.running.values()) == {snapshot_of(TARGET)}
    assert [a for e, a in ems.hands.log if e == "a"] == [Action.STAGE, Action.PROVISION, Action.CONFIRM]
    assert ems.store.saves == [Phase.PROVISIONING, Phase.PROVISIONED, Phase.COMMITTED]


async def test_validating_leaves_nothing_durable_and_abort_lets_go_of_the_candidate() -> None:
    ems = Ems()
    await ems.tell(Verb.VALIDATE)
    assert (await ems.tell(Verb.ABORT)).vote is Vote.ABORTED
    assert ems.store.rows == {}
    assert ems.hands.holder == {}


async def test_a_vote_carries_the_earliest_expiry() -> None:
    ems = Ems()
    asked_at_s = time.time()
    reply = await ems.vote()
    assert reply.expires_at_s is not None
    assert asked_at_s + 60 <= reply.expires_at_s <= time.time() + 60


@pytest.mark.parametrize("action", [Action.STAGE, Action.PROVISION])
async def test_one_refusing_device_leaves_all_as_they_were(action: Action) -> None:
    ems = Ems()
    ems.hands.faults["b", action] = Sight(Seen.REFUSED, detail="no such port", where="b/q1")
    reply = await (ems.vote() if action is Action.PROVISION else ems.tell(Verb.VALIDATE))
    assert (reply.vote, reply.detail, reply.where) == (Vote.REFUSED, "no such port", "b/q1")
    assert set(ems.hands.running.values()) <= {Snapshot()}
    assert ems.hands.holder.get("a") is None


async def test_an_ok_that_changed_nothing_is_a_refusal() -> None:
    ems = Ems()
    ems.hands.faults["b", Action.PROVISION] = Sight(Seen.BEFORE, Snapshot(), "answered ok, applied nothing")
    assert (await ems.vote()).vote is Vote.REFUSED
    assert set(ems.hands.running.values()) == {Snapshot()}


async def test_a_device_that_reverted_after_the_decision_is_carried_forward() -> None:
    ems = Ems()
    await ems.vote()
    ems.hands.faults["b", Action.CONFIRM] = Sight(Seen.BEFORE, Snapshot())
    ems.hands.running["b"] = Snapshot()
    assert (await ems.tell(Verb.CONFIRM)).vote is Vote.CONFIRMED
    assert set(ems.hands.running.values()) == {snapshot_of(TARGET)}


async def test_a_device_lost_after_the_decision_is_unknown_until_it_is_back() -> None:
    ems = Ems()
    await ems.vote()
    gone = Sight(Seen.UNREACHABLE, detail="connection refused")
    ems.hands.faults |= {("b", Action.CONFIRM): gone, ("b", Action.APPLY): gone}
    reply = await ems.tell(Verb.CONFIRM)
    assert reply.vote is Vote.UNKNOWN
    assert {m.member: m.vote for m in reply.members} == {"a": Vote.CONFIRMED, "b": Vote.UNKNOWN}
    ems.hands.faults.clear()
    await ems.commit.resume()
    assert ems.store.rows["chg_1"].change.unknown == ()


async def test_an_element_of_another_change_is_busy_until_that_ends() -> None:
    ems = Ems()
    await ems.tell(Verb.VALIDATE, "a")
    reply = await ems.tell(Verb.VALIDATE, "a", "b", change_id="chg_2")
    assert (reply.vote, reply.where) == (Vote.BUSY, "a")
    await ems.tell(Verb.ABORT)
    assert (await ems.tell(Verb.VALIDATE, "a", "b", change_id="chg_3")).vote is Vote.VALIDATED


async def test_an_element_that_is_not_ours_is_refused_by_name() -> None:
    ems = Ems()
    ems.store.strangers = {"x": "no device 'x' at this EMS"}
    reply = await ems.tell(Verb.VALIDATE, "a", "x")
    assert (reply.vote, reply.where) == (Vote.REFUSED, "x")


async def test_verbs_of_an_unknown_change_are_refused_and_its_abort_is_done() -> None:
    ems = Ems()
    assert (await ems.tell(Verb.PROVISION)).vote is Vote.REFUSED
    assert (await ems.tell(Verb.ABORT)).vote is Vote.ABORTED


async def test_a_repeated_verb_does_nothing_twice() -> None:
    ems = Ems()
    await ems.vote()
    before = list(ems.hands.log)
    assert (await ems.tell(Verb.PROVISION)).vote is Vote.PROVISIONED
    assert ems.hands.log == before


@pytest.mark.parametrize(
    ("outcome", "phase", "running"),
    [
        (Outcome.COMMIT, Phase.COMMITTED, snapshot_of(TARGET)),
        (Outcome.ABORT, Phase.ABORTED, Snapshot()),
    ],
)
async def test_after_a_restart_in_doubt_the_parent_decides(
    outcome: Outcome, phase: Phase, running: Snapshot
) -> None:
    ems = Ems()
    await ems.vote()
    ems.parent.answer = outcome
    ems.start(epoch=2)
    await ems.commit.resume()
    assert ems.store.rows["chg_1"].change.phase is phase
    assert set(ems.hands.running.values()) == {running}


async def test_after_a_restart_the_persist_id_is_still_the_one_that_was_sent() -> None:
    ems = Ems()
    await ems.vote()
    sent = ems.store.rows["chg_1"].change.persist_id
    ems.start(epoch=2)
    await ems.commit.resume()
    assert ems.store.rows["chg_1"].change.persist_id == sent


async def test_asked_to_provision_again_after_a_restart_it_reads_back_before_it_votes() -> None:
    ems = Ems()
    await ems.vote()
    ems.start(epoch=2)
    ems.hands.log.clear()
    assert (await ems.tell(Verb.PROVISION)).vote is Vote.PROVISIONED
    assert ("a", Action.READ) in ems.hands.log
    assert ("a", Action.PROVISION) not in ems.hands.log, "it was provisional already"


async def test_a_database_that_fails_before_anything_is_durable_leaves_no_candidate_and_no_claim() -> None:
    ems = Ems()
    ems.store.failures = [Unavailable("the database cannot be reached")]
    await ems.tell(Verb.VALIDATE)
    with pytest.raises(Unavailable):
        await ems.tell(Verb.PROVISION)
    assert (await ems.tell(Verb.ABORT)).vote is Vote.ABORTED
    assert ems.hands.holder == {}
    assert (await ems.tell(Verb.VALIDATE, change_id="chg_2")).vote is Vote.VALIDATED


async def test_what_nobody_asks_for_any_more_is_let_go_by_itself() -> None:
    ems = Ems()
    ems.store.failures = [Unavailable("the database cannot be reached")]
    await ems.tell(Verb.VALIDATE)
    with pytest.raises(Unavailable):
        await ems.tell(Verb.PROVISION)
    await ems.commit.resume()
    assert ems.hands.holder == {}
