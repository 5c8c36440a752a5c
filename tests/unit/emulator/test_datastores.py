"""Locks, commits, confirmed commits and what is left of them after a crash."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from emulator.datastore.durable import JsonFile
from emulator.datastore.store import ConfigChanged, ConfirmEvent, Datastores
from qyang.edit import edit
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record
from qyang.validation import Validator

Make = Callable[..., Any]
ONE, OTHER = 1, 2


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def start(
    example_schema: Schema,
    example_tree: Callable[[str], Record],
    tmp_path: Path,
    executor: ThreadPoolExecutor,
) -> Make:
    """Starts the datastores, the first time with factory settings, then from what is on disk."""

    async def run(
        factory: str = "<mode>on</mode>", names: tuple[str, ...] = ("running", "candidate")
    ) -> Datastores:
        file = JsonFile(tmp_path / "datastores.json", executor)
        stores = Datastores(example_schema, Validator(example_schema), file, example_tree(factory), names)
        await stores.load()
        return stores

    return run


@pytest.fixture
def change(example_schema: Schema, top: Callable[[str], Any]) -> Make:
    """Edits the candidate."""

    def run(stores: Datastores, inside: str, session_id: int = ONE) -> None:
        stores.set_candidate(edit(example_schema, stores.candidate, top(inside)), session_id)

    return run


def _mode(stores: Datastores) -> Any:
    return stores.running["example-engine:top"].get("mode")


async def _fails(awaitable: Any, tag: str) -> RpcError:
    with pytest.raises(RpcError) as refused:
        await awaitable
    assert refused.value.tag == tag
    return refused.value


async def test_a_commit_is_durable_and_empties_the_candidate(start: Make, change: Make) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    assert _mode(stores) == "on"
    await stores.commit(ONE)
    assert _mode(stores) == "off"
    assert stores.candidate is stores.running
    assert _mode(await start()) == "off"


async def test_an_invalid_candidate_is_refused_and_stays(start: Make, change: Make) -> None:
    stores = await start("")
    change(stores, "<only-when-on>x</only-when-on>")
    with pytest.raises(RpcError):
        stores.validate(stores.candidate)
    await _fails(stores.commit(ONE), "unknown-element")
    assert stores.running == {}
    assert stores.candidate != stores.running


async def test_what_the_device_refuses_is_not_committed(start: Make, change: Make) -> None:
    stores = await start()

    def refuse(tree: Record) -> None:
        raise RpcError("invalid-value", "no")

    stores.device_check = refuse
    change(stores, "<mode>off</mode>")
    await _fails(stores.commit(ONE), "invalid-value")
    assert _mode(stores) == "on"


async def test_a_confirmed_commit_is_undone_when_nobody_confirms(start: Make, change: Make) -> None:
    stores = await start()
    heard: list[Any] = []
    stores.listeners.append(heard.append)
    change(stores, "<mode>off</mode>")
    undone = asyncio.Event()
    stores.listeners.append(lambda event: undone.set() if getattr(event, "event", "") == "timeout" else None)
    await stores.commit(ONE, confirmed=True, timeout_s=0.05, persist="p")
    assert _mode(stores) == "off"
    async with asyncio.timeout(5):
        await undone.wait()
    assert _mode(stores) == "on"
    assert stores.pending is None
    assert [event.event for event in heard if isinstance(event, ConfirmEvent)] == ["start", "timeout"]
    edits = [event.edits for event in heard if isinstance(event, ConfigChanged)]
    assert [edit.operation for edit in edits[0]] == ["replace"]
    assert edits[0][0].target.text == "/example-engine:top/example-engine:mode"


async def test_a_confirming_commit_keeps_it(start: Make, change: Make) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE, confirmed=True, timeout_s=60, persist="p")
    await stores.session_ended(ONE)
    await _fails(stores.commit(OTHER), "invalid-value")
    await _fails(stores.commit(OTHER, persist_id="q"), "invalid-value")
    await stores.commit(OTHER, persist_id="p")
    assert stores.pending is None
    assert _mode(await start()) == "off"


async def test_a_follow_up_extends_and_goes_back_to_the_first(start: Make, change: Make) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE, confirmed=True, timeout_s=60, persist="p")
    change(stores, "<nothing/>")
    await stores.commit(OTHER, confirmed=True, timeout_s=60, persist_id="p")
    assert "nothing" in stores.running["example-engine:top"]
    await stores.cancel_commit(OTHER, "p")
    assert stores.running == {"example-engine:top": {"mode": "on"}}


async def test_without_persist_it_ends_with_its_session(start: Make, change: Make) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE, confirmed=True, timeout_s=60)
    refused = await _fails(stores.commit(OTHER), "in-use")
    assert ("session-id", "1") in refused.info
    await stores.session_ended(OTHER)
    assert _mode(stores) == "off"
    await stores.session_ended(ONE)
    assert _mode(stores) == "on"


async def test_cancel_without_a_confirmed_commit_is_refused(start: Make) -> None:
    stores = await start()
    await _fails(stores.cancel_commit(ONE, None), "operation-failed")
    await _fails(stores.commit(ONE, persist_id="p"), "invalid-value")


async def test_a_restart_inside_the_window_goes_back(start: Make, change: Make) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE, confirmed=True, timeout_s=60, persist="p")
    again = await start()
    assert _mode(again) == "on"
    assert again.pending is None
    assert _mode(await start()) == "on"
    await stores.close()


async def test_a_file_that_was_not_finished_does_not_count(start: Make, change: Make, tmp_path: Path) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE)
    (tmp_path / ".datastores.json.new").write_text('{"running": "<to')
    assert _mode(await start()) == "off"
    assert json.loads((tmp_path / "datastores.json").read_text())["version"] == 1


async def test_new_hardware_joins_what_was_configured(start: Make, change: Make) -> None:
    stores = await start("<step><name>one</name></step>")
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE)
    again = await start("<step><name>one</name></step><step><name>two</name></step>")
    assert [row["name"] for row in again.running["example-engine:top"]["step"]] == ["one", "two"]
    assert _mode(again) == "off"


async def test_a_lock_keeps_others_out_until_its_session_ends(start: Make, change: Make) -> None:
    stores = await start()
    stores.lock("candidate", ONE)
    with pytest.raises(RpcError) as denied:
        stores.lock("candidate", OTHER)
    assert (denied.value.tag, denied.value.info) == ("lock-denied", (("session-id", "1"),))
    with pytest.raises(RpcError) as in_use:
        change(stores, "<mode>off</mode>", OTHER)
    assert in_use.value.tag == "in-use"
    await _fails(stores.commit(OTHER), "in-use")
    with pytest.raises(RpcError, match="does not hold"):
        stores.unlock("candidate", OTHER)
    change(stores, "<mode>off</mode>")
    await stores.session_ended(ONE)
    assert stores.candidate is stores.running
    stores.lock("candidate", OTHER)


async def test_a_modified_candidate_and_a_provisional_running_are_not_locked(
    start: Make, change: Make
) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    with pytest.raises(RpcError) as denied:
        stores.lock("candidate", OTHER)
    assert denied.value.tag == "lock-denied"
    await stores.commit(ONE, confirmed=True, timeout_s=60, persist="p")
    with pytest.raises(RpcError) as pending:
        stores.lock("running", OTHER)
    assert pending.value.tag == "lock-denied"
    stores.lock("candidate", OTHER)
    await stores.close()


async def test_unlocking_throws_away_what_was_not_committed(start: Make, change: Make) -> None:
    stores = await start()
    stores.lock("candidate", ONE)
    change(stores, "<mode>off</mode>")
    stores.unlock("candidate", ONE)
    assert stores.candidate is stores.running


async def test_commits_at_once_take_turns(start: Make, change: Make) -> None:
    stores = await start()
    change(stores, "<mode>off</mode>")
    results = await asyncio.gather(
        stores.commit(ONE, confirmed=True, timeout_s=60, persist="p"),
        stores.commit(OTHER, confirmed=True, timeout_s=60, persist="q"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), RpcError]
    assert stores.pending is not None
    assert stores.pending.persist_id == "p"
    await stores.close()


WITH_STARTUP = ("running", "candidate", "startup")
DIRECT = ("running", "startup")


async def test_with_a_startup_datastore_only_that_survives(
    start: Make, change: Make, example_tree: Callable[[str], Record]
) -> None:
    stores = await start(names=WITH_STARTUP)
    assert stores.of("startup") == {}
    change(stores, "<mode>off</mode>")
    await stores.commit(ONE)
    assert _mode(await start(names=WITH_STARTUP)) == "on"
    await stores.set_startup(stores.running, ONE)
    restarted = await start(names=WITH_STARTUP)
    assert _mode(restarted) == "off"
    assert restarted.of("startup") == example_tree("<mode>off</mode>")
    await restarted.set_startup(None, ONE)
    assert restarted.of("startup") == {}
    assert _mode(restarted) == "off"
    assert _mode(await start(names=WITH_STARTUP)) == "on"


async def test_new_hardware_is_merged_into_what_startup_holds(start: Make, change: Make) -> None:
    stores = await start(names=WITH_STARTUP)
    change(stores, "<mode>off</mode>")
    await stores.set_startup(stores.candidate, ONE)
    upgraded = await start("<mode>on</mode><ratio>1</ratio>", names=WITH_STARTUP)
    assert "ratio" in upgraded.running["example-engine:top"]


async def test_startup_is_locked_and_stays_valid(start: Make, example_tree: Callable[[str], Record]) -> None:
    stores = await start(names=WITH_STARTUP)
    stores.lock("startup", OTHER)
    await _fails(stores.set_startup(stores.running, ONE), "in-use")
    wrong = example_tree("<only-when-on>x</only-when-on>")
    await _fails(stores.set_startup(wrong, OTHER), "unknown-element")
    assert stores.of("startup") == {}


async def test_running_is_written_directly_where_there_is_no_candidate(
    start: Make, example_tree: Callable[[str], Record]
) -> None:
    stores = await start(names=("running",))
    heard: list[Any] = []
    stores.listeners.append(heard.append)
    await stores.write_running(ONE, lambda _: example_tree("<mode>off</mode>"))
    assert _mode(stores) == "off"
    assert [type(event) for event in heard] == [ConfigChanged]
    wrong = example_tree("<only-when-on>x</only-when-on>")
    await _fails(stores.write_running(ONE, lambda _: wrong), "unknown-element")
    stores.lock("running", OTHER)
    await _fails(stores.write_running(ONE, lambda _: wrong), "in-use")
    assert _mode(await start(names=("running",))) == "off"
    for absent in ("candidate", "startup"):
        with pytest.raises(RpcError):
            stores.of(absent)


async def test_writes_of_running_take_turns_and_none_is_lost(
    start: Make, example_schema: Schema, top: Callable[[str], Any]
) -> None:
    stores = await start(names=DIRECT)

    def adding(tag: int) -> Callable[[Record], Record]:
        return lambda tree: edit(example_schema, tree, top(f"<tag>{tag}</tag>"))

    await asyncio.gather(*(stores.write_running(ONE, adding(n)) for n in range(10)))
    assert sorted(stores.running["example-engine:top"]["tag"]) == [str(n) for n in range(10)]


async def test_an_element_whose_factory_configuration_is_not_valid_does_not_start(start: Make) -> None:
    with pytest.raises(RpcError):
        await start("<only-when-on>x</only-when-on>")


async def test_a_write_that_has_begun_ends_before_the_next(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    file = JsonFile(tmp_path / "numbers.json", executor)
    for number in range(20):
        cancelled = asyncio.create_task(file.write({"number": number, "cancelled": True}))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(file.write({"number": number}), cancelled, return_exceptions=True)
        assert file.read() == {"number": number}
