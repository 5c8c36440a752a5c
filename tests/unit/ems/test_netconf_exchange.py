"""The session without a network: hellos, pipelining, errors, limits, notifications."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from ems.adapters.netconf.errors import (
    DataMissing,
    LockDenied,
    OperationNotSupported,
    ProtocolViolation,
    RpcRefused,
)
from ems.adapters.netconf.exchange import Exchange, Limits
from ems.adapters.netconf.framing import frame_chunked, frame_legacy
from ems.adapters.netconf.session import wake
from qmodel.errors import TimedOut, Unavailable

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"


class Wire:
    """The transport of an exchange, and what the device would see."""

    def __init__(self) -> None:
        self.sent = b""
        self.writes = 0
        self.dropped = False
        self.twice = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writes += 1
        if self.writes == 2:
            self.twice.set()

    def abort(self) -> None:
        self.dropped = True

    def ids(self) -> list[str]:
        return re.findall(r'message-id="(\d+)"', self.sent.decode())


def hello(*capabilities: str, session_id: str = "7") -> bytes:
    listed = "".join(f"<capability>{each}</capability>" for each in capabilities)
    return frame_legacy(
        f'<hello xmlns="{BASE}"><capabilities>{listed}</capabilities>'
        f"<session-id>{session_id}</session-id></hello>".encode()
    )


def reply(number: str | None, inside: str = "<ok/>") -> bytes:
    name = "" if number is None else f' message-id="{number}"'
    return frame_chunked(f'<rpc-reply xmlns="{BASE}"{name}>{inside}</rpc-reply>'.encode())


def rpc_error(tag: str, *, severity: str = "error", extra: str = "") -> str:
    return (
        f"<rpc-error><error-type>protocol</error-type><error-tag>{tag}</error-tag>"
        f"<error-severity>{severity}</error-severity>{extra}</rpc-error>"
    )


async def greeted(**limits: Any) -> tuple[Exchange, Wire]:
    wire = Wire()
    exchange = Exchange(wire, Limits(**limits), where="lab:830")
    waiting = asyncio.ensure_future(exchange.greet())
    await asyncio.sleep(0)
    exchange.feed(hello("urn:ietf:params:netconf:base:1.1"))
    await waiting
    wire.sent, wire.writes = b"", 0
    wire.twice.clear()
    return exchange, wire


async def flying(exchange: Exchange, *operations: bytes, limit_s: float | None = None) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(exchange.flight(operations, limit_s))
    await asyncio.sleep(0)
    return task


async def test_hello_tells_capabilities_and_session_id_and_turns_chunks_on() -> None:
    exchange, wire = await greeted()
    assert exchange.session_id == 7
    assert exchange.capabilities == {"urn:ietf:params:netconf:base:1.1"}
    task = await flying(exchange, b"<get/>")
    assert wire.sent.startswith(b"\n#")
    exchange.feed(reply("1"))
    await task


async def test_a_device_of_base_1_0_is_spoken_to_with_end_of_message() -> None:
    wire = Wire()
    exchange = Exchange(wire, Limits(), where="lab:830")
    exchange.feed(hello("urn:ietf:params:netconf:base:1.0"))
    task = await flying(exchange, b"<get/>")
    assert wire.sent.endswith(b"]]>]]>")
    exchange.feed(frame_legacy(f'<rpc-reply xmlns="{BASE}" message-id="1"><ok/></rpc-reply>'.encode()))
    assert [answer.refusal for answer in await task] == [None]


@pytest.mark.parametrize(
    "octets",
    [
        hello("urn:ietf:params:netconf:base:2.0"),
        hello("urn:ietf:params:netconf:base:1.1", session_id=""),
        hello("urn:ietf:params:netconf:base:1.1", session_id="-3"),
        frame_legacy(b"SSH is fun"),
        frame_legacy(f'<rpc-reply xmlns="{BASE}" message-id="1"><ok/></rpc-reply>'.encode()),
    ],
)
async def test_a_device_that_greets_wrongly_is_refused(octets: bytes) -> None:
    wire = Wire()
    exchange = Exchange(wire, Limits(), where="lab:830")
    exchange.feed(octets)
    with pytest.raises(ProtocolViolation):
        await exchange.greet()
    assert wire.dropped


async def test_a_device_that_never_greets_runs_into_the_limit() -> None:
    wire = Wire()
    exchange = Exchange(wire, Limits(hello_s=0.01), where="lab:830")
    with pytest.raises(TimedOut):
        await exchange.greet()
    assert wire.dropped


async def test_a_flight_is_one_write_and_its_answers_come_back_in_order() -> None:
    exchange, wire = await greeted()
    task = await flying(exchange, b"<lock/>", b"<get/>", b"<unlock/>")
    assert wire.writes == 1
    assert wire.ids() == ["1", "2", "3"]
    exchange.feed(reply("1") + reply("2", "<data><x/></data>"))
    await asyncio.sleep(0)
    assert not task.done()
    exchange.feed(reply("3"))
    answers = await task
    assert len(answers[1].data) == 1


async def test_flights_of_several_tasks_are_outstanding_together() -> None:
    exchange, wire = await greeted()
    one, two = await flying(exchange, b"<get/>"), await flying(exchange, b"<get/>")
    assert wire.ids() == ["1", "2"]
    exchange.feed(reply("1", "<data/>") + reply("2"))
    assert (await one)[0].data.tag == f"{{{BASE}}}data"
    await two


async def test_an_rpc_error_refuses_its_own_rpc_only() -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<lock/>", b"<get/>")
    exchange.feed(reply("1", rpc_error("operation-not-supported")) + reply("2"))
    lock, get = await task
    assert isinstance(lock.refusal, OperationNotSupported)
    assert get.refusal is None
    assert exchange.broken is None


async def test_a_denied_lock_names_its_holder() -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<lock/>")
    info = "<error-info><session-id>42</session-id></error-info>"
    exchange.feed(reply("1", rpc_error("lock-denied", extra=info)))
    (lock,) = await task
    assert isinstance(lock.refusal, LockDenied)
    assert lock.refusal.holder == 42


async def test_several_errors_of_one_rpc_are_all_kept() -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<edit-config/>")
    path = "<error-path>/a/b</error-path><error-message>no &lt;b&gt;</error-message>"
    exchange.feed(
        reply(
            "1", rpc_error("data-missing", extra=path) + rpc_error("bad-attribute") + rpc_error("lock-denied")
        )
    )
    (edit,) = await task
    refusal = edit.refusal
    assert isinstance(refusal, DataMissing)
    assert (refusal.where, refusal.detail) == ("/a/b", "data-missing: no <b> (and 2 more errors)")
    assert [fact["tag"] for fact in refusal.facts["errors"]] == [
        "data-missing",
        "bad-attribute",
        "lock-denied",
    ]
    assert refusal.has("lock-denied")


async def test_an_error_beside_data_is_not_overlooked_and_an_unknown_tag_is_a_refusal_too() -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<get/>")
    exchange.feed(reply("1", "<data/>" + rpc_error("made-up")))
    (answer,) = await task
    assert type(answer.refusal) is RpcRefused


async def test_warnings_alone_refuse_nothing() -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<commit/>")
    exchange.feed(reply("1", "<ok/>" + rpc_error("operation-failed", severity="warning")))
    assert (await task)[0].refusal is None


async def test_silence_ends_the_session_and_tells_how_far_the_flight_came() -> None:
    exchange, wire = await greeted()
    task = await flying(exchange, b"<commit/>", b"<get/>", limit_s=0.02)
    other = await flying(exchange, b"<get/>")
    exchange.feed(reply("1"))
    with pytest.raises(TimedOut) as caught:
        await task
    assert caught.value.facts == {"answered": 1, "sent": 2}
    with pytest.raises(Unavailable):
        await other
    assert wire.dropped
    with pytest.raises(Unavailable):
        await exchange.flight((b"<get/>",))


async def test_a_lost_connection_fails_every_rpc_outstanding() -> None:
    exchange, _ = await greeted()
    tasks = [await flying(exchange, b"<get/>") for _ in range(3)]
    exchange.fail(Unavailable("the connection to the device was lost"))
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, Unavailable)


@pytest.mark.parametrize("number", ["99", None])
async def test_an_answer_that_nobody_asked_for_ends_the_session(number: str | None) -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<get/>")
    exchange.feed(reply(number))
    with pytest.raises(ProtocolViolation):
        await task


async def test_an_answer_to_a_caller_that_has_gone_is_dropped_quietly() -> None:
    exchange, _ = await greeted()
    task = await flying(exchange, b"<get/>")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    exchange.feed(reply("1"))
    assert exchange.broken is None


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a [<!ENTITY e "x">]><rpc-reply xmlns="{base}" message-id="1"><ok/></rpc-reply>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><rpc-reply xmlns="{base}" message-id="1"><ok/></rpc-reply>',
        '<rpc-reply xmlns="{base}" message-id="1">&undefined;</rpc-reply>',
        '<rpc-reply xmlns="{base}" message-id="1"><ok></rpc-reply>',
        '<rpc-reply message-id="1"><ok/></rpc-reply>',
        '<rpc-reply xmlns="{base}" message-id="1">{deep}</rpc-reply>',
    ],
)
async def test_xml_that_no_device_should_send_ends_the_session(document: str) -> None:
    exchange, wire = await greeted(depth=20)
    task = await flying(exchange, b"<get/>")
    text = document.format(base=BASE, deep="<a>" * 20 + "</a>" * 20)
    exchange.feed(frame_chunked(text.encode()))
    with pytest.raises(ProtocolViolation):
        await task
    assert wire.dropped


async def test_too_many_outstanding_rpcs_are_refused_before_they_are_sent() -> None:
    exchange, wire = await greeted(outstanding=2)
    task = await flying(exchange, b"<get/>", b"<get/>")
    with pytest.raises(Unavailable):
        await exchange.flight((b"<get/>",))
    assert len(wire.ids()) == 2
    exchange.feed(reply("1") + reply("2"))
    await task


def notification(number: int) -> bytes:
    return frame_chunked(
        b'<notification xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"><n>%d</n></notification>'
        % number
    )


async def test_notifications_are_queued_and_what_overflows_is_counted() -> None:
    exchange, _ = await greeted(notifications=3)
    for number in range(5):
        exchange.feed(notification(number))
    assert exchange.notifications_lost == 2
    exchange.fail(Unavailable("the device ended the session"))
    taken = [(await exchange.notification())[0].text for _ in range(3)]
    assert taken == ["0", "1", "2"]
    for _ in range(2):
        with pytest.raises(Unavailable):
            await exchange.notification()


async def test_a_device_that_lets_the_first_rpc_lie_is_woken_by_a_second() -> None:
    exchange, wire = await greeted()
    waking = asyncio.ensure_future(wake(exchange, Limits(nudge_s=0.01)))
    await wire.twice.wait()
    exchange.feed(reply("1", "<data/>") + reply("2", "<data/>"))
    await waking


async def test_a_device_that_answers_at_once_is_asked_once() -> None:
    exchange, wire = await greeted()
    waking = asyncio.ensure_future(wake(exchange, Limits(nudge_s=60.0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    exchange.feed(reply("1", rpc_error("access-denied")))
    await waking
    assert wire.ids() == ["1"]


async def test_a_device_that_stays_silent_after_its_hello_is_given_up() -> None:
    exchange, _ = await greeted()
    with pytest.raises(TimedOut):
        await wake(exchange, Limits(nudge_s=0.01, hello_s=0.03))
