"""Takes one source's events from JetStream and hands each to its handler, once in effect.

Services build one `Consumer` per peer instance whose events they take. It pulls batches from the durable that
the administrator made (`qkit.streams`), runs handlers in the transaction of the inbox, acknowledges after the
commit, delays what failed for a passing reason, buries what cannot be handled, and asks the publisher again
for what the stream lost. Events may come out of order; handlers do no network I/O.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from qkit.bus import Bus
from qkit.database import Connection, Database
from qkit.events.envelope import AskReplay, Envelope, EventMeta, Replayed, parse
from qkit.events.inbox import Position, bury, holes, latest_position
from qkit.streams import ACK_WAIT_S
from qkit.telemetry import span
from qkit.wire import parse_body
from qkit.wiring import REPLAY, durable_of, stream_of
from qmodel.contracts import Event
from qmodel.errors import BellweaveError, Internal, Invalid, NotFound

Handler = Callable[[Connection, Any, EventMeta], Awaitable[None]]
Handlers = Mapping[type[Event], Handler]

_FETCH_S = 5.0
_CHECK_S = 2.0
_TAIL_CHECK_S = 30.0
_LONGEST_DELAY_S = 60.0
_BUG_TRIES = 5


@dataclass(frozen=True)
class _Incoming:
    """One event on its way in; `message` is None when it was replayed."""

    envelope: Envelope
    raw: str
    message: Msg | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.envelope.incarnation, int(self.envelope.sequence)

    @property
    def deliveries(self) -> int:
        return 1 if self.message is None else self.message.metadata.num_delivered


class Consumer:
    """`source` is the publisher's instance name (`ems.space`); `handlers` go by event class, and events
    without a handler count as handled. `db` is the worker's pool.

    A handler that raises a transient error gets the event again after a growing delay, without end. Any other
    `BellweaveError` makes a dead letter at once; an unknown exception does after five deliveries.
    """

    def __init__(self, db: Database, bus: Bus, source: str, handlers: Handlers, *, batch: int = 100) -> None:
        self.source = source
        self.name = durable_of(bus.name, source)
        self._db = db
        self._bus = bus
        self._batch = batch
        self._handlers = {kind.cloudevents_type(): (kind, handler) for kind, handler in handlers.items()}
        self._deferred: dict[tuple[str, int], float] = {}
        self._maybe_hole = True
        self._log = structlog.get_logger("qkit.consumer").bind(source=source)

    async def run(self) -> None:
        """Consume until cancelled; what was fetched is finished first."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pull())
            tasks.create_task(self._watch_for_loss())

    async def _pull(self) -> None:
        subscription = await self._bus.jetstream().pull_subscribe_bind(
            durable=self.name, stream=stream_of(self.source)
        )
        while True:
            try:
                messages = await subscription.fetch(self._batch, timeout=_FETCH_S)
            except TimeoutError:
                continue
            except nats.errors.Error as error:
                self._log.warning("fetch-failed", error=str(error))
                await asyncio.sleep(1.0)
                continue
            async with _in_progress(messages):
                await self.handle(messages)

    async def handle(self, messages: Iterable[Msg]) -> None:
        """Handle, commit and acknowledge `messages`: all in one transaction, or one by one if one fails."""
        incoming = []
        for message in messages:
            try:
                envelope = parse(message.data, ".".join(message.subject.split(".")[1:3]))
                incoming.append(_Incoming(envelope, message.data.decode(), message))
            except (Invalid, UnicodeDecodeError) as error:
                await self._bury_malformed(message, str(error))
        await self._settle(sorted(incoming, key=lambda item: item.key))

    async def _settle(self, incoming: list[_Incoming]) -> None:
        if len(incoming) > 1:
            try:
                await self._db.run(lambda conn: self._apply(conn, incoming))
            except Exception as error:
                self._log.info("batch-split", size=len(incoming), error=type(error).__name__)
            else:
                await self._acknowledge(incoming)
                return
        for item in incoming:
            await self._settle_one(item)

    async def _settle_one(self, item: _Incoming) -> None:
        try:
            await self._db.run(lambda conn: self._apply(conn, [item]))
        except Exception as error:
            if self._is_passing(error, item):
                await self._defer(item, error)
                return
            await self._bury(item, error)
        await self._acknowledge([item])

    async def _apply(self, conn: Connection, incoming: list[_Incoming]) -> None:
        """Run the handlers of what is new, with its inbox rows, in the transaction of `conn`."""
        remains = False
        for incarnation in dict.fromkeys(item.envelope.incarnation for item in incoming):
            position = await Position.lock(conn, self.source, incarnation)
            for item in incoming:
                meta = item.envelope.meta
                if meta.incarnation == incarnation and await position.take(conn, meta.sequence):
                    await self._dispatch(conn, item.envelope, meta)
            remains |= await position.close(conn)
        self._maybe_hole = self._maybe_hole or remains

    async def _dispatch(self, conn: Connection, envelope: Envelope, meta: EventMeta) -> None:
        found = self._handlers.get(envelope.type)
        if found is None:
            return
        kind, handler = found
        try:
            event = kind.model_validate(envelope.data)
        except ValidationError as error:
            raise Invalid(
                f"the event's data do not fit {envelope.type}: {error.error_count()} errors"
            ) from error
        headers = {"traceparent": envelope.traceparent} if envelope.traceparent else {}
        with span(f"handle {envelope.type}", SpanKind.CONSUMER, headers):
            await handler(conn, event, meta)

    def _is_passing(self, error: Exception, item: _Incoming) -> bool:
        if isinstance(error, BellweaveError) and not isinstance(error, Internal):
            return error.transient
        self._log.error("handler-failed", type=item.envelope.type, exc_info=error)
        return item.deliveries < _BUG_TRIES

    async def _acknowledge(self, incoming: list[_Incoming]) -> None:
        for item in incoming:
            self._deferred.pop(item.key, None)
            if item.message is not None and not item.message.is_acked:
                await self._try(item.message.ack())
        self._bus.metrics.events_consumed.labels(self.source, "handled").inc(len(incoming))

    async def _defer(self, item: _Incoming, error: Exception) -> None:
        wanted_s = error.retry_after_s if isinstance(error, BellweaveError) else None
        delay_s = min(max(wanted_s or 0.0, 0.5 * 2.0 ** min(item.deliveries - 1, 10)), _LONGEST_DELAY_S)
        self._log.warning("event-deferred", id=item.envelope.id, error=str(error), delay_s=delay_s)
        self._bus.metrics.events_consumed.labels(self.source, "deferred").inc()
        if item.message is not None:
            self._deferred[item.key] = time.monotonic() + delay_s + ACK_WAIT_S
            await self._try(item.message.nak(delay_s))

    async def _bury(self, item: _Incoming, error: Exception) -> None:
        kind = error.kind.value if isinstance(error, BellweaveError) else "internal"
        reason = error.detail if isinstance(error, BellweaveError) else f"{type(error).__name__}: {error}"
        meta = item.envelope.meta

        async def work(conn: Connection) -> None:
            position = await Position.lock(conn, self.source, meta.incarnation)
            if await position.take(conn, meta.sequence):
                await bury(conn, self.name, meta, item.raw, kind, reason)
            await position.close(conn)

        await self._db.run(work)
        self._log.error("dead-letter", id=item.envelope.id, type=meta.type, kind=kind, reason=reason)
        self._bus.metrics.events_consumed.labels(self.source, "dead").inc()

    async def _bury_malformed(self, message: Msg, reason: str) -> None:
        meta = EventMeta(self.source, "", 0, "malformed", message.metadata.timestamp)
        raw = message.data[:20_000].decode("utf-8", "replace").replace("\x00", "")
        async with self._db.transaction() as conn:
            await bury(conn, self.name, meta, raw, "invalid", reason)
        self._log.error("dead-letter", reason=reason, subject=message.subject)
        await self._try(message.term())

    async def redrive(self, dead_letter_id: int) -> None:
        """Run the handler again on a dead letter and mark it resolved. Raises NotFound, or what the handler
        raises: then it stays."""

        async def work(conn: Connection) -> None:
            cursor = await conn.execute(
                "UPDATE kit.dead_letter SET resolved_at = now() WHERE id = %s AND consumer = %s"
                " AND resolved_at IS NULL RETURNING envelope",
                (dead_letter_id, self.name),
            )
            row = await cursor.fetchone()
            if row is None:
                raise NotFound("no such open dead letter", where=str(dead_letter_id))
            envelope = parse(row["envelope"].encode(), self.source)
            await self._dispatch(conn, envelope, envelope.meta)

        await self._db.run(work)

    async def _watch_for_loss(self) -> None:
        """Ask the publisher for holes that stay, and now and then whether there is more at the end."""
        known: set[tuple[str, int]] = set()
        next_tail_check = time.monotonic() + _TAIL_CHECK_S
        while True:
            await asyncio.sleep(_CHECK_S)
            try:
                known = await self.fill_holes(known)
                if time.monotonic() >= next_tail_check:
                    next_tail_check = time.monotonic() + _TAIL_CHECK_S
                    await self.check_tail()
            except BellweaveError as error:
                self._log.warning("replay-failed", detail=error.detail)

    async def fill_holes(self, known: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Have the holes filled that were `known` already; returns those that are there now. A hole that is
        younger, or whose events were only delayed, fills by itself."""
        if not self._maybe_hole:
            return set()
        async with self._db.transaction() as conn:
            found = await holes(conn, self.source)
        self._maybe_hole = bool(found)
        now = time.monotonic()
        self._deferred = {key: until for key, until in self._deferred.items() if until > now}
        for hole in found:
            missing = range(hole.after + 1, hole.before)
            waiting = sum(
                1 for incarnation, n in self._deferred if incarnation == hole.incarnation and n in missing
            )
            if (hole.incarnation, hole.after) in known and waiting < len(missing):
                self._log.warning("gap", after=hole.after, before=hole.before)
                answer = await self._ask(hole.incarnation, hole.after)
                await self._take_replay(answer, hole.incarnation, hole.after)
        return {(hole.incarnation, hole.after) for hole in found}

    async def check_tail(self) -> None:
        """Fetch what the publisher sent after the last event seen here, if the stream lost it."""
        async with self._db.transaction() as conn:
            incarnation, seen_to = await latest_position(conn, self.source)
        answer = await self._ask(incarnation, seen_to)
        if answer.envelopes or answer.kept_from > seen_to + 1:
            await self._take_replay(
                answer, answer.incarnation, seen_to if incarnation == answer.incarnation else 0
            )

    async def _ask(self, incarnation: str, after: int) -> Replayed:
        asked = AskReplay(incarnation=incarnation, after=after, limit=self._batch)
        return await self._bus.ask(f"req.{self.source}.{REPLAY}", asked, Replayed)

    async def _take_replay(self, answer: Replayed, incarnation: str, after: int) -> None:
        """Handle replayed events through the inbox, and give up those that nobody has any more."""
        if answer.incarnation != incarnation:
            await self._give_up(incarnation, after, None)
        elif answer.kept_from > after + 1:
            await self._give_up(incarnation, after, answer.kept_from)
        events = [_Incoming(parse_body(Envelope, raw.encode()), raw) for raw in answer.envelopes]
        events = [item for item in events if item.key not in self._deferred]
        if any(item.envelope.meta.source != self.source for item in events):
            raise Internal("the publisher replayed somebody else's events")
        self._bus.metrics.events_consumed.labels(self.source, "replayed").inc(len(events))
        await self._settle(events)

    async def _give_up(self, incarnation: str, after: int, kept_from: int | None) -> None:
        """Note the loss of what came after `after` and is no longer kept, and go on behind it."""

        async def work(conn: Connection) -> int:
            position = await Position.lock(conn, self.source, incarnation)
            ends = [kept_from - 1] if kept_from is not None else []
            beyond = await position.first_beyond(conn)
            ends += [beyond - 1] if beyond is not None else []
            if position.seen_to != after or not ends or min(ends) <= after:
                return 0
            meta = EventMeta(self.source, incarnation, 0, "lost", datetime.now(UTC))
            reason = f"events {after + 1} to {min(ends)} are no longer kept by the publisher"
            await bury(conn, self.name, meta, "", "lost", reason)
            lost = position.skip(min(ends))
            await position.close(conn)
            return lost

        lost = await self._db.run(work)
        if lost:
            self._log.error("events-lost", after=after, count=lost)
            self._bus.metrics.events_consumed.labels(self.source, "lost").inc(lost)

    async def _try(self, answer: Awaitable[None]) -> None:
        """Send an acknowledgement; a lost one only means a redelivery that the inbox knows."""
        try:
            await answer
        except nats.errors.Error as error:
            self._log.warning("acknowledgement-lost", error=str(error))


@asynccontextmanager
async def _in_progress(messages: list[Msg]) -> AsyncIterator[None]:
    """Keep telling the server that `messages` are being worked on."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(ACK_WAIT_S / 3)
            for message in messages:
                if not message.is_acked:
                    await message.in_progress()

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()
