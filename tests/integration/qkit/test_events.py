"""Events between services: in order, none lost, each with one effect, whatever is repeated or missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import nats
import pytest

from qkit.database import Connection, Database
from qkit.events import Consumer, EventMeta, Relay, emit
from qkit.tasks import end
from qkit.wakeups import Wakeups
from qmodel.contracts.ems import UsageCounted
from qmodel.errors import Invalid, Unavailable

Handle = Callable[[Connection, UsageCounted, EventMeta], Awaitable[None]]


def usage(number: int) -> UsageCounted:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return UsageCounted(
        element="alice-qn",
        link_id=f"lnk_{number}",
        unit="pairs",
        boot_id="b",
        from_count=0,
        to_count=number,
        period_start=now,
        period_end=now,
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.02)


class Publisher:
    def __init__(self, db: Database, bus: Any) -> None:
        self.db = db
        self.relay = Relay(db, bus, Wakeups("unused"))
        self.relay.serve_replays()

    async def tell(self, *numbers: int) -> None:
        async with self.db.transaction() as conn:
            await emit(conn, *(usage(number) for number in numbers))

    async def flush(self) -> None:
        while await self.relay.step():
            pass


@pytest.fixture
async def publisher(db: Database, town: Any) -> Publisher:
    bus = await town.bus("ems.north")
    made = Publisher(db, bus)
    await bus.start()
    return made


@pytest.fixture
async def heard() -> list[int]:
    return []


async def consume(db: Database, town: Any, handle: Handle) -> asyncio.Task[None]:
    consumer = Consumer(db, await town.bus("nms.north"), "ems.north", {UsageCounted: handle})
    return asyncio.create_task(consumer.run())


def keeper(heard: list[int]) -> Handle:
    async def keep(conn: Connection, event: UsageCounted, meta: EventMeta) -> None:
        heard.append(event.to_count)

    return keep


async def test_events_arrive_once_and_in_order(
    publisher: Publisher, db: Database, town: Any, heard: list[int]
) -> None:
    await publisher.tell(1, 2)
    await publisher.tell(3)
    await publisher.flush()
    task = await consume(db, town, keeper(heard))
    await until(lambda: len(heard) == 3)
    await end([task])
    assert heard == [1, 2, 3]


async def test_a_transaction_in_flight_is_not_skipped(
    publisher: Publisher, db: Database, town: Any, heard: list[int]
) -> None:
    async with db.transaction() as slow:
        await emit(slow, usage(1))
        await publisher.tell(2)
        await publisher.flush()
    await publisher.flush()
    task = await consume(db, town, keeper(heard))
    await until(lambda: len(heard) == 2)
    await end([task])
    assert sorted(heard) == [1, 2]


async def test_what_is_rolled_back_was_never_told(publisher: Publisher, db: Database) -> None:
    async def fail() -> None:
        async with db.transaction() as conn:
            await emit(conn, usage(1))
            raise Unavailable("no")

    with pytest.raises(Unavailable):
        await fail()
    assert await publisher.relay.step() == 0


async def test_repeated_messages_have_one_effect(
    publisher: Publisher, db: Database, town: Any, wired_nats: Any, heard: list[int]
) -> None:
    await publisher.tell(1, 2)
    await publisher.flush()
    admin = await nats.connect(wired_nats.url, user="admin", password="admin")
    stream = admin.jetstream()
    for sequence in (1, 2):  # without the id, as after the duplicate window
        message = await stream.get_msg("EVT_EMS", sequence)
        await stream.publish(str(message.subject), message.data or b"")
    await admin.close()
    await publisher.tell(3)
    await publisher.flush()
    task = await consume(db, town, keeper(heard))
    await until(lambda: 3 in heard)
    await end([task])
    assert sorted(heard) == [1, 2, 3]


async def test_what_the_stream_lost_is_asked_for_again(
    publisher: Publisher, db: Database, town: Any, wired_nats: Any, heard: list[int]
) -> None:
    await publisher.tell(1, 2, 3)
    await publisher.flush()
    admin = await nats.connect(wired_nats.url, user="admin", password="admin")
    await admin.jetstream().purge_stream("EVT_EMS")
    await admin.close()
    async with db.transaction() as conn:  # old enough that they are not on their way any more
        await conn.execute("UPDATE kit.outbox SET published_at = published_at - interval '1 minute'")
    await publisher.tell(4)
    await publisher.flush()
    task = await consume(db, town, keeper(heard))
    await until(lambda: len(heard) == 4)
    await end([task])
    assert sorted(heard) == [1, 2, 3, 4]


async def test_a_passing_error_delays_and_a_lasting_one_is_buried_with_its_reason(
    publisher: Publisher, db: Database, town: Any, heard: list[int]
) -> None:
    tries = 0

    async def handle(conn: Connection, event: UsageCounted, meta: EventMeta) -> None:
        nonlocal tries
        if event.to_count == 1:
            tries += 1
            if tries < 3:
                raise Unavailable("the database blinked", retry_after_s=0.05)
        if event.to_count == 2:
            raise Invalid("nobody can make sense of this")
        heard.append(event.to_count)

    await publisher.tell(1, 2, 3)
    await publisher.flush()
    task = await consume(db, town, handle)
    await until(lambda: sorted(heard) == [1, 3])
    async with db.transaction() as conn:
        rows = await (await conn.execute("SELECT kind, reason, envelope FROM kit.dead_letter")).fetchall()
    await end([task])
    assert [(row["kind"], row["reason"]) for row in rows] == [("invalid", "nobody can make sense of this")]
    assert '"to_count":2' in rows[0]["envelope"].replace(" ", "")


async def test_an_effect_and_its_inbox_row_stand_or_fall_together(
    publisher: Publisher, db: Database, town: Any, heard: list[int]
) -> None:
    """A consumer that dies after the commit and before the acknowledgement does nothing twice."""
    await publisher.tell(1)
    await publisher.flush()
    consumer = Consumer(db, await town.bus("nms.north"), "ems.north", {UsageCounted: keeper(heard)})

    async def never(incoming: Any) -> None:
        raise ConnectionError("killed before the acknowledgement")

    consumer._acknowledge = never  # type: ignore[method-assign]
    task = asyncio.create_task(consumer.run())
    await until(lambda: heard == [1])
    await asyncio.gather(task, return_exceptions=True)
    again = await consume(db, town, keeper(heard))
    await publisher.tell(2)
    await publisher.flush()
    await until(lambda: 2 in heard)
    await end([again])
    assert heard == [1, 2]
