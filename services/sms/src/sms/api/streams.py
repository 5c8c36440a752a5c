"""Server-sent events: the journal as it grows.

A stream reads the journal from where it stands, sends what is new, and waits for the feed's hint or a second.
It ends after an hour, or when an order has come to its end; a client goes on with `Last-Event-ID`.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from qmodel.errors import BellweaveError, Invalid
from sms.api.feed import Feed, wait
from sms.api.shapes import show_note, show_progress
from sms.domain.note import Topic
from sms.domain.order import OrderState
from sms.ports import Position, Reads, Scope

_LOOK_S = 1.0
_BEAT_S = 15.0
_LONGEST_S = 3600.0
_BATCH = 200


def stream(feed: Feed, told: AsyncIterator[str]) -> StreamingResponse:
    """Raises RateLimited when too many are open."""
    feed.admit()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_limited(feed, told), media_type="text/event-stream", headers=headers)


async def order_told(reads: Reads, feed: Feed, scope: Scope, order_id: str, after: int) -> AsyncIterator[str]:
    """Events `progress` (id: the note's) and `state`, until the order is final and all is told."""
    state: OrderState | None = None
    while True:
        tick = feed.next()
        order, news = await reads.order_news(scope, order_id, after, _BATCH)
        for note_id, note in news:
            after = note_id
            if note.topic is Topic.ORDER:
                yield _event("progress", show_progress(note).model_dump_json(), str(note_id))
            else:
                yield _event(note.topic.value, json.dumps(show_note(note)), str(note_id))
        if len(news) == _BATCH:
            continue
        if order.state is not state:
            state = order.state
            shown = {"state": state.value, "service_id": order.service_id, "problem": order.problem}
            yield _event("state", json.dumps(shown))
        if state.final:
            return
        if not news:
            yield ""
        await wait(tick, _LOOK_S)


async def everything_told(reads: Reads, feed: Feed, scope: Scope, since: Position) -> AsyncIterator[str]:
    """Events named by topic (order, service, link); their ids are positions in the journal."""
    while True:
        tick = feed.next()
        news = await reads.journal(scope, since, _BATCH)
        for position, note in news:
            since = position
            yield _event(note.topic.value, json.dumps(show_note(note)), f"{position.xid}-{position.note_id}")
        if len(news) < _BATCH:
            yield ""
            await wait(tick, _LOOK_S)


async def _limited(feed: Feed, told: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Bounded in time, with a comment now and then so that nobody takes silence for a dead connection."""
    started_s = beaten_s = time.monotonic()
    with feed.counted():
        yield b": open\n\n"
        try:
            async for text in told:
                now_s = time.monotonic()
                if text:
                    yield text.encode()
                    beaten_s = now_s
                elif now_s - beaten_s >= _BEAT_S:
                    yield b": beat\n\n"
                    beaten_s = now_s
                if now_s - started_s >= _LONGEST_S:
                    return
        except BellweaveError as error:
            yield _event("error", json.dumps({"detail": error.detail})).encode()


def _event(name: str, data: str, event_id: str | None = None) -> str:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n"


def note_id_of(last_event_id: str | None) -> int:
    """The note after which a stream of one order goes on. Raises Invalid."""
    if last_event_id is None:
        return 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise Invalid("Last-Event-ID is not one of this stream", where="Last-Event-ID")
    return int(last_event_id)


def position_of(last_event_id: str) -> Position:
    """Where a stream of everything goes on. Raises Invalid."""
    xid, dash, note_id = last_event_id.partition("-")
    if not dash:
        raise Invalid("Last-Event-ID is not one of this stream", where="Last-Event-ID")
    return Position(note_id_of(xid), note_id_of(note_id))
