"""The bus at its limits: sizes, time that is over, and a service that stops while it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qkit.bus import Bus
from qmodel.contracts.bms import QuotaReply, ReserveQuota
from qmodel.contracts.commit import Outcome, OutcomeAtNms, OutcomeReply
from qmodel.errors import TimedOut, TooLarge, Unavailable

QUOTA = QuotaReply(links_used=1, links_limit=2, key_rate_used_bps=1, key_rate_limit_bps=2)


def asked(tenant: str = "acme") -> ReserveQuota:
    request = ReserveQuota(request_id="r1", tenant="acme", order_id="o1", links=1, key_rate_bps=1)
    return request.model_copy(update={"tenant": tenant})


async def bms(town: Any, handler: Any, **limits: int) -> Bus:
    bus: Bus = await town.bus("bms.main")
    bus.serve(ReserveQuota, handler, **limits)
    await bus.start()
    return bus


async def answer(request: ReserveQuota) -> QuotaReply:
    return QUOTA


@pytest.mark.parametrize("over", [-500, -100, 0, 100], ids=["just below", "headers", "at", "above"])
async def test_a_request_too_large_is_refused_and_the_connection_lives(town: Any, over: int) -> None:
    await bms(town, answer)
    sms = await town.bus("sms.main")
    with pytest.raises(TooLarge):
        await sms.request("main", asked("x" * (sms.client.max_payload + over)))
    assert await sms.request("main", asked()) == QUOTA
    assert sms.client.stats["reconnects"] == 0


async def test_an_answer_too_large_is_told_to_the_caller(town: Any) -> None:
    ems_side = await town.bus("nms.north")

    async def talk(request: OutcomeAtNms) -> OutcomeReply:
        return OutcomeReply.model_construct(change_id="x" * 5_000_000, outcome=Outcome.ABORT)

    ems_side.serve(OutcomeAtNms, talk)
    await ems_side.start()
    ems = await town.bus("ems.north")
    with pytest.raises(TooLarge):
        await ems.request("north", OutcomeAtNms(request_id="r", change_id="c"))


async def test_a_handler_ends_when_the_callers_time_is_over(town: Any) -> None:
    ended = asyncio.Event()

    async def slow(request: ReserveQuota) -> QuotaReply:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return QUOTA

    await bms(town, slow)
    sms = await town.bus("sms.main")
    with pytest.raises(TimedOut):
        await sms.request("main", asked(), timeout_s=0.2)
    async with asyncio.timeout(20):
        await ended.wait()


def gave_up(bus: Bus) -> float:
    """How many requests this service has answered with a timeout."""
    labels = {"side": "server", "operation": "reserve-quota", "outcome": "timeout"}
    return bus.metrics.registry.get_sample_value("bellweave_bus_request_seconds_count", labels) or 0.0


async def test_who_waits_for_a_slot_too_long_is_given_up(town: Any) -> None:
    busy, go = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def one_by_one(request: ReserveQuota) -> QuotaReply:
        busy.set()
        await go.wait()
        done.append(request.tenant)
        return QUOTA

    bus = await bms(town, one_by_one, concurrency=1)
    sms = await town.bus("sms.main")
    first = asyncio.create_task(sms.request("main", asked("first"), timeout_s=20))
    await busy.wait()
    with pytest.raises(TimedOut):
        await sms.request("main", asked("second"), timeout_s=0.2)
    async with asyncio.timeout(20):
        while gave_up(bus) < 1:  # noqa: ASYNC110 (the callee's limit began a moment after the caller's)
            await asyncio.sleep(0.01)
    go.set()
    assert await first == QUOTA
    assert await sms.request("main", asked("third"), timeout_s=20) == QUOTA
    assert done == ["first", "third"]


async def nobody_answers(sms: Bus) -> None:
    """Until requests no longer reach a service."""
    async with asyncio.timeout(20):
        while True:
            with pytest.raises((TimedOut, Unavailable)) as refused:
                await sms.request("main", asked(), timeout_s=0.2)
            if "nobody answers" in refused.value.detail:
                return


async def test_a_service_that_stops_finishes_its_answers_and_takes_no_more(town: Any) -> None:
    busy, go = asyncio.Event(), asyncio.Event()

    async def slow(request: ReserveQuota) -> QuotaReply:
        busy.set()
        await go.wait()
        return QUOTA

    bus = await bms(town, slow)
    sms = await town.bus("sms.main")
    running = asyncio.create_task(sms.request("main", asked(), timeout_s=20))
    await busy.wait()
    stopping = asyncio.create_task(bus.stop_serving())
    await nobody_answers(sms)
    assert not stopping.done()
    go.set()
    assert await running == QUOTA
    await stopping


async def test_a_request_on_its_way_to_a_service_that_stops_is_answered(town: Any) -> None:
    bus = await bms(town, answer)
    sms = await town.bus("sms.main")
    asking = asyncio.gather(
        *(sms.request("main", asked(), timeout_s=5) for _ in range(200)), return_exceptions=True
    )
    await asyncio.sleep(0)
    await asyncio.gather(sms.client.flush(), bus.stop_serving())
    for heard in await asyncio.wait_for(asking, 20):
        assert heard == QUOTA or isinstance(heard, Unavailable)


async def test_replicas_share_the_work_and_each_request_is_done_once(town: Any) -> None:
    done: dict[int, int] = {0: 0, 1: 0}

    async def replica(number: int) -> None:
        async def count(request: ReserveQuota) -> QuotaReply:
            done[number] += 1
            return QUOTA

        await bms(town, count)

    await replica(0)
    await replica(1)
    sms = await town.bus("sms.main")
    await asyncio.gather(*(sms.request("main", asked(), timeout_s=20) for _ in range(60)))
    assert sum(done.values()) == 60
    assert all(done.values())


async def test_a_server_that_starts_later_is_waited_for(town: Any) -> None:
    sms = await town.bus("sms.main")
    waiting = asyncio.create_task(sms.request("main", asked(), timeout_s=20))
    await sms.client.flush()  # it has been told that nobody is there
    await bms(town, answer)
    assert await waiting == QUOTA


async def test_what_happens_while_the_server_is_away_is_said_and_passes(town: Any, wired_nats: Any) -> None:
    await bms(town, answer)
    sms = await town.bus("sms.main")
    assert await sms.request("main", asked()) == QUOTA
    wired_nats.kill()
    async with asyncio.timeout(20):
        while sms.client.is_connected:  # noqa: ASYNC110 (the client tells nobody)
            await asyncio.sleep(0.01)
    with pytest.raises(Unavailable):
        sms.check()
    with pytest.raises(Unavailable):
        await sms.request("main", asked(), timeout_s=0.2)
    await asyncio.to_thread(wired_nats.start)
    assert await sms.request("main", asked(), timeout_s=20) == QUOTA
    sms.check()
