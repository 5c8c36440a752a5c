"""Keys of a reconcile loop that are woken while they run, or whose claim is left over."""

from __future__ import annotations

import asyncio
from typing import Any

from qkit.database import Database
from qkit.lease import Lease
from qkit.reconcile import Act, Loop, wake
from qkit.tasks import end
from qkit.wakeups import Wakeups


async def work(db: Database) -> list[dict[str, Any]]:
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT key, attempts, last_error, epoch, isfinite(due_at) AS waits,"
            " isfinite(due_at) AND due_at > clock_timestamp() + interval '1 minute' AS later FROM kit.work"
        )
        return await cursor.fetchall()


async def rouse(db: Database, key: str, delay_s: float = 0.0) -> None:
    async with db.transaction() as conn:
        await wake(conn, "loop", key, delay_s)


async def running(db: Database, act: Act) -> tuple[Lease, asyncio.Task[None]]:
    lease = await Lease.acquire(db, "x/0")
    return lease, asyncio.create_task(Loop(db, lease, Wakeups("unused"), "loop", act).run())


async def settled(db: Database) -> list[dict[str, Any]]:
    """The rows once no key is claimed any more."""
    async with asyncio.timeout(20):
        while True:
            rows = await work(db)
            if all(row["epoch"] is None for row in rows):
                return rows
            await asyncio.sleep(0.02)


async def test_a_wake_for_later_that_comes_while_the_key_runs_waits_for_its_time(db: Database) -> None:
    runs = 0

    async def act(key: str) -> float | None:
        nonlocal runs
        runs += 1
        await rouse(db, key, 3600.0)
        return None

    await rouse(db, "k")
    _, task = await running(db, act)
    async with asyncio.timeout(20):
        while not runs:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    [row] = await settled(db)
    await end([task])
    assert (runs, row["later"]) == (1, True)


async def test_a_claim_of_our_own_that_we_do_not_know_of_is_taken_up(db: Database) -> None:
    """The database kept the claim, and the answer to its commit was lost."""
    done = asyncio.Event()

    async def act(key: str) -> float | None:
        done.set()
        return None

    await rouse(db, "k")
    lease = await Lease.acquire(db, "x/0")
    async with db.transaction() as conn:
        await conn.execute("UPDATE kit.work SET epoch = %s, due_at = 'infinity'", (lease.epoch,))
    task = asyncio.create_task(Loop(db, lease, Wakeups("unused"), "loop", act).run())
    async with asyncio.timeout(20):
        await done.wait()
    await end([task])
