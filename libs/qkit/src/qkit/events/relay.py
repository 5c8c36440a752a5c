"""Publishes the outbox of one database to JetStream, in order, at least once, and replays it when asked.

Runs in every replica; the row `kit.outbox_source` is the lock, so one of them works at a time. Numbering is
committed before anything is published, and rows are marked after JetStream has acknowledged them: a crash in
between repeats a message under the same id. Consumers ask for gaps at `req.<instance>.replay-events`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import nats.errors
import structlog
from nats.js import JetStreamContext

from qkit.bus import Bus
from qkit.database import Connection, Database
from qkit.events.envelope import AskReplay, Replayed, build, message_id
from qkit.events.outbox import replay
from qkit.wakeups import OUTBOX_CHANNEL, Wakeups, wait_for
from qkit.wiring import REPLAY
from qmodel.errors import BellweaveError, Unavailable

_POLL_S = 2.0
_ACK_LIMIT_S = 5.0
_LONGEST_PAUSE_S = 5.0

_ANYTHING = """
SELECT EXISTS (SELECT FROM kit.outbox WHERE sequence IS NULL)
    OR EXISTS (SELECT FROM kit.outbox WHERE published_at IS NULL) AS waiting
"""
# Emission order: whoever emits under a row lock gets a higher id than the holder before, so what happened to
# one object is numbered in the order in which it happened.
_NUMBER = """
WITH picked AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM (SELECT id FROM kit.outbox WHERE sequence IS NULL ORDER BY id LIMIT %(limit)s) AS fresh
), numbered AS (
    UPDATE kit.outbox AS o SET sequence = %(last)s + picked.place
    FROM picked WHERE o.id = picked.id AND o.sequence IS NULL
    RETURNING o.id
)
UPDATE kit.outbox_source SET last_sequence = last_sequence + (SELECT count(*) FROM numbered)
"""
_PENDING = """
SELECT topic, type, data::text AS data, traceparent, emitted_at, sequence
FROM kit.outbox WHERE published_at IS NULL AND sequence IS NOT NULL ORDER BY sequence LIMIT %s
"""


class Relay:
    """`db` is the worker's pool. `run` goes on until it is cancelled; `step` does one round."""

    def __init__(self, db: Database, bus: Bus, wakeups: Wakeups, *, batch: int = 500) -> None:
        self._db = db
        self._bus = bus
        self._batch = batch
        self._woken = wakeups.event(OUTBOX_CHANNEL)
        self._jetstream: JetStreamContext = bus.jetstream(_ACK_LIMIT_S)
        self._log = structlog.get_logger("qkit.relay")

    def serve_replays(self) -> None:
        """Answer consumers' questions for lost events; before `bus.start()`."""
        self._bus.answer(f"req.{self._bus.name}.{REPLAY}", AskReplay, self._replay, concurrency=2)

    async def _replay(self, asked: AskReplay) -> Replayed:
        async with self._db.transaction() as conn:
            return await replay(conn, self._bus.name, asked)

    async def run(self) -> None:
        pause_s = 0.2
        while True:
            try:
                published = await self.step()
                pause_s = 0.2
            except BellweaveError as error:
                self._log.warning("relay-waits", detail=error.detail, pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            if published < self._batch:
                await wait_for(self._woken, _POLL_S)

    async def step(self) -> int:
        """Number what was committed and publish at most one batch; returns how many were acknowledged.

        Raises Unavailable or TimedOut when the database or the stream does not answer.
        """
        if not await self._number():
            return 0
        async with self._db.transaction(limit_s=4 * _ACK_LIMIT_S) as conn:
            # A mark lost in a crash only repeats a message, which is dropped by its id.
            await conn.execute("SET LOCAL synchronous_commit = off")
            cursor = await conn.execute("SELECT incarnation FROM kit.outbox_source FOR UPDATE SKIP LOCKED")
            source = await cursor.fetchone()
            if source is None:
                return 0  # another replica is at it
            rows = await (await conn.execute(_PENDING, (self._batch,))).fetchall()
            acked, failure = await self._publish(source["incarnation"], rows)
            await self._mark(conn, acked)
        self._bus.metrics.events_published.inc(len(acked))
        self._bus.metrics.outbox_waiting.set(len(rows) - len(acked))
        if failure is not None:
            raise Unavailable("the stream did not take every event", reason=str(failure)) from failure
        return len(acked)

    async def _number(self) -> bool:
        """Give sequences to committed rows; whether there is anything to publish."""
        async with self._db.transaction() as conn:
            row = await (await conn.execute(_ANYTHING)).fetchone()
            if row is None or not row["waiting"]:
                return False
            # In a statement of its own: the next one then sees what the holder of the lock before us did.
            cursor = await conn.execute("SELECT last_sequence FROM kit.outbox_source FOR UPDATE")
            source = await cursor.fetchone()
            assert source is not None
            await conn.execute(_NUMBER, {"limit": self._batch, "last": source["last_sequence"]})
        return True

    async def _publish(
        self, incarnation: str, rows: list[dict[str, Any]]
    ) -> tuple[list[int], Exception | None]:
        """Send all, then wait: the sequences that were acknowledged, and what failed."""
        sent: dict[asyncio.Future[Any], int] = {}
        failure: Exception | None = None
        try:
            async with asyncio.timeout(_ACK_LIMIT_S):
                for row in rows:
                    future = await self._jetstream.publish_async(
                        f"evt.{self._bus.name}.{row['topic']}",
                        build(self._bus.name, incarnation, row),
                        headers=self._headers(incarnation, row),
                    )
                    sent[future] = row["sequence"]
        except (nats.errors.Error, TimeoutError) as error:
            failure = error
        if not sent:
            return [], failure
        done, late = await asyncio.wait(sent, timeout=_ACK_LIMIT_S)
        for future in late:
            future.cancel()
            failure = TimeoutError("no acknowledgement")
        acked = []
        for future in done:
            refusal = future.exception()
            if refusal is None:
                acked.append(sent[future])
            elif isinstance(refusal, Exception):
                failure = refusal
        return acked, failure

    def _headers(self, incarnation: str, row: Mapping[str, Any]) -> dict[str, str]:
        headers = {
            "Nats-Msg-Id": message_id(self._bus.name, incarnation, row["sequence"]),
            "Content-Type": "application/cloudevents+json",
        }
        if row["traceparent"]:
            headers["traceparent"] = row["traceparent"]
        return headers

    @staticmethod
    async def _mark(conn: Connection, sequences: list[int]) -> None:
        if sequences:
            await conn.execute(
                "UPDATE kit.outbox SET published_at = clock_timestamp() WHERE sequence = ANY(%s)",
                (sequences,),
            )
