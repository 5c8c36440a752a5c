"""What the relay puts on the stream: every committed event, in order, under its own id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from opentelemetry.sdk.trace import TracerProvider

from qkit.database import Database
from qkit.events import Relay, emit
from qkit.events.outbox import MAX_EVENT_BYTES, prune
from qkit.streams import StreamLimits, ensure_streams
from qkit.wakeups import Wakeups
from qmodel.contracts.ems import Alarm, AlarmChanged, ElementReadiness, PerceivedSeverity
from qmodel.errors import TooLarge, Unavailable

WIRING = {"nms.north": ("ems.north",)}
AT = datetime(2026, 1, 1, tzinfo=UTC)


def ready(number: int) -> ElementReadiness:
    return ElementReadiness(element=f"e{number}", reachable=True)


def alarm(text: str) -> AlarmChanged:
    return AlarmChanged(
        alarm=Alarm(
            element="e",
            resource="port/q1",
            alarm_type="loss",
            severity=PerceivedSeverity.MAJOR,
            text=text,
            raised_at=AT,
        )
    )


@pytest.fixture
async def stream(wired_nats: Any, town: Any) -> AsyncIterator[JetStreamContext]:
    """The bus as its administrator sees it."""
    client = await nats.connect(wired_nats.url, user="admin", password="admin")
    yield client.jetstream()
    await client.close()


@pytest.fixture
async def relay(db: Database, town: Any) -> Relay:
    return Relay(db, await town.bus("ems.north"), Wakeups("unused"), batch=10)


async def tell(db: Database, *numbers: int) -> None:
    async with db.transaction() as conn:
        await emit(conn, *(ready(number) for number in numbers))


async def flush(relay: Relay) -> None:
    while await relay.step():
        pass


async def published(stream: JetStreamContext) -> list[Any]:
    info = await stream.stream_info("EVT_EMS")
    last = info.state.last_seq
    return [await stream.get_msg("EVT_EMS", seq=number) for number in range(1, last + 1)]


async def test_events_go_out_in_order_under_ids_of_their_sequence(
    db: Database, relay: Relay, stream: JetStreamContext
) -> None:
    await tell(db, *range(1, 18))
    await tell(db, *range(18, 26))
    await flush(relay)
    messages = await published(stream)
    bodies = [json.loads(message.data) for message in messages]
    assert [body["data"]["element"] for body in bodies] == [f"e{number}" for number in range(1, 26)]
    assert [int(body["sequence"]) for body in bodies] == list(range(1, 26))
    incarnation = bodies[0]["incarnation"]
    ids = [message.headers["Nats-Msg-Id"] for message in messages]
    assert ids == [f"ems.north:{incarnation}:{number}" for number in range(1, 26)]
    assert {message.subject for message in messages} == {"evt.ems.north.readiness"}


async def test_an_event_is_a_cloudevent_that_carries_its_trace(
    db: Database, relay: Relay, stream: JetStreamContext
) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("order") as span:
        async with db.transaction() as conn:
            await emit(conn, alarm('quoted "text" – with ünicode'))
        trace_id = format(span.get_span_context().trace_id, "032x")
    await flush(relay)
    [message] = await published(stream)
    body = json.loads(message.data)
    assert body["specversion"] == "1.0"
    assert body["type"] == "bellweave.ems.alarm"
    assert body["source"] == "bellweave://ems.north"
    assert body["id"] == f"{body['incarnation']}:1"
    assert body["datacontenttype"] == "application/json"
    assert datetime.fromisoformat(body["time"]).tzinfo is not None
    assert AlarmChanged.model_validate(body["data"]) == alarm('quoted "text" – with ünicode')
    assert trace_id in body["traceparent"]
    assert message.headers["traceparent"] == body["traceparent"]


async def test_what_was_sent_before_a_crash_is_sent_again_and_kept_once(
    db: Database, relay: Relay, stream: JetStreamContext
) -> None:
    await tell(db, 1, 2, 3)
    await flush(relay)
    async with db.transaction() as conn:  # the marks were lost
        await conn.execute("UPDATE kit.outbox SET published_at = NULL")
    assert await relay.step() == 3
    assert len(await published(stream)) == 3


async def test_two_relays_at_once_send_each_event_once_and_in_order(
    db: Database, relay: Relay, town: Any, stream: JetStreamContext
) -> None:
    twin = Relay(db, await town.bus("ems.north"), Wakeups("unused"), batch=7)

    async def emit_all() -> None:
        for number in range(60):
            await tell(db, number)

    async def work(one: Relay) -> None:
        while not emitting.done():
            await one.step()

    emitting = asyncio.create_task(emit_all())
    await asyncio.gather(emitting, work(relay), work(twin))
    await flush(relay)
    sequences = [int(json.loads(message.data)["sequence"]) for message in await published(stream)]
    assert sequences == list(range(1, 61))


async def test_without_its_stream_nothing_is_lost(
    db: Database, relay: Relay, stream: JetStreamContext, wired_nats: Any
) -> None:
    await tell(db, 1)
    await stream.delete_stream("EVT_EMS")
    with pytest.raises(Unavailable):
        await relay.step()
    await tell(db, 2)
    await ensure_streams(wired_nats.url, "admin", "admin", WIRING)
    await flush(relay)
    assert [json.loads(m.data)["data"]["element"] for m in await published(stream)] == ["e1", "e2"]


async def arrived(stream: JetStreamContext, count: int) -> None:
    while True:
        if len(await published(stream)) >= count:
            return
        await asyncio.sleep(0.02)


async def test_the_relay_wakes_when_an_event_commits(
    db: Database, urls: Any, town: Any, stream: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qkit.events.relay._POLL_S", 60.0)
    wakeups = Wakeups(urls.worker)
    relay = Relay(db, await town.bus("ems.north"), wakeups)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        jobs = [tasks.create_task(wakeups.run()), tasks.create_task(relay.run())]
        for number in (1, 2):
            await tell(db, number)
            await arrived(stream, number)
        for job in jobs:
            job.cancel()


async def test_an_event_too_large_for_the_bus_is_refused_to_who_emits_it(db: Database, relay: Relay) -> None:
    big = ElementReadiness(element="e", reachable=True).model_copy(update={"element": "e" * MAX_EVENT_BYTES})
    with pytest.raises(TooLarge):
        async with db.transaction() as conn:
            await emit(conn, ready(1), big)
    await tell(db, 2)
    assert await relay.step() == 1, "nothing stands in the way of others"


async def test_what_is_not_yet_published_is_never_pruned(
    db: Database, relay: Relay, stream: JetStreamContext
) -> None:
    await tell(db, 1, 2, 3)
    await flush(relay)
    await tell(db, 4)
    old = "UPDATE kit.outbox SET published_at = published_at - interval '8 days' WHERE sequence <= 3"
    async with db.transaction() as conn:
        await conn.execute(old)
        assert await prune(conn, 7) == 3
        assert await prune(conn, 7) == 0
    await flush(relay)
    assert len(await published(stream)) == 4


async def test_streams_can_be_ensured_again_and_take_new_limits(
    stream: JetStreamContext, wired_nats: Any
) -> None:
    await ensure_streams(wired_nats.url, "admin", "admin", WIRING, StreamLimits(max_bytes=10_000_000))
    info = await stream.stream_info("EVT_EMS")
    assert info.config.max_bytes == 10_000_000
    assert (await stream.consumer_info("EVT_EMS", "nms-north_ems-north")).config.max_deliver == -1
