"""One NETCONF session without its transport: hellos, pipelined RPCs, answers matched by id, notifications.

`session` feeds it octets and gives it `write` and `close`; tests drive it without a network. A flight is
several RPCs written at once; the device answers them in order, and one future wakes the caller at the end.
It never retries: an RPC whose answer did not come is an unknown, and the session is over, which makes the
device drop its locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lxml import etree

from ems.adapters.netconf.errors import BASE, ProtocolViolation, RpcRefused, errors_of
from ems.adapters.netconf.framing import Deframer, frame_chunked, frame_legacy
from ems.adapters.netconf.xml import Reader
from qmodel.errors import BellweaveError, TimedOut, Unavailable

BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
_NOTIFICATION = "{urn:ietf:params:xml:ns:netconf:notification:1.0}notification"
_REPLY = f"{{{BASE}}}rpc-reply"
_RPC_ERROR = f"{{{BASE}}}rpc-error"
_HELLO = (
    f'<?xml version="1.0" encoding="UTF-8"?><hello xmlns="{BASE}"><capabilities>'
    f"<capability>{BASE_1_0}</capability><capability>{BASE_1_1}</capability></capabilities></hello>"
).encode()


@dataclass(frozen=True)
class Limits:
    """What a session waits for and holds. Times in seconds of real time, sizes in octets."""

    login_s: float = 15.0
    hello_s: float = 10.0
    nudge_s: float = 0.3
    rpc_s: float = 10.0
    close_s: float = 1.0
    keepalive_s: float = 15.0
    message_bytes: int = 16 * 1024 * 1024
    chunk_bytes: int = 16 * 1024 * 1024
    depth: int = 64
    outstanding: int = 256
    notifications: int = 1000


class Transport(Protocol):
    """What carries the octets: an SSH channel, or a test."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None:
        """Drop the connection at once; safe to call again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: `root` is the `rpc-reply`; `refusal` what its `rpc-error` elements say."""

    root: etree._Element
    refusal: RpcRefused | None

    @property
    def data(self) -> etree._Element:
        """The `data` element that a get, get-config or get-data answers with."""
        for child in self.root.iterchildren("{*}data"):
            return child
        raise ProtocolViolation("the device answered a read without data")


class _Flight:
    __slots__ = ("deadline_s", "done", "left", "limit_s", "replies", "timer")

    def __init__(self, size: int, limit_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[list[Reply]] = loop.create_future()
        self.replies: list[Reply | None] = [None] * size
        self.left = size
        self.limit_s = limit_s
        self.deadline_s = loop.time() + limit_s
        self.timer: asyncio.TimerHandle | None = None

    def take(self, index: int, reply: Reply, now_s: float) -> None:
        self.replies[index] = reply
        self.left -= 1
        self.deadline_s = now_s + self.limit_s
        if self.left == 0:
            if self.timer is not None:
                self.timer.cancel()
            if not self.done.done():
                self.done.set_result([answer for answer in self.replies if answer is not None])

    def fail(self, error: BellweaveError) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # a caller that was cancelled will not ask


class Exchange:
    """See the module. Lives in one event loop; `where` names the device in errors."""

    def __init__(self, transport: Transport, limits: Limits, *, where: str) -> None:
        self._transport = transport
        self._limits = limits
        self._where = where
        self._loop = asyncio.get_running_loop()
        self._deframer = Deframer(message_bytes=limits.message_bytes, chunk_bytes=limits.chunk_bytes)
        self._reader = Reader(depth=limits.depth)
        self._frame: Callable[[bytes], bytes] = frame_legacy
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._next_id = 1
        self._waiting: dict[str, tuple[_Flight, int]] = {}
        self._broken: BellweaveError | None = None
        self._notifications: asyncio.Queue[etree._Element | None] = asyncio.Queue(limits.notifications + 1)
        self.notifications_lost = 0
        self.capabilities: frozenset[str] = frozenset()
        self.session_id = 0

    @property
    def broken(self) -> BellweaveError | None:
        """Why the session is over, or None while it lives."""
        return self._broken

    async def greet(self) -> None:
        """Send our hello and await the device's; `TimedOut`, `Unavailable` or `ProtocolViolation`."""
        self._transport.write(frame_legacy(_HELLO))
        try:
            async with asyncio.timeout(self._limits.hello_s):
                await self._greeted
        except TimeoutError:
            error = TimedOut(f"no NETCONF hello within {self._limits.hello_s:g} s", where=self._where)
            self.fail(error)
            raise error from None

    async def flight(self, operations: Sequence[bytes], limit_s: float | None = None) -> list[Reply]:
        """Send all `operations` in one write and await all answers, in order.

        `limit_s` is the longest wait for each answer after the one before. Raises `TimedOut` or
        `Unavailable` when an answer is missing: what the device did is then unknown, and the session over.
        """
        if self._broken is not None:
            raise self._over()
        if len(self._waiting) + len(operations) > self._limits.outstanding:
            raise Unavailable("too many RPCs outstanding", where=self._where, retry_after_s=1.0)
        flight = _Flight(len(operations), limit_s or self._limits.rpc_s, self._loop)
        out = bytearray()
        for index, operation in enumerate(operations):
            number = str(self._next_id)
            self._next_id += 1
            self._waiting[number] = (flight, index)
            out += self._frame(
                b'<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="%b">%b</rpc>'
                % (number.encode(), operation)
            )
        flight.timer = self._loop.call_later(flight.limit_s, self._expire, flight)
        self._transport.write(bytes(out))
        return await flight.done

    async def notification(self) -> etree._Element:
        """The next notification; raises why the session is over once it is and none is left."""
        element = await self._notifications.get()
        if element is None:
            self._notifications.put_nowait(None)  # for whoever asks again
            raise self._over()
        return element

    def feed(self, data: bytes) -> None:
        """Octets from the device, in any pieces."""
        if self._broken is not None:
            return
        try:
            messages = self._deframer.feed(data)
            while messages:
                for message in messages:
                    self._take(self._reader.parse(message))
                messages = self._deframer.feed(b"") if self._deframer.pending() else []
        except BellweaveError as error:
            error.where = error.where or self._where
            self.fail(error)

    def fail(self, error: BellweaveError) -> None:
        """The session is over: every RPC outstanding gets an error, and the transport is dropped."""
        if self._broken is not None:
            return
        self._broken = error
        waiting = {id(flight): flight for flight, _ in self._waiting.values()}
        self._waiting.clear()
        for flight in waiting.values():
            flight.fail(self._over())
        if not self._greeted.done():
            self._greeted.set_exception(error)
            self._greeted.exception()
        self._notifications.put_nowait(None)  # its own place is kept free in the queue
        self._transport.abort()

    def _over(self) -> BellweaveError:
        """A fresh exception each time: tracebacks of several callers must not share one."""
        error = self._broken or Unavailable("the session is closed", where=self._where)
        if isinstance(error, ProtocolViolation):
            return ProtocolViolation(error.detail, where=error.where, **error.facts)
        return Unavailable(error.detail, where=self._where, retry_after_s=error.retry_after_s)

    def _expire(self, flight: _Flight) -> None:
        late_s = flight.deadline_s - self._loop.time()
        if late_s > 0:
            flight.timer = self._loop.call_later(late_s, self._expire, flight)
            return
        detail = f"no answer to an RPC within {flight.limit_s:g} s"
        answered = sum(reply is not None for reply in flight.replies)
        flight.fail(TimedOut(detail, where=self._where, answered=answered, sent=len(flight.replies)))
        self.fail(Unavailable(f"session given up: {detail}", where=self._where))

    def _take(self, root: etree._Element) -> None:
        tag = root.tag
        if tag == _REPLY:
            self._take_reply(root)
        elif tag == _NOTIFICATION:
            if self._notifications.qsize() < self._limits.notifications:
                self._notifications.put_nowait(root)
            else:
                self.notifications_lost += 1
        elif tag == f"{{{BASE}}}hello" and not self._greeted.done():
            self._take_hello(root)
        else:
            raise ProtocolViolation(f"the device sent an unexpected {str(tag)[:100]}")

    def _take_reply(self, root: etree._Element) -> None:
        waiting = self._waiting.pop(root.get("message-id") or "", None)
        if waiting is None:
            refusal = errors_of(root)
            said = f": {refusal.detail}" if refusal else ""
            raise ProtocolViolation(f"the device answered an RPC that was not sent{said}")
        # Nearly every answer is a lone <ok/> or <data>; only others are searched for errors.
        plain = len(root) == 1 and root[0].tag != _RPC_ERROR
        flight, index = waiting
        flight.take(index, Reply(root, None if plain else errors_of(root)), self._loop.time())

    def _take_hello(self, root: etree._Element) -> None:
        self.capabilities = frozenset(
            (element.text or "").strip() for element in root.iter(f"{{{BASE}}}capability")
        )
        number = (root.findtext(f"{{{BASE}}}session-id") or "").strip()
        if not number.isdecimal():
            raise ProtocolViolation("the device's hello has no session-id")
        self.session_id = int(number)
        if BASE_1_1 in self.capabilities:
            self._frame = frame_chunked
            self._deframer.use_chunks()
        elif BASE_1_0 not in self.capabilities:
            raise ProtocolViolation("the device's hello names no base version that we speak")
        self._greeted.set_result(None)
