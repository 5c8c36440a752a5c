"""What a consumer does about events that are lost, broken, foreign, or of a publisher that began anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import nats
import psycopg
import pytest

from qkit.database import Connection, Database
from qkit.events import Consumer, EventMeta, Handlers, Relay, emit
from qkit.events.envelope import AskReplay
from qkit.events.outbox import MAX_EVENT_BYTES, prune, replay
from qkit.migrations import RoleUrls
from qkit.tasks import end
from qkit.wakeups import Wakeups
from qmodel.contracts.ems import PerformanceSample
from qmodel.errors import Conflict, NotFound, TooLarge, Unavailable

OLD = "UPDATE kit.outbox SET published_at = published_at - interval '1 minute'"


def sample(number: int, width: int = 0) -> PerformanceSample:
    values = {f"{number}": float(number), **{f"pad{n}": 0.0 for n in range(width)}}
    return PerformanceSample(element="alice-qn", at=datetime(2026, 1, 1, tzinfo=UTC), values=values)


class Scene:
    """A publisher `ems.north` and a consumer `nms.north` that hears numbers, both in one database; nothing
    runs by itself but what a test starts. What was heard is a table, so that an effect counts only when its
    transaction was committed."""

    def __init__(self, db: Database, url: str) -> None:
        self.db = db
        self.url = url
        self.troubles: dict[int, list[Exception]] = {}
        self.relay: Relay
        self.consumer: Consumer

    async def hear(self, conn: Connection, event: PerformanceSample, meta: EventMeta) -> None:
        number = int(next(iter(event.values)))
        troubles = self.troubles.get(number, [])
        if troubles:
            raise troubles.pop(0)
        await conn.execute("INSERT INTO heard (number) VALUES (%s)", (number,))

    async def publish(self, *numbers: int) -> None:
        for number in numbers:
            async with self.db.transaction() as conn:
                await emit(conn, sample(number))
        while await self.relay.step():
            pass
        await self.execute(OLD)  # long ago, so that they are not on their way any more

    async def purge(self) -> None:
        admin = await nats.connect(self.url, user="admin", password="admin")
        await admin.jetstream().purge_stream("EVT_EMS")
        await admin.close()

    async def execute(self, statement: str) -> None:
        async with self.db.transaction() as conn:
            await conn.execute(statement.encode())

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        async with self.db.transaction() as conn:
            return await (await conn.execute(statement.encode())).fetchall()

    async def heard(self) -> list[int]:
        return [row["number"] for row in await self.rows("SELECT number FROM heard ORDER BY place")]

    async def dead_letters(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM kit.dead_letter ORDER BY id")

    async def until_heard(self, *numbers: int) -> None:
        """Run the consumer until it has heard all of `numbers`."""
        task = asyncio.create_task(self.consumer.run())
        try:
            async with asyncio.timeout(20):
                while not set(numbers) <= set(await self.heard()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            await end([task])


@pytest.fixture
async def scene(db: Database, urls: RoleUrls, town: Any) -> Scene:
    with psycopg.connect(urls.owner) as owner:
        owner.execute("CREATE TABLE heard (place integer GENERATED ALWAYS AS IDENTITY, number integer)")
        owner.execute("GRANT SELECT, INSERT ON heard TO PUBLIC")
    made = Scene(db, town.url)
    ems, nms = await town.bus("ems.north"), await town.bus("nms.north")
    made.relay = Relay(db, ems, Wakeups("unused"), batch=7)
    made.relay.serve_replays()
    await ems.start()
    handlers: Handlers = {PerformanceSample: made.hear}
    made.consumer = Consumer(db, nms, "ems.north", handlers, batch=3)
    return made


async def test_the_lost_end_of_a_stream_is_replayed_page_by_page(scene: Scene) -> None:
    await scene.publish(*range(1, 11))
    await scene.purge()
    await scene.consumer.recovery.check_tail()
    await scene.consumer.recovery.check_tail()
    assert await scene.heard() == list(range(1, 11))


async def test_what_the_publisher_keeps_no_more_is_noted_as_lost(scene: Scene) -> None:
    await scene.publish(1)
    await scene.consumer.recovery.check_tail()
    await scene.publish(2, 3)
    await scene.purge()
    async with scene.db.transaction() as conn:
        assert await prune(conn, keep_days=0.0) == 3
    await scene.publish(4)
    await scene.consumer.recovery.check_tail()
    assert await scene.heard() == [1, 4]
    [lost] = await scene.dead_letters()
    assert (lost["kind"], lost["reason"]) == ("lost", "events 2 to 3 are no longer kept by the publisher")
    await scene.consumer.recovery.check_tail()
    assert len(await scene.dead_letters()) == 1


async def test_a_hole_is_filled_once_it_stays(scene: Scene) -> None:
    await scene.publish(1, 2, 3)
    await scene.purge()
    await scene.publish(4)
    await scene.until_heard(4)
    await scene.consumer.recovery.check_holes()
    await scene.consumer.recovery.check_holes()
    assert sorted(await scene.heard()) == [1, 2, 3, 4]
    assert await scene.rows("SELECT * FROM kit.inbox") == []
    assert [row["seen_to"] for row in await scene.rows("SELECT seen_to FROM kit.inbox_position")] == [4]


async def test_a_publisher_that_begins_anew_is_heard_again(scene: Scene) -> None:
    await scene.publish(1, 2)
    await scene.until_heard(1, 2)
    await scene.execute("DELETE FROM kit.outbox")
    await scene.execute("UPDATE kit.outbox_source SET incarnation = 'abc123', last_sequence = 0")
    await scene.publish(11, 12)
    await scene.until_heard(11, 12)
    assert await scene.heard() == [1, 2, 11, 12]


async def test_a_bug_is_tried_five_times_and_then_buried_and_can_be_driven_again(scene: Scene) -> None:
    scene.troubles[1] = [KeyError("a bug") for _ in range(20)]
    await scene.publish(1, 2)
    await scene.purge()
    for _ in range(5):
        await scene.consumer.recovery.check_tail()
    assert await scene.heard() == [2]
    [dead] = await scene.dead_letters()
    assert (dead["sequence"], dead["kind"]) == (1, "internal")
    assert "a bug" in dead["reason"]
    scene.troubles.clear()
    await scene.consumer.redrive(dead["id"])
    assert await scene.heard() == [2, 1]
    with pytest.raises(NotFound):
        await scene.consumer.redrive(dead["id"])


async def test_a_dead_letter_stays_open_when_it_fails_again(scene: Scene) -> None:
    scene.troubles[1] = [Conflict("no"), Conflict("still no")]
    await scene.publish(1)
    await scene.consumer.recovery.check_tail()
    [dead] = await scene.dead_letters()
    with pytest.raises(Conflict, match="still no"):
        await scene.consumer.redrive(dead["id"])
    [again] = await scene.dead_letters()
    assert again["resolved_at"] is None


async def test_one_bad_event_does_not_hold_up_its_batch(scene: Scene) -> None:
    scene.troubles[2] = [Unavailable("later") for _ in range(3)]
    await scene.publish(1, 2, 3)
    await scene.until_heard(1, 2, 3)
    assert await scene.heard() == [1, 3, 2]
    assert await scene.dead_letters() == []


async def test_a_message_that_is_no_event_or_speaks_for_another_is_buried(scene: Scene) -> None:
    admin = await nats.connect(scene.url, user="admin", password="admin")
    stream = admin.jetstream()
    await stream.publish("evt.ems.north.pm", b"not json")
    await scene.publish(1)
    told = await stream.get_msg("EVT_EMS", 2)
    forged = (told.data or b"").replace(b"bellweave://ems.north", b"bellweave://ems.other")
    await stream.publish("evt.ems.north.pm", forged.replace(b"000001", b"000002"))
    await admin.close()
    await scene.publish(2)
    await scene.until_heard(1, 2)
    reasons = [row["type"] for row in await scene.dead_letters()]
    assert reasons == ["malformed", "malformed"]
    assert await scene.heard() == [1, 2]


async def test_an_event_that_the_bus_would_refuse_is_refused_at_once(scene: Scene) -> None:
    wide = sample(1, width=MAX_EVENT_BYTES // 8)
    with pytest.raises(TooLarge):
        async with scene.db.transaction() as conn:
            await emit(conn, wide)


async def test_a_replay_fits_into_a_message(scene: Scene) -> None:
    async with scene.db.transaction() as conn:
        await emit(conn, *(sample(number, width=10_000) for number in range(1, 7)))
    while await scene.relay.step():
        pass
    await scene.execute(OLD)
    after, pages = 0, 0
    while True:
        async with scene.db.transaction() as conn:
            page = await replay(conn, "ems.north", AskReplay(after=after, limit=100))
        assert sum(len(envelope) for envelope in page.envelopes) < 900_000
        after += len(page.envelopes)
        pages += 1
        if not page.more:
            break
    assert (after, pages > 1) == (6, True)


async def test_pruning_keeps_what_was_not_published(scene: Scene) -> None:
    await scene.publish(1)
    async with scene.db.transaction() as conn:
        await emit(conn, sample(2))
    async with scene.db.transaction() as conn:
        assert await prune(conn, keep_days=0.0) == 1
    await scene.publish(3)
    await scene.until_heard(2, 3)
    assert sorted(await scene.heard()) == [1, 2, 3]
