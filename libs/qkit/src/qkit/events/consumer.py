"""Takes one source's events from JetStream and hands each to its handler, once in effect.

Services build one `Consumer` per peer instance whose events they take. It pulls batches from the durable that
the administrator made (`qkit.streams`), runs handlers in the transaction of the inbox, acknowledges after the
commit, delays what failed for a passing reason, and buries what cannot be handled; `recovery` asks the
publisher again for what the stream lost. Events may come out of order; handlers do no network I/O.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from qkit.bus import Bus
from qkit.database import Connection, Database
from qkit.events.envelope import Envelope, EventMeta, parse
from qkit.events.inbox import Position, bury
from qkit.events.recovery import Key, Recovery
from qkit.streams import ACK_WAIT_S
from qkit.tasks import together
from qkit.telemetry import span
from qkit.wire import pointer
from qkit.wiring import durable_of, stream_of
from qmodel.contracts import Event
from qmodel.errors import BellweaveError, Internal, Invalid, NotFound

Handler = Callable[[Connection, Any, EventMeta], Awaitable[None]]
Handlers = Mapping[type[Event], Handler]

_FETCH_S = 5.0
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 60.0
_BUG_TRIES = 5
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class _Incoming:
    """One event on its way in; `message` is None when it was replayed."""

    envelope: Envelope
    raw: str
    message: Msg | None = None

    @property
    def key(self) -> Key:
        return self.envelope.incarnation, int(self.envelope.sequence)


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
        self._deferred: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self.recovery = Recovery(db, bus, source, self.name, self._batch, self._replayed, self._is_deferred)
        self._log = structlog.get_logger("qkit.consumer").bind(source=source)

    async def run(self) -> None:
        """Consume until cancelled. What was fetched and not yet committed is delivered again."""
        await together(self._pull(), self.recovery.run())

    async def _pull(self) -> None:
        subscription = await self._bus.jetstream().pull_subscribe_bind(
            durable=self.name, stream=stream_of(self.source)
        )
        try:
            while True:
                messages = await self._fetch(subscription)
                async with self._in_progress(messages):
                    await self.handle(messages)
        finally:  # or the server goes on sending to nobody
            await self._try(subscription.unsubscribe())

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        try:
            return await subscription.fetch(self._batch, timeout=_FETCH_S)
        except TimeoutError:
            return []
        except nats.errors.Error as error:
            self._log.warning("fetch-failed", error=str(error))
            await asyncio.sleep(1.0)
            return []

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

    async def _replayed(self, envelopes: list[tuple[Envelope, str]]) -> None:
        """What the publisher sent again goes the same way; what is only delayed comes by itself."""
        incoming = [_Incoming(envelope, raw) for envelope, raw in envelopes]
        await self._settle([item for item in incoming if not self._is_deferred(item.key)])

    def _is_deferred(self, key: Key) -> bool:
        return self._deferred.get(key, 0.0) > time.monotonic()

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
            if self._is_passing(error, item) or not await self._bury(item, error):
                await self._defer(item, error)
                return
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
        if remains:
            self.recovery.suspect()

    async def _dispatch(self, conn: Connection, envelope: Envelope, meta: EventMeta) -> None:
        found = self._handlers.get(envelope.type)
        if found is None:
            return
        kind, handler = found
        try:
            event = kind.model_validate(envelope.data)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = pointer(fault["loc"])
            raise Invalid(f"{fault['msg']} at {where}", where=where) from error
        headers = {"traceparent": envelope.traceparent} if envelope.traceparent else {}
        with span(f"handle {envelope.type}", SpanKind.CONSUMER, headers):
            await handler(conn, event, meta)

    def _is_passing(self, error: Exception, item: _Incoming) -> bool:
        """Count the failure; whether another try makes sense."""
        if len(self._failures) > _MAX_REMEMBERED:
            self._failures.clear()
        tries = self._failures.get(item.key, 0) + 1
        if item.message is not None:
            tries = max(tries, item.message.metadata.num_delivered)
        self._failures[item.key] = tries
        if isinstance(error, BellweaveError) and not isinstance(error, Internal):
            return error.transient
        self._log.error("handler-failed", type=item.envelope.type, tries=tries, exc_info=error)
        return tries < _BUG_TRIES

    async def _acknowledge(self, incoming: list[_Incoming]) -> None:
        for item in incoming:
            self._deferred.pop(item.key, None)
            self._failures.pop(item.key, None)
            if item.message is not None and not item.message.is_acked:
                await self._try(item.message.ack())
        self._bus.metrics.events_consumed.labels(self.source, "handled").inc(len(incoming))

    async def _defer(self, item: _Incoming, error: Exception) -> None:
        wanted_s = error.retry_after_s if isinstance(error, BellweaveError) else None
        tries = self._failures.get(item.key, 1)
        delay_s = min(max(wanted_s or 0.0, _FIRST_DELAY_S * 2.0 ** min(tries - 1, 10)), _LONGEST_DELAY_S)
        self._log.warning("event-deferred", id=item.envelope.id, error=str(error), delay_s=delay_s)
        self._bus.metrics.events_consumed.labels(self.source, "deferred").inc()
        if item.message is not None:
            now = time.monotonic()
            self._deferred = {key: until for key, until in self._deferred.items() if until > now}
            self._deferred[item.key] = now + delay_s + ACK_WAIT_S
            await self._try(item.message.nak(delay_s))

    async def _bury(self, item: _Incoming, error: Exception) -> bool:
        """Make a dead letter of the event; False if the database does not take it now."""
        kind = error.kind.value if isinstance(error, BellweaveError) else "internal"
        reason = error.detail if isinstance(error, BellweaveError) else f"{type(error).__name__}: {error}"
        meta = item.envelope.meta

        async def work(conn: Connection) -> None:
            position = await Position.lock(conn, self.source, meta.incarnation)
            if await position.take(conn, meta.sequence):
                await bury(conn, self.name, meta, item.raw, kind, reason)
            await position.close(conn)

        try:
            await self._db.run(work)
        except BellweaveError as failure:
            self._log.warning("not-buried", id=item.envelope.id, detail=failure.detail)
            return False
        self._log.error("dead-letter", id=item.envelope.id, type=meta.type, kind=kind, reason=reason)
        self._bus.metrics.events_consumed.labels(self.source, "dead").inc()
        return True

    async def _bury_malformed(self, message: Msg, reason: str) -> None:
        meta = EventMeta(self.source, "", 0, "malformed", message.metadata.timestamp)
        raw = message.data[:20_000].decode("utf-8", "replace").replace("\x00", "")
        try:
            async with self._db.transaction() as conn:
                await bury(conn, self.name, meta, raw, "invalid", reason)
        except BellweaveError as failure:
            self._log.warning("not-buried", subject=message.subject, detail=failure.detail)
            await self._try(message.nak(_FIRST_DELAY_S))
            return
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

    async def _try(self, answer: Awaitable[None]) -> None:
        """Tell the server; if it does not hear, it only delivers again what the inbox knows."""
        try:
            await answer
        except nats.errors.Error as error:
            self._log.warning("bus-not-told", error=str(error))

    @asynccontextmanager
    async def _in_progress(self, messages: list[Msg]) -> AsyncIterator[None]:
        """Keep telling the server that `messages` are being worked on."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(ACK_WAIT_S / 3)
                for message in messages:
                    if not message.is_acked:
                        await self._try(message.in_progress())

        teller = asyncio.create_task(tell())
        try:
            yield
        finally:
            teller.cancel()
