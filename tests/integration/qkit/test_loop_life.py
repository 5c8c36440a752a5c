"""The reconcile loop: what it keeps of a failure, when it runs again, what becomes of its keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from qkit.database import Database
from qkit.lease import Lease
from qkit.reconcile import Loop, wake
from qkit.tasks import end
from qkit.wakeups import Wakeups
from qmodel.errors import Unavailable

FAR_S = 3600.0
Act = Callable[[str], Awaitable[float | None]]


class Works:
    """Loops and their rows in one database."""

    def __init__(self, db: Database, url: str) -> None:
        self.db = db
        self.url = url

    async def wake(self, *keys: str, delay_s: float = 0.0) -> None:
        async with self.db.transaction() as conn:
            for key in keys:
                await wake(conn, "loop", key, delay_s)

    async def row(self, key: str) -> dict[str, Any] | None:
        asked = (
            "SELECT attempts, last_error, epoch, due_at = 'infinity' AS runs,"
            " due_at > now() + interval '1 minute' AS later FROM kit.work WHERE loop = 'loop' AND key = %s"
        )
        async with self.db.transaction() as conn:
            return await (await conn.execute(asked, (key,))).fetchone()

    @asynccontextmanager
    async def running(self, act: Act, *, concurrency: int = 8, holder: str = "x/0") -> AsyncIterator[Lease]:
        lease = await Lease.acquire(self.db, holder)
        wakeups = Wakeups(self.url)
        loop = Loop(self.db, lease, wakeups, "loop", act, concurrency=concurrency)
        tasks = [asyncio.create_task(loop.run()), asyncio.create_task(wakeups.run())]
        try:
            async with asyncio.timeout(30):
                yield lease
        finally:
            await end(tasks)

    async def until(self, key: str, **wanted: Any) -> dict[str, Any]:
        """Its row, once it is as wanted."""
        while True:
            row = await self.row(key)
            if row is not None and all(row[name] == value for name, value in wanted.items()):
                return row
            await asyncio.sleep(0.01)

    async def until_gone(self, key: str) -> None:
        while True:
            if await self.row(key) is None:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def works(db: Database, urls: Any, monkeypatch: pytest.MonkeyPatch) -> Works:
    monkeypatch.setattr("qkit.reconcile._POLL_S", FAR_S)  # notifications must do
    return Works(db, urls.worker)


async def test_a_settled_key_leaves_no_row(works: Works) -> None:
    runs: list[str] = []

    async def act(key: str) -> None:
        runs.append(key)

    async with works.running(act):
        await works.wake("a", "b", "a")
        await works.until_gone("a")
        await works.until_gone("b")
        await works.wake("a")
        await works.until_gone("a")
    assert sorted(runs) == ["a", "a", "b"]


async def test_a_wake_that_is_rolled_back_runs_nothing(works: Works) -> None:
    async def act(key: str) -> None:
        assert key == "b"

    async def fail() -> None:
        async with works.db.transaction() as conn:
            await wake(conn, "loop", "a")
            raise RuntimeError

    async with works.running(act):
        with pytest.raises(RuntimeError):
            await fail()
        await works.wake("b")
        await works.until_gone("b")
    assert await works.row("a") is None


async def test_failures_are_counted_and_explained_and_forgotten_after_a_success(works: Works) -> None:
    errors: list[Exception] = [Unavailable("no answer"), KeyError("bug")]

    async def act(key: str) -> float | None:
        if errors:
            raise errors.pop(0)
        return FAR_S

    async with works.running(act):
        await works.wake("a")
        first = await works.until("a", attempts=1)
        assert first["last_error"] == "unavailable: no answer"
        await works.wake("a")  # the earlier of the two counts
        second = await works.until("a", attempts=2)
        assert second["last_error"] == "KeyError: 'bug'"
        await works.wake("a")
        third = await works.until("a", attempts=0, runs=False)
        assert (third["last_error"], third["later"]) == (None, True)


async def test_an_error_that_names_a_delay_gets_it(works: Works) -> None:
    async def act(key: str) -> None:
        raise Unavailable("much later", retry_after_s=FAR_S)

    async with works.running(act):
        await works.wake("a")
        assert (await works.until("a", attempts=1))["later"]


async def test_delays_grow_and_are_bounded(works: Works) -> None:
    delays = []
    lease = await Lease.acquire(works.db, "x/0")

    async def act(key: str) -> None: ...

    loop = Loop(works.db, lease, Wakeups("unused"), "loop", act)
    for attempts in range(1, 30):
        delays.append(loop._explain("a", attempts, Unavailable("no"))[1])
    assert delays[0] < 1
    assert all(0.8 * 60 <= delay <= 1.2 * 60 for delay in delays[10:])
    assert delays[0] < delays[2] < delays[4] < delays[6]


async def test_a_key_runs_when_its_time_has_come_and_not_before(works: Works) -> None:
    runs: list[str] = []

    async def act(key: str) -> None:
        runs.append(key)

    async with works.running(act):
        await works.wake("later", delay_s=FAR_S)
        await works.wake("soon", delay_s=0.1)
        await works.until_gone("soon")
        assert runs == ["soon"]
        await works.wake("later", delay_s=2 * FAR_S)
        assert (await works.until("later"))["epoch"] is None
        await works.wake("later")
        await works.until_gone("later")


async def test_no_more_run_at_once_than_may(works: Works) -> None:
    now, most = 0, 0
    full, go = asyncio.Event(), asyncio.Event()

    async def act(key: str) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 3:
            full.set()
        await go.wait()
        now -= 1

    async with works.running(act, concurrency=3):
        keys = [f"k{number}" for number in range(9)]
        await works.wake(*keys)
        await full.wait()
        go.set()
        for key in keys:
            await works.until_gone(key)
    assert most == 3


async def test_a_loop_that_is_stopped_frees_its_keys(works: Works) -> None:
    started = asyncio.Event()

    async def hang(key: str) -> None:
        started.set()
        await asyncio.Event().wait()

    async def act(key: str) -> None: ...

    async with works.running(hang):
        await works.wake("a")
        await started.wait()
        assert (await works.until("a"))["runs"]
    row = await works.row("a")
    assert row is not None
    assert (row["epoch"], row["runs"], row["attempts"]) == (None, False, 0)
    async with works.running(act, holder="x/1"):
        await works.until_gone("a")


async def test_keys_of_a_process_that_died_wait_for_the_end_of_its_lease(works: Works) -> None:
    runs: list[str] = []

    async def act(key: str) -> None:
        runs.append(key)

    dead = await Lease.acquire(works.db, "x/dead")
    async with works.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO kit.work (loop, key, due_at, epoch) VALUES ('loop', 'a', 'infinity', %s)",
            (dead.epoch,),
        )
    async with works.running(act):
        await works.wake("b")
        await works.until_gone("b")
        assert runs == ["b"], "its lease may still live"
        async with works.db.transaction() as conn:
            await conn.execute(
                "UPDATE kit.lease SET expires_at = now() - interval '1 s' WHERE epoch = %s", (dead.epoch,)
            )
        other = await Lease.acquire(works.db, "x/other", ttl_s=0.3)
        renewing = asyncio.create_task(other.run())  # ends what has expired
        while runs != ["b", "a"]:
            await works.wake("c")
            await works.until_gone("c")
            runs = [key for key in runs if key != "c"]
        await end([renewing])


async def test_without_its_lease_a_loop_claims_nothing(works: Works) -> None:
    runs: list[str] = []

    async def act(key: str) -> None:
        runs.append(key)

    async with works.running(act) as lease:
        successor = await Lease.acquire(works.db, "x/0")
        await works.wake("a")
        await lease.lost.wait()
        row = await works.row("a")
        assert row is not None
        assert row["epoch"] is None
    assert runs == []
    assert successor.epoch > lease.epoch


async def test_many_keys_in_two_processes_each_run_once(works: Works) -> None:
    runs: list[str] = []

    async def act(key: str) -> None:
        runs.append(key)
        await asyncio.sleep(0)

    keys = [f"k{number}" for number in range(60)]
    async with works.running(act, holder="x/0"), works.running(act, holder="x/1"):
        await works.wake(*keys)
        for key in keys:
            await works.until_gone(key)
    assert sorted(runs) == sorted(keys)
