"""Requests over the real bus: typed errors, time limits, and who may ask whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qkit.bus import Bus
from qmodel.contracts import Done
from qmodel.contracts.bms import ReleaseQuota
from qmodel.contracts.commit import Outcome, OutcomeAtNms, OutcomeReply
from qmodel.errors import Infeasible, Internal, Invalid, TimedOut, Unavailable

ASK = OutcomeAtNms(request_id="r1", change_id="chg_1")


async def serving(town: Any, handler: Any, **limits: int) -> Bus:
    bus: Bus = await town.bus("nms.north")
    bus.serve(OutcomeAtNms, handler, **limits)
    await bus.start()
    return bus


async def test_an_answer_comes_back_as_its_type(town: Any) -> None:
    async def handle(ask: OutcomeAtNms) -> OutcomeReply:
        return OutcomeReply(change_id=ask.change_id, outcome=Outcome.COMMIT)

    await serving(town, handle)
    ems = await town.bus("ems.north")
    assert await ems.request("north", ASK) == OutcomeReply(change_id="chg_1", outcome=Outcome.COMMIT)


async def test_a_typed_error_crosses_the_wire_and_a_bug_shows_no_detail(town: Any) -> None:
    errors: list[Exception] = [Infeasible("too little", where="sat", room=3), RuntimeError("secret")]

    async def handle(ask: OutcomeAtNms) -> OutcomeReply:
        raise errors.pop(0)

    await serving(town, handle)
    ems = await town.bus("ems.north")
    with pytest.raises(Infeasible) as refused:
        await ems.request("north", ASK)
    assert (refused.value.where, refused.value.facts) == ("sat", {"room": 3})
    with pytest.raises(Internal) as broken:
        await ems.request("north", ASK)
    assert "secret" not in broken.value.detail


async def test_nobody_there_is_unavailable_and_silence_is_timed_out(town: Any) -> None:
    ems = await town.bus("ems.north")
    with pytest.raises(Unavailable, match="nobody answers"):
        await ems.request("north", ASK, timeout_s=0.3)
    never = asyncio.Event()

    async def handle(ask: OutcomeAtNms) -> OutcomeReply:
        await never.wait()
        raise AssertionError

    await serving(town, handle)
    with pytest.raises(TimedOut):
        await ems.request("north", ASK, timeout_s=0.3)


async def test_too_many_at_once_are_turned_away(town: Any) -> None:
    gate = asyncio.Event()

    async def handle(ask: OutcomeAtNms) -> OutcomeReply:
        await gate.wait()
        return OutcomeReply(change_id=ask.change_id, outcome=Outcome.ABORT)

    await serving(town, handle, concurrency=1, waiting=1)
    ems = await town.bus("ems.north")
    asked = [asyncio.create_task(ems.request("north", ASK, timeout_s=10)) for _ in range(5)]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
    assert all(isinstance(task.exception(), Unavailable) for task in done)
    gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, OutcomeReply) for answer in answers) == 2


async def test_a_body_that_does_not_fit_is_invalid_and_says_where(town: Any) -> None:
    async def handle(ask: OutcomeAtNms) -> OutcomeReply:
        raise AssertionError

    await serving(town, handle)
    ems = await town.bus("ems.north")
    wrong = ReleaseQuota(request_id="r", tenant="acme", order_id="o")
    with pytest.raises(Invalid) as refused:
        await ems.ask("req.nms.north.commit-outcome", wrong, Done)
    assert refused.value.where == "/change_id"


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("ems.north", "req.bms.main.reserve-quota"),
        ("ems.north", "req.nms.north.place"),
        ("ems.north", "evt.nms.north.link"),
        ("nms.north", "req.bms.main.reserve-quota"),
        ("nms.north", "$JS.API.STREAM.CREATE.X"),
        ("bms.main", "req.nms.north.commit"),
        ("sms.main", "req.ems.north.commit"),
        ("sms.main", "$JS.API.CONSUMER.CREATE.EVT_NMS.spy"),
    ],
)
async def test_a_service_cannot_publish_what_is_not_its_own(town: Any, user: str, subject: str) -> None:
    bus = await town.bus(user)
    refused: asyncio.Queue[Exception] = asyncio.Queue()
    bus.client._error_cb = refused.put
    await bus.client.publish(subject, b"x")
    error = await asyncio.wait_for(refused.get(), 5)
    assert "permissions violation" in str(error).lower()


@pytest.mark.parametrize("subject", ["evt.>", "req.>", "_INBOX.>", "req.sms.main.*"])
async def test_a_service_cannot_listen_to_others(town: Any, subject: str) -> None:
    bus = await town.bus("ems.north")
    refused: asyncio.Queue[Exception] = asyncio.Queue()
    bus.client._error_cb = refused.put
    await bus.client.subscribe(subject)
    error = await asyncio.wait_for(refused.get(), 5)
    assert "permissions violation" in str(error).lower()


async def test_a_wrong_password_is_unavailable_not_a_hang(town: Any) -> None:
    with pytest.raises(Unavailable):
        await town.bus("ems.north", password="wrong")
