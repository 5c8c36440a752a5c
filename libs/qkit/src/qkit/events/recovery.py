"""Notices what the stream lost of one source, and has it replayed from the publisher's outbox.

Part of `Consumer`, which handles what comes back like any other event. A hole in the sequence shows a loss in
the middle, asking for what follows the last event shows one at the end. What the publisher no longer keeps
is written down as lost, never passed over in silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from qkit.bus import Bus
from qkit.database import Connection, Database
from qkit.events.envelope import AskReplay, Envelope, EventMeta, Replayed, parse
from qkit.events.inbox import Hole, Position, bury, holes, latest_position
from qkit.wiring import REPLAY
from qmodel.errors import BellweaveError

Key = tuple[str, int]
"""Incarnation and sequence."""

_CHECK_S = 2.0
_TAIL_CHECK_S = 30.0


class Recovery:
    """`settle` handles replayed events (with their text); `is_deferred` tells which ones are only delayed."""

    def __init__(
        self,
        db: Database,
        bus: Bus,
        source: str,
        consumer: str,
        batch: int,
        settle: Callable[[list[tuple[Envelope, str]]], Awaitable[None]],
        is_deferred: Callable[[Key], bool],
    ) -> None:
        self._db = db
        self._bus = bus
        self._source = source
        self._consumer = consumer
        self._batch = batch
        self._settle = settle
        self._is_deferred = is_deferred
        self._known: set[Key] = set()
        self._suspected = True
        self._log = structlog.get_logger("qkit.recovery").bind(source=source)

    def suspect(self) -> None:
        """There may be a hole: look at the next check."""
        self._suspected = True

    async def run(self) -> None:
        """Check until cancelled: holes every two seconds, the end soon after the start and every 30 s."""
        next_tail_check = time.monotonic()
        while True:
            await asyncio.sleep(_CHECK_S)
            try:
                await self.check_holes()
                if time.monotonic() >= next_tail_check:
                    next_tail_check = time.monotonic() + _TAIL_CHECK_S
                    await self.check_tail()
            except BellweaveError as error:
                self._log.warning("replay-failed", detail=error.detail)

    async def check_holes(self) -> None:
        """Fill the holes that were there at the last check too; a younger one, or one of delayed events,
        fills by itself. Raises what the publisher's answer or the database raises."""
        if not self._suspected:
            return
        async with self._db.transaction() as conn:
            found = await holes(conn, self._source)
        self._suspected = bool(found)
        known, self._known = self._known, {(hole.incarnation, hole.after) for hole in found}
        for hole in found:
            if (hole.incarnation, hole.after) in known and not self._only_delayed(hole):
                self._log.warning("gap", after=hole.after, before=hole.before)
                await self._replay(hole.incarnation, hole.after, hole.before)

    async def check_tail(self) -> None:
        """Fetch what was published after the last event seen here, if the stream lost it."""
        async with self._db.transaction() as conn:
            incarnation, seen_to = await latest_position(conn, self._source)
        await self._replay(incarnation, seen_to, None)

    def _only_delayed(self, hole: Hole) -> bool:
        return all(self._is_deferred((hole.incarnation, n)) for n in range(hole.after + 1, hole.before))

    async def _replay(self, incarnation: str, after: int, before: int | None) -> None:
        """Have everything after `after` replayed, up to the end of the hole or of the outbox."""
        while before is None or after < before - 1:
            asked = AskReplay(incarnation=incarnation, after=after, limit=self._batch)
            answer = await self._bus.ask(f"req.{self._source}.{REPLAY}", asked, Replayed)
            if answer.incarnation != incarnation:
                if before is not None:  # nobody has the old incarnation's events any more
                    await self._give_up(incarnation, after, before)
                incarnation, after, before = answer.incarnation, 0, None
            if answer.kept_from > after + 1:
                gone = answer.kept_from if before is None else min(answer.kept_from, before)
                await self._give_up(incarnation, after, gone)
            events = [(parse(raw.encode(), self._source), raw) for raw in answer.envelopes]
            self._bus.metrics.events_consumed.labels(self._source, "replayed").inc(len(events))
            await self._settle(events)
            if not (answer.more and events):
                return
            after = events[-1][0].meta.sequence

    async def _give_up(self, incarnation: str, after: int, before: int) -> None:
        """Note that the events between `after` and `before` are lost, and go on behind them."""

        async def work(conn: Connection) -> int:
            position = await Position.lock(conn, self._source, incarnation)
            beyond = await position.first_beyond(conn)
            last = before - 1 if beyond is None else min(before, beyond) - 1
            if position.seen_to != after or last <= after:
                return 0
            meta = EventMeta(self._source, incarnation, 0, "lost", datetime.now(UTC))
            reason = f"events {after + 1} to {last} are no longer kept by the publisher"
            await bury(conn, self._consumer, meta, "", "lost", reason)
            position.skip(last)
            await position.close(conn)
            return last - after

        lost = await self._db.run(work)
        if lost:
            self._log.error("events-lost", after=after, count=lost)
            self._bus.metrics.events_consumed.labels(self._source, "lost").inc(lost)
