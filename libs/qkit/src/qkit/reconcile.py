"""The reconcile loop: durable work by key. Provisioning, healing, drift and recovery are all keys of a loop.

A use case calls `wake` in the transaction that changes something; the loop then runs `act(key)` until it says
that there is nothing more to do. `act` reads desired and observed state and acts idempotently: it is run at
least once per wake, and again after a crash. One key is never run twice at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from qkit.database import Connection, Database
from qkit.lease import Lease
from qkit.telemetry import Metrics, span
from qkit.wakeups import WORK_CHANNEL, Wakeups, wait_for
from qmodel.errors import BellweaveError

Act = Callable[[str], Awaitable[float | None]]

_POLL_S = 5.0
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0

_WAKE = f"""
WITH woken AS (
    INSERT INTO kit.work (loop, key, due_at)
    VALUES (%(loop)s, %(key)s, clock_timestamp() + make_interval(secs => %(delay_s)s))
    ON CONFLICT (loop, key) DO UPDATE SET due_at = least(work.due_at, excluded.due_at)
)
SELECT pg_notify('{WORK_CHANNEL}', %(loop)s)
"""  # noqa: S608 - a constant of ours

# While a key runs its `due_at` is infinity, so that a wake in the meantime shows as an earlier time.
# A claim without a living lease is free: its process died or lost it. So is a claim of our own that we do not
# know of: the database kept it and the answer was lost. The dead epochs are told from one snapshot, so that
# a row that a process newer than it claims meanwhile is not taken for a dead one's.
_CLAIM = """
WITH dead AS MATERIALIZED (
    SELECT DISTINCT epoch FROM kit.work AS d
    WHERE loop = %(loop)s AND epoch IS NOT NULL
        AND NOT EXISTS (SELECT FROM kit.lease AS l WHERE l.epoch = d.epoch)
), free AS (
    SELECT key FROM kit.work AS w
    WHERE loop = %(loop)s
        AND ((epoch IS NULL AND due_at <= clock_timestamp())
            OR (epoch = %(epoch)s AND key <> ALL(%(running)s::text[]))
            OR epoch IN (SELECT dead.epoch FROM dead))
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE kit.work AS w SET epoch = %(epoch)s, due_at = 'infinity' FROM free
WHERE w.loop = %(loop)s AND w.key = free.key
RETURNING w.key, w.attempts
"""
_NEXT_DUE = """
SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 AS in_s
FROM kit.work WHERE loop = %s AND epoch IS NULL
"""
_DONE = """
DELETE FROM kit.work
WHERE loop = %(loop)s AND key = %(key)s AND epoch = %(epoch)s AND due_at = 'infinity'
"""
# least() passes over NULL: without a delay of its own, only a wake in the meantime counts.
_AGAIN = """
UPDATE kit.work
SET epoch = NULL, attempts = %(attempts)s, last_error = %(error)s,
    due_at = least(due_at, clock_timestamp() + make_interval(secs => %(delay_s)s::float8))
WHERE loop = %(loop)s AND key = %(key)s AND epoch = %(epoch)s
"""


async def wake(conn: Connection, loop: str, key: str, delay_s: float = 0.0) -> None:
    """Have `loop` run `key` in `delay_s` seconds of real time, if the transaction commits. The earliest of
    several wakes counts; a wake while the key runs makes it run once more."""
    await conn.execute(_WAKE, {"loop": loop, "key": key, "delay_s": delay_s})


class Loop:
    """`act` returns the seconds until it wants to run again, or None when the key is settled.

    An error is kept in `kit.work.last_error` and the key is run again after a growing delay (0.5 s to 60 s,
    or what the error's `retry_after_s` asks for), without end: an `act` that will never succeed must say so
    in its own state and return None.
    """

    def __init__(
        self,
        db: Database,
        lease: Lease,
        wakeups: Wakeups,
        name: str,
        act: Act,
        *,
        concurrency: int = 8,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self._db = db
        self._lease = lease
        self._woken = wakeups.event(WORK_CHANNEL, name)
        self._act = act
        self._concurrency = concurrency
        self._metrics = metrics or Metrics()
        self._running: dict[asyncio.Task[None], str] = {}
        self._log = structlog.get_logger("qkit.reconcile").bind(loop=name)

    async def run(self) -> None:
        """Claim and run keys until cancelled; then the running ones are cancelled too and freed."""
        try:
            while True:
                pause_s = await self._round()
                if pause_s > 0:
                    await wait_for(self._woken, min(pause_s, _POLL_S))
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _round(self) -> float:
        """Start what is due and fits; how long nothing more will be, in seconds."""
        free = self._concurrency - len(self._running)
        if free == 0 or self._lease.lost.is_set():
            return _POLL_S
        try:
            async with self._db.transaction() as conn:
                await self._lease.check(conn)
                running = list(self._running.values())
                asked = {"loop": self.name, "limit": free, "epoch": self._lease.epoch, "running": running}
                claimed = await (await conn.execute(_CLAIM, asked)).fetchall()
                due = await (await conn.execute(_NEXT_DUE, (self.name,))).fetchone()
        except BellweaveError as error:
            self._log.warning("loop-waits", detail=error.detail)
            return 1.0
        for row in claimed:
            task = asyncio.create_task(self._run_key(row["key"], row["attempts"]))
            self._running[task] = row["key"]
            task.add_done_callback(self._finished)
        return _POLL_S if due is None or due["in_s"] is None else max(float(due["in_s"]), 0.0)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._woken.set()  # there is room again

    async def _run_key(self, key: str, attempts: int) -> None:
        started = time.monotonic()
        outcome = "ok"
        delay_s: float | None = _FIRST_RETRY_S  # cancelled: free it for the next process
        message: str | None = None
        try:
            with structlog.contextvars.bound_contextvars(loop=self.name, key=key), span(f"{self.name} {key}"):
                delay_s = await self._act(key)
                attempts = 0
        except asyncio.CancelledError:
            outcome, delay_s = "cancelled", 0.0
            raise
        except Exception as error:
            outcome = "error"
            attempts += 1
            message, delay_s = self._explain(key, attempts, error)
        finally:
            self._metrics.loop_runs.labels(self.name, outcome).observe(time.monotonic() - started)
            await self._put_back(key, attempts, message, delay_s)

    def _explain(self, key: str, attempts: int, error: Exception) -> tuple[str, float]:
        delay_s = min(_FIRST_RETRY_S * 2.0 ** min(attempts - 1, 10), _LONGEST_RETRY_S)
        if isinstance(error, BellweaveError):
            self._log.warning(
                "key-failed", key=key, attempts=attempts, kind=error.kind.value, detail=error.detail
            )
            delay_s = max(delay_s, error.retry_after_s or 0.0)
            message = f"{error.kind.value}: {error.detail}"
        else:
            self._log.error("key-failed", key=key, attempts=attempts, exc_info=error)
            message = f"{type(error).__name__}: {error}"
        return message[:2000], delay_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

    async def _put_back(self, key: str, attempts: int, message: str | None, delay_s: float | None) -> None:
        """Free the key. If that fails it stays claimed, and is found and run again later."""
        where = {"loop": self.name, "key": key, "epoch": self._lease.epoch}
        again = where | {"attempts": attempts, "error": message, "delay_s": delay_s}
        for pause_s in (0.1, 0.5, 2.0, 5.0):
            try:
                async with self._db.transaction() as conn:
                    if delay_s is None and (await conn.execute(_DONE, where)).rowcount == 1:
                        return
                    await conn.execute(_AGAIN, again)
                    return
            except BellweaveError as error:
                self._log.warning("key-not-freed", key=key, detail=error.detail)
                await asyncio.sleep(pause_s)
