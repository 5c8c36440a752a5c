"""A consumer that dies at the worst moment, and messages that nobody could make sense of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext

from qkit.bus import Bus
from qkit.database import Connection, Database
from qkit.events import Consumer, EventMeta, Relay, emit
from qkit.tasks import end
from qkit.wakeups import Wakeups
from qmodel.contracts.ems import ElementReadiness
from qmodel.errors import Invalid, NotFound, Unavailable

Handle = Callable[[Connection, ElementReadiness, EventMeta], Awaitable[None]]
DURABLE = "nms-north_ems-north"


class Died(Exception):
    """The process ends here."""


class Unacknowledged:
    """A message whose consumer dies before it can acknowledge."""

    def __init__(self, message: Any) -> None:
        self._message = message
        self.is_acked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)

    async def ack(self) -> None:
        raise Died


class Scene:
    """A publisher, the listener's bus and a table in which handlers leave their marks."""

    def __init__(self, db: Database, admin: JetStreamContext, bus: Bus, relay: Relay) -> None:
        self.db = db
        self.admin = admin
        self.bus = bus
        self.relay = relay

    async def tell(self, *elements: str) -> None:
        async with self.db.transaction() as conn:
            await emit(conn, *(ElementReadiness(element=name, reachable=True) for name in elements))
        while await self.relay.step():
            pass

    def consumer(self, handle: Handle | None = None) -> Consumer:
        return Consumer(self.db, self.bus, "ems.north", {ElementReadiness: handle or self.mark})

    async def mark(self, conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        await conn.execute(
            "INSERT INTO kit.work (loop, key, due_at) VALUES (%s, %s, now())"
            " ON CONFLICT (loop, key) DO UPDATE SET attempts = work.attempts + 1",
            ("mark", event.element),
        )

    async def marks(self) -> dict[str, int]:
        """Element → how often its event had its effect."""
        async with self.db.transaction() as conn:
            rows = await (await conn.execute("SELECT key, attempts + 1 AS n FROM kit.work")).fetchall()
        return {row["key"]: row["n"] for row in rows}

    async def fetch(self, count: int) -> list[Any]:
        subscription = await self.bus.jetstream().pull_subscribe_bind(durable=DURABLE, stream="EVT_EMS")
        found = await subscription.fetch(count, timeout=5)
        await subscription.unsubscribe()
        return list(found)

    async def run_until_settled(self, consumer: Consumer) -> None:
        """Consume until the server owes nothing and is owed nothing."""
        task = asyncio.create_task(consumer.run())
        async with asyncio.timeout(30):
            while True:
                info = await self.admin.consumer_info("EVT_EMS", DURABLE)
                if (info.num_pending, info.num_ack_pending) == (0, 0) or task.done():
                    break
                await asyncio.sleep(0.02)
        await end([task])

    async def dead(self) -> list[dict[str, Any]]:
        async with self.db.transaction() as conn:
            return await (await conn.execute("SELECT * FROM kit.dead_letter ORDER BY id")).fetchall()


@pytest.fixture
async def scene(db: Database, town: Any, wired_nats: Any) -> AsyncIterator[Scene]:
    admin = await nats.connect(wired_nats.url, user="admin", password="admin")
    publisher = await town.bus("ems.north")
    relay = Relay(db, publisher, Wakeups("unused"))
    relay.serve_replays()
    await publisher.start()
    yield Scene(db, admin.jetstream(), await town.bus("nms.north"), relay)
    await admin.close()


@pytest.mark.parametrize("count", [1, 3], ids=["one", "batch"])
async def test_a_crash_between_commit_and_acknowledgement_repeats_nothing(scene: Scene, count: int) -> None:
    names = [f"e{number}" for number in range(count)]
    await scene.tell(*names)
    messages = await scene.fetch(count)
    assert len(messages) == count
    with pytest.raises(Died):
        await scene.consumer().handle([Unacknowledged(message) for message in messages])  # type: ignore[misc]
    assert await scene.marks() == dict.fromkeys(names, 1), "it was committed"
    for message in messages:
        await message.nak()  # what the server does by itself after a while
    await scene.run_until_settled(scene.consumer())
    assert await scene.marks() == dict.fromkeys(names, 1)


async def test_a_crash_before_the_commit_loses_nothing(scene: Scene) -> None:
    async def die(conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        await scene.mark(conn, event, meta)
        raise asyncio.CancelledError

    await scene.tell("a", "b")
    messages = await scene.fetch(2)
    with pytest.raises(asyncio.CancelledError):
        await scene.consumer(die).handle(messages)
    assert await scene.marks() == {}
    for message in messages:
        await message.nak()
    await scene.run_until_settled(scene.consumer())
    assert await scene.marks() == {"a": 1, "b": 1}


async def test_one_bad_event_in_a_batch_does_not_hold_up_the_others(scene: Scene) -> None:
    async def choosy(conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        if event.element == "bad":
            raise Invalid("no such element")
        await scene.mark(conn, event, meta)

    await scene.tell("a", "bad", "c")
    await scene.consumer(choosy).handle(await scene.fetch(3))
    assert await scene.marks() == {"a": 1, "c": 1}
    [letter] = await scene.dead()
    assert (letter["kind"], letter["reason"], letter["sequence"]) == ("invalid", "no such element", 2)
    assert json.loads(letter["envelope"])["data"]["element"] == "bad"
    await scene.tell("d")
    await scene.run_until_settled(scene.consumer(choosy))
    assert await scene.marks() == {"a": 1, "c": 1, "d": 1}
    assert len(await scene.dead()) == 1


async def test_a_bug_is_tried_five_times_and_then_buried(scene: Scene) -> None:
    async def broken(conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        await scene.mark(conn, event, meta)
        raise KeyError("link")

    await scene.tell("a")
    consumer = scene.consumer(broken)
    [message] = await scene.fetch(1)
    for _ in range(4):
        await consumer.handle([Unacknowledged(message)])  # type: ignore[list-item]
        assert await scene.dead() == []
    await consumer.handle([message])
    [letter] = await scene.dead()
    assert (letter["kind"], letter["type"]) == ("internal", "bellweave.ems.readiness")
    assert "KeyError" in letter["reason"]
    assert await scene.marks() == {}


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", b"\xff\x00\xfe", b"{}", b'{"specversion": "0.3"}', b"[" * 5000],
    ids=["empty", "text", "bytes", "no members", "old version", "deep"],
)
async def test_a_malformed_message_is_buried_and_not_sent_again(scene: Scene, data: bytes) -> None:
    await scene.admin.publish("evt.ems.north.readiness", data)
    await scene.tell("a")
    await scene.run_until_settled(scene.consumer())
    [letter] = await scene.dead()
    assert (letter["kind"], letter["type"], letter["source"]) == ("invalid", "malformed", "ems.north")
    assert await scene.marks() == {"a": 1}


async def test_nobody_can_speak_in_anothers_name(scene: Scene) -> None:
    await scene.tell("a")
    [message] = await scene.fetch(1)
    await message.ack()
    forged = message.data.replace(b"bellweave://ems.north", b"bellweave://ems.south")
    await scene.admin.publish("evt.ems.north.readiness", forged)
    await scene.run_until_settled(scene.consumer())
    [letter] = await scene.dead()
    assert "source" in letter["reason"]
    assert await scene.marks() == {}


async def test_a_dead_letter_can_be_handled_later_once(scene: Scene) -> None:
    async def refuse(conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        raise Invalid("not yet known")

    await scene.tell("a")
    await scene.consumer(refuse).handle(await scene.fetch(1))
    [letter] = await scene.dead()
    with pytest.raises(Invalid):
        await scene.consumer(refuse).redrive(letter["id"])
    assert (await scene.dead())[0]["resolved_at"] is None
    await scene.consumer().redrive(letter["id"])
    assert await scene.marks() == {"a": 1}
    with pytest.raises(NotFound):
        await scene.consumer().redrive(letter["id"])


async def test_an_event_for_which_there_is_no_handler_counts_as_handled(scene: Scene) -> None:
    await scene.tell("a")
    deaf = Consumer(scene.db, scene.bus, "ems.north", {})
    await scene.run_until_settled(deaf)
    await scene.tell("b")
    await scene.run_until_settled(scene.consumer())
    assert await scene.marks() == {"b": 1}
    assert await scene.dead() == []


async def test_a_database_that_is_away_delays_and_does_not_bury(scene: Scene) -> None:
    away = True

    async def shaky(conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        if away:
            raise Unavailable("the database cannot be reached")
        await scene.mark(conn, event, meta)

    await scene.tell("a")
    consumer = scene.consumer(shaky)
    await consumer.handle(await scene.fetch(1))
    assert (await scene.dead(), await scene.marks()) == ([], {})
    away = False
    await scene.run_until_settled(consumer)
    assert await scene.marks() == {"a": 1}
