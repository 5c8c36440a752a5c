"""Makes a service's FastAPI application and serves it: limits, headers, health, metrics, access log.

`qkit.service` calls this with the service's routers. A route that does not say who may call it is a mistake
that stops the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qkit.auth import Verifier
from qkit.http import problems
from qkit.http.protocol import BoundedHead
from qkit.settings import ServiceSettings
from qkit.telemetry import Metrics, span
from qmodel.errors import BellweaveError, TimedOut, TooLarge, Unavailable
from qmodel.ids import new_id

PREFIX = "/api/v1"
_CHECK_LIMIT_S = 3.0
_DRAIN_S = 5
_SAFE_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}


@dataclass(frozen=True)
class Health:
    """What `/readyz` asks: each check raises when its part does not work."""

    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)


def make_app(
    settings: ServiceSettings,
    *,
    title: str,
    verifier: Verifier,
    routers: Iterable[APIRouter],
    health: Health,
    metrics: Metrics | None = None,
    version: str = "1",
) -> FastAPI:
    """The application, with its routers under /api/v1. Raises ValueError for a route open to everybody that
    is not marked `public`."""
    app = FastAPI(
        title=title,
        version=version,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        responses={"default": problems.OPENAPI},
    )
    app.state.verifier = verifier
    kept = metrics or Metrics()
    for router in routers:
        _refuse_unguarded(router)
        app.include_router(router, prefix=PREFIX)
    _add_own_routes(app, health, kept)
    problems.install(app)
    app.add_middleware(_Gate, settings=settings, metrics=kept)
    return app


def _refuse_unguarded(router: APIRouter) -> None:
    for route in router.routes:
        if isinstance(route, APIRoute) and not _guarded(route.dependant):
            raise ValueError(f"{sorted(route.methods or ())} {route.path} does not say who may call it")


def _guarded(dependant: Dependant) -> bool:
    return getattr(dependant.call, "guards", False) or any(map(_guarded, dependant.dependencies))


def _add_own_routes(app: FastAPI, health: Health, metrics: Metrics) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> JSONResponse:
        faults = await _faults(health)
        status = "ready" if not faults else "not ready"
        return JSONResponse({"status": status, "faults": faults}, 503 if faults else 200)

    @app.get("/metrics", include_in_schema=False)
    async def measured() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _faults(health: Health) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, check in health.checks.items():
        try:
            async with asyncio.timeout(_CHECK_LIMIT_S):
                await check()
        except BellweaveError as error:
            found[name] = error.detail
        except TimeoutError:
            found[name] = "no answer in time"
        except Exception as error:  # a check that fails is a part that does not work
            structlog.get_logger("qkit.health").error("check-failed", check=name, exc_info=error)
            found[name] = type(error).__name__
    return found


class _Gate:
    """Around every request: its id, body size, time limit, trace, metrics, headers and log line.

    The log line has the path without its query, which may hold what must not be logged."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._log = structlog.get_logger("qkit.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        instance = new_id("req")
        scope.setdefault("state", {})["instance"] = instance
        exchange = _Exchange(receive, send, self._settings.max_body_bytes, instance)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        name = f"{scope['method']} {scope['path']}"
        try:
            with span(name, SpanKind.SERVER, headers):
                await self._within_limits(scope, exchange)
        finally:
            self._account(scope, exchange, instance, time.monotonic() - started)

    async def _within_limits(self, scope: Scope, exchange: _Exchange) -> None:
        """The time limit is until the answer begins: a stream may then go on."""
        request = Request(scope)
        limit = asyncio.timeout(self._settings.request_timeout_s)
        try:
            exchange.check_length(request.headers.get("content-length"))
            async with limit:
                exchange.on_begin = lambda: limit.reschedule(None)
                await self._app(scope, exchange.receive, exchange.send)
        except TooLarge as error:
            await self._answer(request, exchange, problems.respond(request, error))
        except TimeoutError as error:
            if not limit.expired():
                await self._answer(request, exchange, problems.unforeseen(request, error))
                return
            late = TimedOut("this took too long; try again", retry_after_s=1.0)
            await self._answer(request, exchange, problems.respond(request, late))
        except Exception as error:
            if exchange.status is not None:
                raise  # the answer has begun: all that is left is to break it off
            await self._answer(request, exchange, problems.unforeseen(request, error))

    async def _answer(self, request: Request, exchange: _Exchange, response: Response) -> None:
        if exchange.status is None:
            exchange.on_begin = lambda: None  # the time limit is over, or was never set
            await response(request.scope, exchange.receive, exchange.send)

    def _account(self, scope: Scope, exchange: _Exchange, instance: str, elapsed_s: float) -> None:
        path = _template(scope)
        status = str(exchange.status or 499)
        self._metrics.http_requests.labels(scope["method"], path, status).inc()
        self._metrics.http_seconds.labels(scope["method"], path).observe(elapsed_s)
        if scope["path"].startswith(PREFIX):
            self._log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(elapsed_s * 1000, 1),
                instance=instance,
            )


def _template(scope: Scope) -> str:
    """The path of the route that was found, with the names of its parameters; FastAPI may leave out the
    prefix under which the router was included."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return "(none)"
    inside = scope["path"].startswith(PREFIX) and not path.startswith(PREFIX)
    return PREFIX + path if inside else path


class _Exchange:
    """One request's messages, counted; also bodies without a length are bounded."""

    def __init__(self, receive: Receive, send: Send, max_body_bytes: int, instance: str) -> None:
        self._receive = receive
        self._send = send
        self._max = max_body_bytes
        self._read = 0
        self._instance = instance
        self.status: int | None = None
        self.on_begin: Callable[[], None] = lambda: None

    def check_length(self, header: str | None) -> None:
        if header is not None and header.isdecimal() and int(header[:20]) > self._max:
            raise TooLarge(f"a body has at most {self._max} bytes", limit_bytes=self._max)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._max:
                raise TooLarge(f"a body has at most {self._max} bytes", limit_bytes=self._max)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.on_begin()
            given = {name for name, _ in message["headers"]}
            extra = [(name, value) for name, value in _SAFE_HEADERS.items() if name not in given]
            message["headers"] = [*message["headers"], *extra, (b"x-request-id", self._instance.encode())]
        await self._send(message)


async def serve(app: FastAPI, settings: ServiceSettings, stop: asyncio.Event) -> None:
    """Serve `app` in this event loop until `stop` is set, then let requests end for five seconds.

    Raises Unavailable when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.http_host, settings.http_port))
    except OSError as error:
        listener.close()
        address = f"{settings.http_host}:{settings.http_port}"
        raise Unavailable(f"cannot listen on {address}: {error.strerror}") from error
    config = uvicorn.Config(
        app,
        http=BoundedHead,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_keep_alive=30,
        limit_concurrency=1000,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # ours to handle
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
        await serving
        listener.close()
