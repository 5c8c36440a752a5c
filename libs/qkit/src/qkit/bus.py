"""Commands and questions between services over NATS: request and reply with time limits and typed errors.

Services ask with `request` and answer with what they gave to `serve`; events go through `qkit.events`, which
uses the same connection. A request carries its caller's trace and how long the caller will wait. The bus
keeps nothing: the caller's row retries, the callee's row remembers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from qkit.settings import ServiceSettings
from qkit.telemetry import Metrics, inject_trace, span
from qkit.wire import decode_reply, encode_error, encode_ok, parse_body
from qkit.wiring import inbox_of
from qmodel.contracts import Body, Request, subject_of
from qmodel.errors import BellweaveError, Internal, TimedOut, TooLarge, Unavailable

R = TypeVar("R", bound=Body)
Q = TypeVar("Q", bound=BaseModel)
Handler = Callable[[Any], Awaitable[BaseModel]]

TIME_LEFT = "Bellweave-Time-Left"
"""Header: seconds that the caller will still wait. Relative, so that no two clocks are compared."""

_LONGEST_S = 110.0  # nats-server lets an answer pass for two minutes
_FIRST_PAUSE_S = 0.05
_HEADER_ROOM = 2_048  # the server counts headers as part of a message, its client library does not


@dataclass
class _Service:
    """One served operation: `slots` run at once, and at most `limit` run or wait."""

    subject: str
    model: type[BaseModel]
    handler: Handler
    limit: int
    slots: asyncio.Semaphore
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    subscription: Subscription | None = None


class Bus:
    """The connection of one service instance, under its own NATS user."""

    def __init__(self, client: Client, name: str, metrics: Metrics) -> None:
        self.name = name
        self.client = client
        self.metrics = metrics
        self._services: list[_Service] = []
        self._log = structlog.get_logger("qkit.bus")

    @classmethod
    async def connect(cls, settings: ServiceSettings, metrics: Metrics | None = None) -> Bus:
        """Connect and stay connected: after the first success it reconnects for ever.

        Raises Unavailable when the server cannot be reached or refuses the user.
        """
        log = structlog.get_logger("qkit.bus")

        async def on_error(error: Exception) -> None:
            log.warning("bus-error", error=str(error) or type(error).__name__)

        async def on_disconnect() -> None:
            log.warning("bus-disconnected")

        async def on_reconnect() -> None:
            log.info("bus-reconnected")

        client = Client()
        try:
            async with asyncio.timeout(5.0):
                await client.connect(
                    settings.nats_url,
                    user=settings.nats_user,
                    password=settings.nats_password.get_secret_value(),
                    name=settings.name,
                    inbox_prefix=inbox_of(settings.name),
                    connect_timeout=2,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    ping_interval=20,
                    drain_timeout=10,
                    error_cb=on_error,
                    disconnected_cb=on_disconnect,
                    reconnected_cb=on_reconnect,
                )
        except (OSError, nats.errors.Error, TimeoutError) as error:
            await client.close()
            raise Unavailable("the bus cannot be reached", retry_after_s=1.0) from error
        return cls(client, settings.name, metrics or Metrics())

    def jetstream(self, timeout_s: float = 5.0) -> JetStreamContext:
        return self.client.jetstream(timeout=timeout_s)

    def check(self) -> None:
        """Raises Unavailable while disconnected."""
        if not self.client.is_connected:
            raise Unavailable("the bus cannot be reached", retry_after_s=1.0)

    async def request(self, instance: str, request: Request[R], *, timeout_s: float = 5.0) -> R:
        """Ask `instance` (`north`) of the request's service and return its reply.

        Raises the callee's own error; Unavailable when nobody answers the subject for `timeout_s` seconds,
        TimedOut when somebody did not answer in that time: then the work may have been done, and the same
        request may be sent again.
        """
        kind = type(request)
        return await self.ask(subject_of(kind, instance), request, kind.reply, timeout_s=timeout_s)

    async def ask(self, subject: str, body: BaseModel, reply: type[Q], *, timeout_s: float = 5.0) -> Q:
        """As `request`, for a subject given in full."""
        operation = subject.rpartition(".")[2]
        started = time.monotonic()
        outcome = "ok"
        try:
            with span(f"ask {subject}", SpanKind.CLIENT):
                message = await self._ask(subject, body.model_dump_json().encode(), started + timeout_s)
                return decode_reply(reply, message.data)
        except BellweaveError as error:
            outcome = error.kind.value
            raise
        finally:
            elapsed_s = time.monotonic() - started
            self.metrics.bus_requests.labels("client", operation, outcome).observe(elapsed_s)

    async def _ask(self, subject: str, payload: bytes, until: float) -> Msg:
        """Send and wait. While nobody serves the subject, and while reconnecting, try again until `until`."""
        if len(payload) > self.client.max_payload - _HEADER_ROOM:
            raise TooLarge("the request is too large for the bus")
        pause_s = _FIRST_PAUSE_S
        while (left_s := until - time.monotonic()) > 0:
            headers = {TIME_LEFT: f"{left_s:.3f}"}
            inject_trace(headers)
            try:
                return await self.client.request(subject, payload, timeout=left_s, headers=headers)
            except nats.errors.NoRespondersError:
                await asyncio.sleep(min(pause_s, max(0.0, until - time.monotonic())))
                pause_s = min(pause_s * 2, 1.0)
            except nats.errors.MaxPayloadError as error:
                raise TooLarge("the request is too large for the bus") from error
            except nats.errors.TimeoutError as error:
                if not self.client.is_connected:
                    break
                raise TimedOut(f"no answer from {subject} in time", where=subject) from error
            except nats.errors.Error as error:
                raise Unavailable("the bus cannot be reached", retry_after_s=1.0) from error
        raise Unavailable(f"nobody answers {subject}", where=subject, retry_after_s=1.0)

    def serve(
        self,
        request: type[Request[R]],
        handler: Callable[[Any], Awaitable[R]],
        *,
        concurrency: int = 16,
        waiting: int = 256,
    ) -> None:
        """Answer `request` with `handler`, from `start` on. Replicas of an instance share the work.

        At most `concurrency` run at once and `waiting` more wait; beyond that the caller gets Unavailable.
        """
        instance = self.name.partition(".")[2]
        self.answer(subject_of(request, instance), request, handler, concurrency=concurrency, waiting=waiting)

    def answer(
        self,
        subject: str,
        model: type[BaseModel],
        handler: Handler,
        *,
        concurrency: int = 16,
        waiting: int = 256,
    ) -> None:
        """As `serve`, for a subject given in full."""
        self._services.append(
            _Service(subject, model, handler, concurrency + waiting, asyncio.Semaphore(concurrency))
        )

    async def start(self) -> None:
        """Begin to answer."""
        for service in self._services:
            if service.subscription is None:
                service.subscription = await self.client.subscribe(
                    service.subject, queue=self.name, cb=self._receiver(service)
                )
        await self.client.flush()

    def _receiver(self, service: _Service) -> Callable[[Msg], Awaitable[None]]:
        async def receive(message: Msg) -> None:
            if len(service.tasks) >= service.limit:
                await self._reply(message, encode_error(Unavailable("too busy", retry_after_s=0.5)))
                return
            task = asyncio.create_task(self._serve_one(service, message, time.monotonic()))
            service.tasks.add(task)
            task.add_done_callback(service.tasks.discard)

        return receive

    async def _serve_one(self, service: _Service, message: Msg, received: float) -> None:
        headers = message.headers or {}
        operation = service.subject.rpartition(".")[2]
        outcome = "ok"
        try:
            with span(f"serve {service.subject}", SpanKind.SERVER, headers):
                reply = encode_ok(await self._handle(service, message, received + _time_left_s(headers)))
        except BellweaveError as error:
            outcome = error.kind.value
            reply = encode_error(error)
        except Exception:
            outcome = "internal"
            self._log.exception("request-failed", operation=operation)
            reply = encode_error(Internal("internal error"))
        await self._reply(message, reply)
        self.metrics.bus_requests.labels("server", operation, outcome).observe(time.monotonic() - received)

    async def _handle(self, service: _Service, message: Msg, until: float) -> BaseModel:
        body = parse_body(service.model, message.data)
        limit = asyncio.timeout(until - time.monotonic())
        try:
            async with limit, service.slots:
                return await service.handler(body)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimedOut("the caller's time is over") from error

    async def _reply(self, message: Msg, payload: bytes) -> None:
        if len(payload) > self.client.max_payload:
            payload = encode_error(TooLarge("the answer is too large for the bus"))
        try:
            if message.reply:
                await message.respond(payload)
        except nats.errors.Error as error:  # the caller will ask again
            self._log.warning("reply-lost", error=str(error))

    async def stop_serving(self, limit_s: float = 10.0) -> None:
        """Take no more requests and let the running ones answer, at most `limit_s` seconds. What the server
        has sent already is still answered: nobody waits for a request that fell between two stools."""
        subscriptions = [service.subscription for service in self._services if service.subscription]
        for service in self._services:
            service.subscription = None
        if self.client.is_connected:
            try:
                async with asyncio.timeout(limit_s):
                    await asyncio.gather(*(one.drain() for one in subscriptions))  # type: ignore[no-untyped-call]
            except (nats.errors.Error, TimeoutError) as error:
                self._log.warning("requests-not-drained", error=str(error) or type(error).__name__)
        running = [task for service in self._services for task in service.tasks]
        if running:
            _, late = await asyncio.wait(running, timeout=limit_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def close(self) -> None:
        """Finish what is being answered, flush, and disconnect."""
        await self.stop_serving()
        try:
            async with asyncio.timeout(5.0):
                await self.client.flush()
        except (nats.errors.Error, TimeoutError):
            self._log.warning("bus-not-flushed")
        await self.client.close()


def _time_left_s(headers: dict[str, str]) -> float:
    """The caller's remaining patience in seconds, within (0, 110]."""
    try:
        left_s = float(headers.get(TIME_LEFT, "5"))
    except ValueError:
        return 5.0
    return min(max(left_s, 0.001), _LONGEST_S) if left_s == left_s else 5.0
