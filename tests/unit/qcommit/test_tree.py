"""Three levels of runners over faulty devices in memory: everywhere or nowhere, whatever refuses or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommit.desk import Desk
from qcommit.device import Action, Seen, next_action
from qcommit.machine import Change, Heard, Level, Limits, Member, Phase
from qcommit.runner import Runner
from qmodel.contracts.commit import Outcome, Verb, Vote

LIMITS = {
    level: Limits(
        validate_s=patience_s,
        provision_s=patience_s,
        settle_s=patience_s,
        margin_s=0.0,
        doubt_s=patience_s,
        first_retry_s=0.001,
        last_retry_s=0.01,
    )
    for level, patience_s in ((Level.ROOT, 0.4), (Level.MIDDLE, 0.2), (Level.LEAF, 0.1))
}


@dataclass
class Device:
    """An element in memory with a running and a provisional configuration, and faults by action."""

    faults: Mapping[Action, Seen] = field(default_factory=dict)
    running: str = "before"
    provisional: bool = False
    staged: bool = False

    def act(self, action: Action) -> Seen:
        if action in self.faults:
            return self.faults[action]
        match action:
            case Action.STAGE:
                self.staged = True
                return Seen.STAGED
            case Action.PROVISION:
                self.running, self.provisional, self.staged = "target", True, False
            case Action.CONFIRM:
                self.provisional = False
            case Action.CANCEL if self.provisional:
                self.running, self.provisional = "before", False
            case Action.APPLY:
                self.running, self.provisional = "target", False
            case Action.RESTORE:
                self.running, self.provisional = "before", False
            case Action.DISCARD:
                self.staged = False
            case _:
                pass
        return Seen.TARGET if self.running == "target" else Seen.BEFORE

    def tell(self, verb: Verb, sent: bool) -> Vote | None:
        done: tuple[tuple[Action, Seen], ...] = ()
        while True:
            action = next_action(verb, done, staged=self.staged, sent=sent)
            if not isinstance(action, Action):
                return action
            done = (*done, (action, self.act(action)))
            assert len(done) < 8, done


class Rows:
    """Durable rows in memory; `fail_at` makes one save die as a killed process would."""

    def __init__(self) -> None:
        self.rows: dict[str, Change] = {}
        self.saves = 0
        self.fail_at: int | None = None

    async def save(self, change: Change) -> None:
        self.saves += 1
        if self.saves == self.fail_at:
            raise RuntimeError("killed")
        self.rows[change.change_id] = change


class Devices:
    def __init__(self, devices: dict[str, Device]) -> None:
        self.devices = devices

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        await asyncio.sleep(0)
        sent = next(m.sent_at_s for m in change.members if m.name == member) is not None
        return Heard(member, verb, self.devices[member].tell(verb, sent), expires_at_s=1e12)

    async def ask_parent(self, change: Change) -> Outcome:
        return Outcome.UNDECIDED


class Node:
    """One service: its desk and rows, told by its parent."""

    def __init__(self, level: Level, members: tuple[str, ...], below: Devices | Peers) -> None:
        self.rows = Rows()
        self.epoch = 1
        clock = asyncio.get_running_loop().time
        self.desk = Desk(Runner(self.rows, below, clock, LIMITS[level]), self.load, lambda: self.epoch)
        planned = Change("c", level, 1, tuple(map(Member, members)), None if level is Level.ROOT else "up")
        if level is not Level.LEAF:
            self.rows.rows["c"] = planned
        self.desk.open(planned)

    async def load(self, change_id: str) -> Change | None:
        return self.rows.rows.get(change_id)

    async def told(self, verb: Verb) -> tuple[Change | None, Vote | None]:
        return await self.desk.told("c", verb)

    @property
    def change(self) -> Change:
        return self.rows.rows["c"]


class Peers:
    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        below, vote = await self.nodes[member].told(verb)
        return Heard(member, verb, vote, expires_at_s=below.expires_at_s if below else None)

    async def ask_parent(self, change: Change) -> Outcome:
        return Outcome.UNDECIDED


def tree(devices: dict[str, Device]) -> Node:
    """SMS over two NMSs, each over one EMS with half of the devices."""
    names = sorted(devices)
    nms: dict[str, Node] = {}
    for operator, part in (("north", names[::2]), ("south", names[1::2])):
        ems = Node(Level.LEAF, tuple(part), Devices(devices))
        nms[operator] = Node(Level.MIDDLE, (f"ems.{operator}",), Peers({f"ems.{operator}": ems}))
    return Node(Level.ROOT, tuple(nms), Peers(nms))


BEFORE_DECISION = (Action.STAGE, Action.PROVISION)


async def test_a_change_reaches_every_device() -> None:
    devices = {n: Device() for n in "abcd"}
    root = tree(devices)
    assert (await root.told(Verb.VALIDATE))[1] is Vote.CONFIRMED
    assert {d.running for d in devices.values()} == {"target"}
    assert not any(d.provisional for d in devices.values())


@pytest.mark.parametrize("action", BEFORE_DECISION)
@pytest.mark.parametrize("seen", [Seen.REFUSED, Seen.UNREACHABLE, Seen.OTHER])
async def test_one_bad_device_before_the_decision_changes_nothing(action: Action, seen: Seen) -> None:
    devices = {n: Device() for n in "abcd"}
    devices["b"].faults = {action: seen}
    root = tree(devices)
    await root.told(Verb.VALIDATE)
    assert root.change.phase is Phase.ABORTED
    assert {d.running for d in devices.values()} == {"before"}
    assert not any(d.staged for n, d in devices.items() if n != "b"), "locks are let go"


async def test_a_device_lost_after_the_decision_is_unknown_and_later_carried_forward() -> None:
    devices = {n: Device() for n in "abcd"}
    devices["d"].faults = {Action.CONFIRM: Seen.UNREACHABLE, Action.APPLY: Seen.UNREACHABLE}
    root = tree(devices)
    assert (await root.told(Verb.VALIDATE))[1] is Vote.UNKNOWN
    assert root.change.phase is Phase.COMMITTED
    devices["d"].faults = {}
    devices["d"].running, devices["d"].provisional = "before", False
    assert (await root.told(Verb.CONFIRM))[1] is Vote.CONFIRMED
    assert {d.running for d in devices.values()} == {"target"}


async def test_who_waited_while_a_save_failed_goes_on_from_the_row_and_not_from_memory() -> None:
    devices = {n: Device() for n in "abcd"}
    root = tree(devices)
    decided = asyncio.Event()

    async def saved_but_not_heard(change: Change) -> None:
        root.rows.rows[change.change_id] = change
        if change.phase is Phase.CONFIRMING and not decided.is_set():
            decided.set()
            await asyncio.sleep(0.05)
            raise RuntimeError("the answer to the commit was lost")

    root.rows.save = saved_but_not_heard  # type: ignore[method-assign]
    first = asyncio.create_task(root.told(Verb.VALIDATE))
    await decided.wait()
    called_off = asyncio.create_task(root.told(Verb.ABORT))
    with pytest.raises(RuntimeError):
        await first
    await called_off
    assert root.change.phase is Phase.COMMITTED
    assert {d.running for d in devices.values()} == {"target"}


faults = st.dictionaries(
    st.sampled_from("abcd"),
    st.dictionaries(
        st.sampled_from([Action.STAGE, Action.PROVISION, Action.READ]),
        st.sampled_from([Seen.REFUSED, Seen.UNREACHABLE, Seen.OTHER, Seen.BEFORE]),
        min_size=1,
    ),
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(faults=faults, crash_at=st.none() | st.integers(1, 3))
def test_a_change_is_everywhere_or_nowhere(
    faults: dict[str, dict[Action, Seen]], crash_at: int | None
) -> None:
    """Devices fail before the decision, the root may be killed at any of its saves and taken over."""

    async def scenario() -> None:
        devices = {n: Device(faults.get(n, {})) for n in "abcd"}
        root = tree(devices)
        root.rows.fail_at = crash_at
        try:
            await root.told(Verb.VALIDATE)
        except RuntimeError:
            for device in devices.values():
                device.faults = {}
            root.epoch = 2
            await root.desk.resume("c")
        assert root.change.phase.final
        expected = "target" if root.change.phase is Phase.COMMITTED else "before"
        assert {d.running for d in devices.values()} == {expected}
        assert not any(d.provisional for d in devices.values())

    asyncio.run(scenario())
