"""One NETCONF session on an SSH channel: hello, requests one after the other, replies in order.

Called by asyncssh with bytes. Time and space are bounded: the wait for hello, idleness, requests waiting,
and notifications to a client that does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncssh
from lxml import etree

from emulator.faults import Action
from emulator.netconf.capabilities import date_and_time
from emulator.netconf.device import Device
from emulator.netconf.filters import Filter
from emulator.netconf.framing import (
    MAX_MESSAGE_BYTES,
    Deframer,
    FramingError,
    MessageTooBig,
    frame_chunked,
    frame_eom,
)
from emulator.netconf.messages import (
    BASE_1_0,
    BASE_1_1,
    NMDA_NS,
    OK,
    MalformedMessage,
    Rpc,
    client_capabilities,
    error_body,
    parse,
    read_rpc,
    reply,
    server_hello,
)
from emulator.netconf.operations import Operations
from qyang.errors import RpcError, RpcErrors
from qyang.tree import Record

_log = logging.getLogger(__name__)

MAX_WAITING_REQUESTS = 256
MAX_UNREAD_NOTIFICATIONS = 1000


@dataclass(frozen=True)
class SessionLimits:
    """Real time, in seconds: for the client's hello, and without any request (a subscriber may be silent)."""

    hello_s: float = 10.0
    idle_s: float = 3600.0


@dataclass(frozen=True)
class Subscription:
    """To the stream NETCONF; `filter` None means everything."""

    filter: Filter | None


class NetconfSession(asyncssh.SSHServerSession[bytes]):
    """One session of one user with one device."""

    def __init__(
        self, device: Device, user: str, source_host: str, limits: SessionLimits, hang_up: Callable[[], None]
    ) -> None:
        self.session_id = 0
        self.user = user
        self.source_host = source_host
        self.subscription: Subscription | None = None
        self._device = device
        self._limits = limits
        self._hang_up = hang_up
        self._operations = Operations(device, self)
        self._deframer = Deframer()
        self._frame: Callable[[bytes], bytes] = frame_eom
        self._waiting: deque[bytes] = deque()
        self._running: asyncio.Task[None] | None = None
        self._hanging: asyncio.Future[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._login_at = datetime.now(UTC)
        self._last_active_s = 0.0
        self._greeted = False
        self._closing = False
        self._ended = False
        self._unread = 0
        self._may_write = True

    # --- what asyncssh calls -----------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "netconf"

    def session_started(self) -> None:
        loop = asyncio.get_running_loop()
        self.session_id = self._device.new_session_id()
        self._write(server_hello(self._device.about.capabilities, self.session_id))
        self._last_active_s = loop.time()
        self._watch = loop.call_later(self._limits.hello_s, self._check_hello)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self._ended or self._closing:
            return
        self._deframer.feed(data)
        self._take_messages()

    def eof_received(self) -> bool:
        self._end_soon("dropped")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_soon("dropped")

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._unread = 0

    # --- what others call --------------------------------------------------------------------------------

    def record(self) -> Record:
        """This session in netconf-state."""
        return Record(
            {
                "session-id": self.session_id,
                "transport": ("netconf-ssh", "ietf-netconf-monitoring"),
                "username": self.user,
                "source-host": self.source_host,
                "login-time": date_and_time(self._login_at),
            }
        )

    def subscribe(self, chosen_by: Filter | None) -> None:
        if self.subscription is not None:
            raise RpcError("operation-failed", "this session has subscribed already", layer="protocol")
        self.subscription = Subscription(chosen_by)

    def send_notification(self, message: bytes) -> None:
        if self._ended:
            return
        if not self._may_write:
            self._unread += 1
            if self._unread > MAX_UNREAD_NOTIFICATIONS:
                self._end_soon("other")
                return
        self._device.statistics.out_notifications += 1
        self._write(message)

    def close_after_reply(self) -> None:
        self._closing = True

    async def end(self, reason: str, killed_by: int | None = None) -> None:
        """Ends the session: locks and unconfirmed commits go with it. Safe to call again.

        A request under way is not cut off: what it has begun on disk it also ends in memory."""
        if self._ended:
            return
        self._ended = True
        self._waiting.clear()
        if self._watch is not None:
            self._watch.cancel()
        if self._hanging is not None:
            self._hanging.cancel()
        known = self._device.sessions.pop(self.session_id, None) is not None
        self._hang_up()
        await self._device.stores.session_ended(self.session_id)
        if known:
            if reason != "closed":
                self._device.statistics.dropped_sessions += 1
            ended = Record({"termination-reason": reason})
            if killed_by is not None:
                ended["killed-by"] = killed_by
            self._device.session_event(self, ended)

    # --- inside ------------------------------------------------------------------------------------------

    def _write(self, message: bytes) -> None:
        try:
            self._channel.write(self._frame(message))
        except (OSError, BrokenPipeError):
            self._end_soon("dropped")

    def _end_soon(self, reason: str) -> None:
        if not self._ended:
            task = asyncio.get_running_loop().create_task(self.end(reason))
            self._ending = task  # kept, so that it is not collected before it is done

    def _check_hello(self) -> None:
        if not self._greeted:
            self._device.statistics.in_bad_hellos += 1
            self._end_soon("timeout")
            return
        loop = asyncio.get_running_loop()
        idle_s = loop.time() - self._last_active_s
        if self.subscription is None and self._running is None and idle_s >= self._limits.idle_s:
            self._end_soon("timeout")
            return
        self._watch = loop.call_later(max(1.0, self._limits.idle_s - idle_s), self._check_hello)

    def _take_messages(self) -> None:
        try:
            while (message := self._deframer.next_message()) is not None:
                if not self._greeted:
                    self._greet(message)
                else:
                    self._waiting.append(message)
        except FramingError as error:
            if isinstance(error, MessageTooBig) and self._greeted:
                too_big = RpcError("too-big", f"a message has at most {MAX_MESSAGE_BYTES} bytes", layer="rpc")
                self._write(reply("", error_body(too_big)))
            _log.info("%s: session %d: %s", self._device.name, self.session_id, error)
            self._end_soon("dropped" if self._greeted else "bad-hello")
            return
        except MalformedMessage as error:
            _log.info("%s: session %d: %s", self._device.name, self.session_id, error)
            self._device.statistics.in_bad_hellos += 1
            self._end_soon("bad-hello")
            return
        if len(self._waiting) >= MAX_WAITING_REQUESTS:
            self._channel.pause_reading()
        if self._waiting and self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._work())

    def _greet(self, message: bytes) -> None:
        offered = client_capabilities(message)
        if BASE_1_1 in offered:
            self._deframer.chunked = True
            self._frame = frame_chunked
        elif BASE_1_0 not in offered:
            raise MalformedMessage("no base version in common")
        self._greeted = True
        self._device.sessions[self.session_id] = self
        self._device.session_event(self)

    async def _work(self) -> None:
        """Answers what is waiting, one after the other."""
        with contextlib.suppress(asyncio.CancelledError):  # of a request that hangs on order
            while self._waiting and not self._ended:
                message = self._waiting.popleft()
                if len(self._waiting) == MAX_WAITING_REQUESTS // 2:
                    self._channel.resume_reading()
                answer = await self._answer(message)
                self._last_active_s = asyncio.get_running_loop().time()
                if answer is not None and not self._ended:
                    self._write(answer)
                if self._closing:
                    await self.end("closed")
        self._running = None

    async def _answer(self, message: bytes) -> bytes | None:
        """The reply to one message, or None where a fault leaves the client without."""
        statistics = self._device.statistics
        statistics.in_rpcs += 1
        attributes = ""
        try:
            rpc = self._read(message)
            attributes = rpc.attributes
            body = await self._perform(rpc.operation)
            return None if body is None else reply(attributes, body)
        except (RpcError, RpcErrors) as error:
            if not attributes:
                statistics.in_bad_rpcs += 1
            statistics.out_rpc_errors += 1
            return reply(attributes, error_body(error))
        except Exception:
            _log.exception("%s: session %d: request failed", self._device.name, self.session_id)
            statistics.out_rpc_errors += 1
            return reply(attributes, error_body(RpcError("operation-failed", "internal error")))

    def _read(self, message: bytes) -> Rpc:
        try:
            return read_rpc(parse(message))
        except MalformedMessage as error:
            raise RpcError("malformed-message", str(error), layer="rpc") from None

    async def _perform(self, operation: etree._Element) -> str | None:
        action = self._device.faults.take(self._operations.fault_name(operation))
        if action is None:
            return await self._operations.perform(operation)
        if action is Action.RPC_ERROR:
            raise RpcError("operation-failed", "the element refuses (fault injected)")
        if action is Action.LIE:
            return _lie(operation)
        if action is Action.HANG:
            self._hanging = asyncio.get_running_loop().create_future()
            await self._hanging
        if action is Action.LOSE_REPLY:
            await self._operations.perform(operation)
        await self.end("dropped")
        return None


def _lie(operation: etree._Element) -> str:
    """What an element says that has done nothing."""
    name = etree.QName(operation).localname
    if name == "get-data":
        return f'<data xmlns="{NMDA_NS}"/>'
    return "<data/>" if name.startswith("get") else OK
