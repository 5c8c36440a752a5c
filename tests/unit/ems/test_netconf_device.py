"""The steps of a commit at a NETCONF device, with a server's transactions in memory (see `conftest`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.errors import LockDenied, ModelMissing, NoConfirmedCommit
from ems.domain.device import Traits
from ems.domain.quantum_node import MODULE, snapshot_of
from ems.domain.snapshot import Snapshot
from qcommit.device import Seen
from qmodel.errors import Conflict, Unavailable
from qmodel.nodeconfig import Circuit, NodeConfig, Role
from qyang.schema import Schema

Open = Callable[[], NetconfDevice]


def links(*names: str) -> Snapshot:
    return snapshot_of(
        NodeConfig(
            circuits=tuple(
                Circuit(link_id=name, role=Role.ENDPOINT, ports=("q1",), detector="d1", pair_rate_hz=1e3)
                for name in names
            )
        )
    )


BEFORE, TARGET, FOREIGN = links("a", "b"), links("b", "c"), links("z")


async def no_schema() -> Schema:
    raise AssertionError("steps of a commit need no schema")


@pytest.fixture
def device(stand_in: Any) -> Any:
    stand_in.set_running(BEFORE)
    return stand_in


@pytest.fixture
def open_session(log_in: Callable[[], Any]) -> Open:
    return lambda: NetconfDevice(log_in(), Traits(), frozenset({MODULE}), no_schema)


async def provisioned(session: NetconfDevice) -> None:
    assert (await session.stage(TARGET, believed=BEFORE)).seen is Seen.STAGED
    assert (await session.provision("p1", 60, before=BEFORE, target=TARGET)).seen is Seen.TARGET


async def test_a_change_goes_through_in_one_flight_a_step(device: Any, open_session: Open) -> None:
    session = open_session()
    step = await session.stage(TARGET, believed=BEFORE)
    assert (step.seen, step.running) == (Seen.STAGED, BEFORE)
    assert device.log == ["lock", "discard-changes", "edit-config", "validate", "get-config"]
    assert device.snapshot() == BEFORE
    device.log.clear()
    assert (await session.provision("p1", 60, before=BEFORE, target=TARGET)).seen is Seen.TARGET
    assert device.log == ["commit-confirmed", "get-config"]
    device.log.clear()
    assert (await session.confirm("p1", target=TARGET)).seen is Seen.TARGET
    assert device.log == ["confirm", "get-config", "unlock", "copy-config"]
    assert (device.persist_id, device.lock, device.startup) == (None, None, device.running)


async def test_what_runs_is_asked_for_when_nothing_is_believed(device: Any, open_session: Open) -> None:
    step = await open_session().stage(TARGET)
    assert (step.seen, step.running) == (Seen.STAGED, BEFORE)


@pytest.mark.parametrize("believed", [Snapshot(), TARGET, FOREIGN])
async def test_a_wrong_belief_is_noticed_and_the_edit_made_anew(
    device: Any, open_session: Open, believed: Snapshot
) -> None:
    session = open_session()
    step = await session.stage(TARGET, believed=believed)
    assert (step.seen, step.running) == (Seen.STAGED, BEFORE)
    assert (await session.provision("p1", 60, before=BEFORE, target=TARGET)).seen is Seen.TARGET


async def test_a_cancelled_change_leaves_the_device_as_it_was(device: Any, open_session: Open) -> None:
    session = open_session()
    await provisioned(session)
    assert (await session.cancel("p1", before=BEFORE, target=TARGET)).seen is Seen.BEFORE
    assert (device.snapshot(), device.lock) == (BEFORE, None)


async def test_a_discarded_candidate_leaves_neither_lock_nor_edit(device: Any, open_session: Open) -> None:
    session = open_session()
    await session.stage(TARGET)
    assert (await session.discard(before=BEFORE)).seen is Seen.BEFORE
    assert (device.lock, device.candidate, session.staged) == (None, device.running, False)


@pytest.mark.parametrize("no_lock_while_pending", [False, True])
async def test_a_new_session_confirms_what_a_dead_one_provisioned(
    device: Any, open_session: Open, no_lock_while_pending: bool
) -> None:
    device.no_lock_while_pending = no_lock_while_pending
    session = open_session()
    await provisioned(session)
    await session.close()
    device.candidate = dict(device.running) | {("circuit", ("x",)): links("x").entries[0]}
    assert (await open_session().confirm("p1", target=TARGET)).seen is Seen.TARGET
    assert device.snapshot() == TARGET, "the stray edit in the candidate was not committed with it"
    assert device.persist_id is None


async def test_a_new_session_cancels_what_a_dead_one_provisioned(device: Any, open_session: Open) -> None:
    session = open_session()
    await provisioned(session)
    await session.close()
    assert (await open_session().cancel("p1", before=BEFORE)).seen is Seen.BEFORE


async def test_cancelling_what_was_never_sent_is_no_error(device: Any, open_session: Open) -> None:
    step = await open_session().cancel("p1", before=BEFORE)
    assert (step.seen, step.error) == (Seen.BEFORE, None)


async def test_a_device_that_reverted_is_not_confirmed_but_carried_forward(
    device: Any, open_session: Open
) -> None:
    session = open_session()
    await provisioned(session)
    await session.close()
    device.time_out()
    session = open_session()
    device.log.clear()
    assert (await session.confirm("p1", target=TARGET, before=BEFORE)).seen is Seen.BEFORE
    assert "confirm" not in device.log
    assert (await session.apply(TARGET, persist_id="p1")).seen is Seen.TARGET
    assert (device.snapshot(), device.lock) == (TARGET, None)


async def test_a_refused_confirm_is_never_taken_for_a_lasting_target(device: Any, open_session: Open) -> None:
    session = open_session()
    await provisioned(session)
    device.refuse["confirm"] = "operation-failed"
    step = await session.confirm("p1", target=TARGET)
    assert (step.seen, step.running) == (Seen.REFUSED, TARGET)
    device.refuse.clear()
    assert (await session.apply(TARGET, persist_id="p1")).seen is Seen.TARGET
    assert device.persist_id is None, "nothing can time out any more"


@pytest.mark.parametrize("operation", ["lock", "discard-changes", "edit-config", "validate"])
async def test_a_refusal_while_staging_is_told_and_cleaned_up(
    device: Any, open_session: Open, operation: str
) -> None:
    device.refuse[operation] = "operation-failed"
    session = open_session()
    step = await session.stage(TARGET)
    assert step.seen is Seen.REFUSED
    assert step.error is not None
    device.refuse.clear()
    await session.discard(before=BEFORE)
    assert (device.snapshot(), device.lock, device.candidate) == (BEFORE, None, device.running)


async def test_a_refused_provisional_commit_is_no_vote(device: Any, open_session: Open) -> None:
    session = open_session()
    await session.stage(TARGET)
    device.refuse["commit-confirmed"] = "resource-denied"
    step = await session.provision("p1", 60, before=BEFORE, target=TARGET)
    assert (step.seen, step.running) == (Seen.REFUSED, BEFORE)
    assert (await session.cancel("p1", before=BEFORE)).seen is Seen.BEFORE


async def test_an_ok_that_applied_nothing_is_noticed(device: Any, open_session: Open) -> None:
    device.applies_nothing = True
    session = open_session()
    await session.stage(TARGET)
    step = await session.provision("p1", 60, before=BEFORE, target=TARGET)
    assert (step.seen, step.traits) == (Seen.BEFORE, Traits())


async def test_a_commit_that_validate_spoils_is_done_without_and_remembered(
    device: Any, open_session: Open
) -> None:
    device.loses_creates_after_validate = True
    session = open_session()
    await session.stage(TARGET)
    step = await session.provision("p1", 60, before=BEFORE, target=TARGET)
    assert (step.seen, step.traits) == (Seen.TARGET, Traits(validate_then_commit=False))
    assert (await session.confirm("p1", target=TARGET)).seen is Seen.TARGET
    device.log.clear()
    await session.stage(BEFORE, believed=TARGET)
    assert "validate" not in device.log
    assert (await session.provision("p2", 60, before=TARGET, target=BEFORE)).seen is Seen.TARGET


async def test_a_plain_commit_that_validate_spoils_is_done_without_too(
    device: Any, open_session: Open
) -> None:
    device.loses_creates_after_validate = True
    step = await open_session().apply(TARGET)
    assert (step.seen, step.traits) == (Seen.TARGET, Traits(validate_then_commit=False))


async def test_another_sessions_lock_refuses_and_nothing_of_its_candidate_is_touched(
    device: Any, open_session: Open
) -> None:
    other = open_session()
    await other.stage(TARGET)
    edited = dict(device.candidate)
    session = open_session()
    step = await session.stage(FOREIGN)
    assert isinstance(step.error, LockDenied)
    assert str(step.error.holder) == other.session_id
    await session.discard(before=BEFORE)
    assert device.candidate == edited
    assert (await other.provision("p1", 60, before=BEFORE, target=TARGET)).seen is Seen.TARGET


async def test_changes_that_somebody_left_in_the_candidate_are_discarded(
    device: Any, open_session: Open
) -> None:
    device.no_lock_when_dirty = True
    device.candidate = {}
    session = open_session()
    assert (await session.stage(TARGET)).seen is Seen.STAGED
    assert (await session.provision("p1", 60, before=BEFORE, target=TARGET)).seen is Seen.TARGET


async def test_no_edit_stays_behind_where_the_lock_is_refused_but_edits_are_not(
    device: Any, open_session: Open
) -> None:
    device.no_lock_while_pending = True
    first = open_session()
    await provisioned(first)
    await first.close()
    step = await open_session().stage(FOREIGN)
    assert step.seen is Seen.REFUSED
    assert device.candidate == device.running


@pytest.mark.parametrize("operation", ["lock", "edit-config", "get-config"])
async def test_a_session_that_dies_while_staging_is_unreachable_and_leaves_no_lock(
    device: Any, log_in: Callable[[], Any], operation: str
) -> None:
    wire = log_in()
    wire.dies_at = operation
    session = NetconfDevice(wire, Traits(), frozenset({MODULE}), no_schema)
    step = await session.stage(TARGET, believed=BEFORE)
    assert step.seen is Seen.UNREACHABLE
    assert isinstance(step.error, Unavailable)
    assert (session.alive, session.staged, device.lock, device.snapshot()) == (False, False, None, BEFORE)


async def test_nothing_is_provisioned_that_this_session_has_not_staged(
    device: Any, open_session: Open
) -> None:
    step = await open_session().provision("p1", 60, before=BEFORE, target=TARGET)
    assert step.seen is Seen.REFUSED
    assert isinstance(step.error, Conflict)
    assert device.log == []


async def test_a_change_to_what_runs_already_is_a_change_like_any_other(
    device: Any, open_session: Open
) -> None:
    session = open_session()
    assert (await session.stage(BEFORE)).seen is Seen.STAGED
    assert (await session.provision("p1", 60, before=BEFORE, target=BEFORE)).seen is Seen.TARGET
    assert (await session.confirm("p1", target=BEFORE)).seen is Seen.TARGET


async def test_startup_that_cannot_be_saved_is_told_beside_the_target(
    device: Any, open_session: Open
) -> None:
    session = open_session()
    await provisioned(session)
    device.refuse["copy-config"] = "resource-denied"
    step = await session.confirm("p1", target=TARGET)
    assert step.seen is Seen.TARGET
    assert step.error is not None


async def test_a_device_without_our_module_is_refused_a_change(log_in: Callable[[], Any]) -> None:
    session = NetconfDevice(log_in(), Traits(), frozenset({"ietf-interfaces"}), no_schema)
    step = await session.stage(TARGET)
    assert step.seen is Seen.REFUSED
    assert isinstance(step.error, ModelMissing)


async def test_a_device_without_confirmed_commit_is_refused_a_change(log_in: Callable[[], Any]) -> None:
    wire = log_in()
    wire.capabilities = frozenset({"urn:ietf:params:netconf:capability:candidate:1.0"})
    session = NetconfDevice(wire, Traits(), frozenset({MODULE}), no_schema)
    for step in (await session.stage(TARGET), await session.apply(TARGET)):
        assert step.seen is Seen.REFUSED
        assert isinstance(step.error, NoConfirmedCommit)
