"""The one main of every service: settings in, a running process out, SIGTERM drains it.

A service's `app` gives `run` a function that builds its parts from a `Kit`; this module opens what the kit
holds, starts everything, and stops it in the opposite order. It knows no domain word.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import Generic, TypeVar

import structlog
import uvloop
from fastapi import APIRouter

from qkit import telemetry
from qkit.auth import Verifier
from qkit.bus import Bus
from qkit.cache import Cache
from qkit.database import Database
from qkit.events import Consumer, Handlers, Relay
from qkit.events.outbox import prune
from qkit.http import Health, make_app, serve
from qkit.lease import Lease
from qkit.migrations import migrate
from qkit.reconcile import Act, Loop
from qkit.settings import ServiceSettings
from qkit.tasks import end
from qkit.telemetry import Metrics
from qkit.wakeups import Wakeups
from qmodel.clock import DomainClock
from qmodel.errors import BellweaveError, Unavailable

S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")

_START_PATIENCE_S = 120.0
_PRUNE_EVERY_S = 3600.0


@dataclass(frozen=True)
class Kit(Generic[S]):
    """What a service builds its parts from. `db_api` and `db_worker` are pools in those roles."""

    settings: S
    clock: DomainClock
    db_api: Database
    db_worker: Database
    bus: Bus
    lease: Lease
    wakeups: Wakeups
    cache: Cache
    metrics: Metrics
    verifier: Verifier

    def loop(self, name: str, act: Act, *, concurrency: int = 8) -> Loop:
        return Loop(
            self.db_worker, self.lease, self.wakeups, name, act, concurrency=concurrency, metrics=self.metrics
        )

    def consumer(self, source: str, handlers: Handlers) -> Consumer:
        return Consumer(self.db_worker, self.bus, source, handlers)


@dataclass(frozen=True)
class Service:
    """A service's parts. `background` are endless jobs: one that ends or fails stops the process, and the
    supervisor starts it again. `on_stop` runs after they were cancelled."""

    title: str
    routers: Sequence[APIRouter] = ()
    loops: Sequence[Loop] = ()
    consumers: Sequence[Consumer] = ()
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    on_stop: Sequence[Callable[[], Awaitable[None]]] = ()


Build = Callable[[Kit[S]], Awaitable[Service]]


def run(settings: S, build: Build[S], *, migrations: Traversable | None) -> None:
    """Run the service until SIGTERM or SIGINT. Exits with an error when a part of it dies."""
    telemetry.set_up(settings.name, settings.log_level)
    uvloop.run(_main(settings, build, migrations))


async def _main(settings: S, build: Build[S], migrations: Traversable | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.create_task(_run(settings, build, migrations, stop))
    await starting


async def _run(settings: S, build: Build[S], migrations: Traversable | None, stop: asyncio.Event) -> None:
    log = structlog.get_logger("qkit.service")
    async with AsyncExitStack() as stack:
        await _patiently(lambda: migrate(settings.database_url.get_secret_value(), own=migrations), stop)
        kit = await open_kit(settings, stack, stop)
        relay = Relay(kit.db_worker, kit.bus, kit.wakeups)
        relay.serve_replays()
        service = await build(kit)
        for last in reversed(service.on_stop):
            stack.push_async_callback(last)
        app = make_app(
            settings,
            title=service.title,
            verifier=kit.verifier,
            routers=service.routers,
            health=Health({"database": kit.db_worker.ping, "bus": _bus_check(kit.bus), **service.checks}),
            metrics=kit.metrics,
        )
        jobs = {
            "lease": kit.lease.run,
            "wakeups": kit.wakeups.run,
            "relay": relay.run,
            "pruning": lambda: _prune(kit),
            **{f"loop {one.name}": one.run for one in service.loops},
            **{f"consumer {one.source}": one.run for one in service.consumers},
            **{f"job {number}": job for number, job in enumerate(service.background)},
        }
        await kit.bus.start()
        log.info("started", title=service.title)
        failed = await _until_stopped(jobs, lambda: serve(app, settings, stop), kit.bus, stop)
        log.info("stopping", because=failed or "asked to")
    if failed is not None:
        raise SystemExit(f"{settings.name}: {failed}")


async def open_kit(settings: S, stack: AsyncExitStack, stop: asyncio.Event) -> Kit[S]:
    """Open the pools, the bus and the lease, waiting for servers that are not up yet; `stack` closes them."""
    metrics = Metrics()
    worker_url = settings.database_worker_url.get_secret_value()

    async def pool(url: str, role: str) -> Database:
        name = f"{settings.name} {role}"
        return await Database.open(url, max_size=settings.database_pool_size, name=name)

    db_api = await _patiently(lambda: pool(settings.database_api_url.get_secret_value(), "api"), stop)
    stack.push_async_callback(db_api.close)
    db_worker = await _patiently(lambda: pool(worker_url, "worker"), stop)
    stack.push_async_callback(db_worker.close)
    bus = await _patiently(lambda: Bus.connect(settings, metrics), stop)
    stack.push_async_callback(bus.close)
    holder = f"{settings.name}/{settings.replica}"
    lease = await Lease.acquire(db_worker, holder, ttl_s=settings.lease_ttl_s)
    stack.push_async_callback(_quietly, lease.release)
    redis_url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    cache = Cache(redis_url, settings.name)
    stack.push_async_callback(cache.close)
    verifier = Verifier(settings.oidc_issuer, settings.oidc_audience)
    stack.push_async_callback(verifier.close)
    return Kit(
        settings, settings.clock, db_api, db_worker, bus, lease, Wakeups(worker_url), cache, metrics, verifier
    )


async def _patiently(attempt: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
    """Services start in any order: wait for what is not there yet, up to two minutes."""
    log = structlog.get_logger("qkit.service")
    deadline_s = asyncio.get_running_loop().time() + _START_PATIENCE_S
    pause_s = 0.1
    while True:
        try:
            return await attempt()
        except Unavailable as error:
            if stop.is_set() or asyncio.get_running_loop().time() > deadline_s:
                raise
            log.info("waiting", detail=error.detail)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)


async def _until_stopped(
    jobs: Mapping[str, Callable[[], Awaitable[None]]],
    door: Callable[[], Awaitable[None]],
    bus: Bus,
    stop: asyncio.Event,
) -> str | None:
    """Run everything until `stop` is set or a job ends; returns which job failed, and how."""
    tasks = {asyncio.ensure_future(job()): name for name, job in jobs.items()}
    serving = asyncio.ensure_future(door())
    tasks[serving] = "http"
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    failed = None
    if not stop.is_set():
        first = next(iter(done))
        error = None if first.cancelled() else first.exception()
        failed = f"{tasks[first]} ended: {error!r}"
        structlog.get_logger("qkit.service").error("part-ended", part=tasks[first], exc_info=error)
    stop.set()
    await bus.stop_serving()
    await asyncio.gather(serving, return_exceptions=True)
    await end(tasks)
    return failed


def _bus_check(bus: Bus) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        bus.check()

    return check


async def _prune(kit: Kit[S]) -> None:
    """Forget old published events and kept answers, now and then."""
    log = structlog.get_logger("qkit.service")
    keep_s = kit.settings.event_keep_days * 86400.0
    while True:
        try:
            async with kit.db_worker.transaction() as conn:
                await prune(conn, kit.settings.event_keep_days)
                for table in ("kit.request_log", "kit.idempotency"):
                    await conn.execute(
                        f"DELETE FROM {table} WHERE answered_at < now() - make_interval(secs => %s)",  # noqa: S608
                        (keep_s,),
                    )
        except BellweaveError as error:
            log.warning("not-pruned", detail=error.detail)
        await asyncio.sleep(_PRUNE_EVERY_S)


async def _quietly(work: Callable[[], Awaitable[None]]) -> None:
    """At the end of a process: what cannot be done any more does not matter."""
    try:
        await work()
    except BellweaveError as error:
        structlog.get_logger("qkit.service").info("not-released", detail=error.detail)
