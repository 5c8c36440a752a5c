"""A BMS on real PostgreSQL, its doors behind a test issuer, and an SMS's side of the bus."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg import sql

from bellweave_local.servers import NatsServer, PostgresServer
from bms.app import build
from bms.settings import BmsSettings
from bms.store import SqlReads, Store
from qkit.auth import Verifier
from qkit.bus import Bus
from qkit.database import Database
from qkit.events import Relay, emit
from qkit.http import Health, make_app
from qkit.migrations import RoleUrls, migrate, prepare_database
from qkit.service import Kit, Service, open_kit
from qkit.streams import ensure_streams
from qkit.wakeups import Wakeups
from qmodel.contracts import Event

ISSUER = "https://issuer.test"
WIRING = {"sms.main": ["bms.main"]}
PLAN = {
    "name": "standard",
    "currency": "EUR",
    "prices": [{"unit": "key-bits", "price_per": "1000", "amount": "0.02"}],
    "monthly_fee": "10.00",
}


def new_database(server: PostgresServer) -> Iterator[RoleUrls]:
    """An empty database with its roles, all dropped afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    passwords = {role: secrets.token_hex(8) for role in ("owner", "api", "worker")}
    yield asyncio.run(prepare_database(server.url(), name, passwords))
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in passwords:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_{role}")))


@pytest.fixture
def urls(postgres_server: PostgresServer) -> Iterator[RoleUrls]:
    """The BMS's own database, empty."""
    yield from new_database(postgres_server)


@pytest.fixture
def sms_urls(postgres_server: PostgresServer) -> Iterator[RoleUrls]:
    yield from new_database(postgres_server)


@dataclass(frozen=True)
class Rows:
    """The BMS's schema in use: both pools, the store and the reads."""

    worker: Database
    api: Database
    store: Store
    reads: SqlReads


@pytest.fixture
async def rows(urls: RoleUrls) -> AsyncIterator[Rows]:
    await migrate(urls.owner, own=files("bms") / "migrations")
    worker = await Database.open(urls.worker, max_size=8)
    api = await Database.open(urls.api)
    yield Rows(worker, api, Store(worker), SqlReads(api))
    await worker.close()
    await api.close()


class Issuer:
    """Signs tokens, and publishes its key to whoever verifies them."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def token(self, *roles: str, tenant: str | None = None, **claims: Any) -> dict[str, str]:
        """Headers of a caller with these roles."""
        said = {
            "iss": ISSUER,
            "aud": "bellweave",
            "sub": f"{tenant or 'staff'}-{'-'.join(roles)}",
            "roles": list(roles),
            "exp": time.time() + 60,
            **({"tenant": tenant} if tenant else {}),
            **claims,
        }
        signed = jwt.encode(said, self._key, algorithm="ES256", headers={"kid": "k1"})
        return {"Authorization": f"Bearer {signed}"}

    def verifier(self) -> Verifier:
        transport = httpx.MockTransport(self._publish)
        return Verifier(ISSUER, "bellweave", httpx.AsyncClient(transport=transport))

    def _publish(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return httpx.Response(200, json={"keys": [{**key, "kid": "k1", "alg": "ES256", "use": "sig"}]})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@dataclass
class Stack:
    """A whole BMS in this process, and the SMS beside it."""

    kit: Kit[BmsSettings]
    service: Service
    http: httpx.AsyncClient
    issuer: Issuer
    sms: Bus
    sms_db: Database

    async def tell(self, *events: Event) -> None:
        """Have the SMS emit `events`, all in one transaction."""
        async with self.sms_db.transaction() as conn:
            await emit(conn, *events)

    async def sign_up(self, tenant: str = "acme", links: int = 10, key_rate_bps: int = 10_000) -> None:
        billing = self.issuer.token("billing")
        quota = {"links": links, "key_rate_bps": key_rate_bps}
        for path, body in (
            ("plans", PLAN),
            ("customers", {"tenant": tenant, "name": tenant.title()}),
            ("contracts", {"tenant": tenant, "plan": "standard", "quota": quota}),
        ):
            (await self.http.post(f"/{path}", json=body, headers=billing)).raise_for_status()

    async def usage(self, **asked: Any) -> list[dict[str, Any]]:
        answer = await self.http.get("/usage", params=asked, headers=self.issuer.token("billing"))
        return list(answer.json()["items"])

    async def until(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `look` says so; the test's time limit ends a wait in vain."""
        async with asyncio.timeout(30):
            while True:
                if await look():
                    return
                await asyncio.sleep(0.05)


@pytest.fixture
async def stack(
    urls: RoleUrls, sms_urls: RoleUrls, nats_server: NatsServer, issuer: Issuer
) -> AsyncIterator[Stack]:
    await migrate(urls.owner, own=files("bms") / "migrations")
    await migrate(sms_urls.owner)
    await ensure_streams(nats_server.url, "tests", "tests", WIRING)

    def settings(roles: RoleUrls, service: str) -> BmsSettings:
        return BmsSettings(
            service=service,
            database_url=roles.owner,
            database_api_url=roles.api,
            database_worker_url=roles.worker,
            nats_url=nats_server.url,
            nats_user="tests",
            nats_password="tests",
            oidc_issuer=ISSUER,
        )

    async with AsyncExitStack() as stacked:
        stop = asyncio.Event()
        kit = await open_kit(settings(urls, "bms"), stacked, stop)
        kit = replace(kit, verifier=issuer.verifier())
        stacked.push_async_callback(kit.verifier.close)
        service = await build(kit)
        sms = await Bus.connect(settings(sms_urls, "sms"))
        stacked.push_async_callback(sms.close)
        sms_db = await Database.open(sms_urls.worker)
        stacked.push_async_callback(sms_db.close)
        wakeups = Wakeups(sms_urls.worker)
        relay = Relay(sms_db, sms, wakeups)
        relay.serve_replays()
        await sms.start()
        await kit.bus.start()
        app = make_app(
            kit.settings,
            title=service.title,
            verifier=kit.verifier,
            routers=service.routers,
            health=Health(),
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = httpx.AsyncClient(transport=transport, base_url="http://bms/api/v1")
        stacked.push_async_callback(http.aclose)
        jobs = [relay.run(), wakeups.run(), kit.wakeups.run(), kit.lease.run()]
        jobs += [loop.run() for loop in service.loops]
        jobs += [consumer.run() for consumer in service.consumers]
        tasks = [asyncio.create_task(job) for job in jobs]
        yield Stack(kit, service, http, issuer, sms, sms_db)
        await stop_all(tasks)


async def stop_all(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: on Python 3.11 `asyncio.wait_for` may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
