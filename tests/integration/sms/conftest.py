"""An SMS on a real PostgreSQL and a real NATS, with NMSs and a BMS that answer as a test tells them."""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from psycopg import sql
from tests.integration.sms.neighbours import FakeBms, FakeNms

from bellweave_local.servers import NatsServer, PostgresServer
from qkit.auth import Verifier
from qkit.bus import Bus
from qkit.database import Database
from qkit.events import Relay
from qkit.http import Health, make_app
from qkit.migrations import RoleUrls, migrate, prepare_database
from qkit.service import Kit, Service, open_kit
from qkit.settings import ServiceSettings
from qkit.streams import ensure_streams
from qkit.tasks import end
from sms.app import build
from sms.settings import SmsSettings

WIRING = {"sms.main": ["bms.main", "nms.north", "nms.south"]}
ISSUER = "https://issuer.test"
MESH: dict[str, Any] = {
    "kind": "full_mesh_vpn",
    "name": "Acme mesh",
    "sites": ["Alice", "Bob", "Charlie", "Dave"],
    "security_level": "top_secret",
    "max_latency_s": 1.0,
    "rate_bytes_per_s": 1000,
}


class Issuer:
    """A small OIDC issuer behind a transport, and the tokens that it signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def verifier(self) -> Verifier:
        return Verifier(ISSUER, "bellweave", httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks.json"})
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return httpx.Response(200, json={"keys": [{**jwk, "kid": "1", "alg": "ES256", "use": "sig"}]})

    def token(self, tenant: str | None, *roles: str, **claims: Any) -> str:
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": "bellweave",
            "sub": f"{tenant}-user",
            "tenant": tenant,
            "roles": list(roles),
            "iat": now,
            "exp": now + 600,
        }
        return jwt.encode(said | claims, self._key, algorithm="ES256", headers={"kid": "1"})


@dataclass
class Process:
    """One life of the SMS process: everything that `qkit.service` would run but the listening socket."""

    kit: Kit[SmsSettings]
    service: Service
    app: FastAPI
    stack: AsyncExitStack
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def kill(self) -> None:
        """End as if by SIGKILL: what is under way is not finished."""
        await end(self.tasks)
        self.tasks.clear()  # their tracebacks hold connections whose opening was cancelled
        await self.kit.bus.stop_serving(0.0)
        for last in self.service.on_stop:
            await last()
        await self.stack.aclose()


class Rig:
    """The SMS under test and its neighbours. `admin` is a pool that sees every row, to look with."""

    def __init__(
        self, urls: RoleUrls, nats_url: str, admin: Database, nmss: dict[str, FakeNms], bms: FakeBms
    ) -> None:
        self.urls = urls
        self.nats_url = nats_url
        self.admin = admin
        self.north, self.south = nmss["north"], nmss["south"]
        self.bms = bms
        self.issuer = Issuer()
        self.process: Process | None = None

    async def start(self, **settings: Any) -> None:
        asked: dict[str, Any] = {
            "service": "sms",
            "nms_instances": "north,south",
            "database_url": self.urls.owner,
            "database_api_url": self.urls.api,
            "database_worker_url": self.urls.worker,
            "nats_url": self.nats_url,
            "nats_user": "tests",
            "nats_password": "tests",
            "oidc_issuer": ISSUER,
            "clock_scale": 60.0,
            "clock_origin_s": time.time(),
        }
        config = SmsSettings(**(asked | settings))
        stack = AsyncExitStack()
        kit = await open_kit(config, stack, asyncio.Event())
        relay = Relay(kit.db_worker, kit.bus, kit.wakeups)
        relay.serve_replays()
        service = await build(kit)
        verifier = self.issuer.verifier()
        stack.push_async_callback(verifier.close)
        app = make_app(
            config, title=service.title, verifier=verifier, routers=service.routers, health=Health({})
        )
        await kit.bus.start()
        self.process = Process(kit, service, app, stack)
        endless = [
            kit.lease.run,
            kit.wakeups.run,
            relay.run,
            *(loop.run for loop in service.loops),
            *(consumer.run for consumer in service.consumers),
            *service.background,
        ]
        self.process.tasks = [asyncio.ensure_future(run()) for run in endless]

    async def restart(self) -> None:
        assert self.process is not None
        await self.process.kill()
        await self.start()

    def client(self, tenant: str | None = "acme", *roles: str, token: str | None = None) -> httpx.AsyncClient:
        """The public API under the token of a user of `tenant`."""
        assert self.process is not None
        bearer = token or self.issuer.token(tenant, *(roles or ("tenant",)))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.process.app),
            base_url="http://sms.test/api/v1",
            headers={"Authorization": f"Bearer {bearer}"},
            timeout=30.0,
        )

    async def order(self, **changes: Any) -> str:
        async with self.client() as client:
            answer = await client.post("/orders", json=MESH | changes)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        async with self.admin.transaction() as conn:
            return await (await conn.execute(statement.encode(), values)).fetchall()

    async def told(self, topic: str) -> list[dict[str, Any]]:
        found = await self.rows("SELECT data FROM kit.outbox WHERE topic = %s ORDER BY id", topic)
        return [row["data"] for row in found]

    async def until(self, holds: Callable[[], Awaitable[bool]], limit_s: float = 20.0) -> None:
        """Wait until `holds`; the limit only bounds a test that fails."""
        async with asyncio.timeout(limit_s):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.02)

    async def until_order(self, order_id: str, *states: str) -> dict[str, Any]:
        async def reached() -> bool:
            rows = await self.rows("SELECT state FROM orders WHERE order_id = %s", order_id)
            return bool(rows) and rows[0]["state"] in states

        try:
            await self.until(reached)
        except TimeoutError:
            work = await self.rows("SELECT * FROM kit.work")
            row = await self.rows("SELECT * FROM orders WHERE order_id = %s", order_id)
            raise AssertionError(f"{row} {work}") from None
        return (await self.rows("SELECT * FROM orders WHERE order_id = %s", order_id))[0]

    async def until_service(self, service_id: str, *states: str) -> None:
        async def reached() -> bool:
            rows = await self.rows("SELECT state FROM services WHERE service_id = %s", service_id)
            return bool(rows) and rows[0]["state"] in states

        await self.until(reached)

    async def check_nothing_left(self) -> None:
        """No trace in the network, the quota, the claims, or anybody's rows but the order's own."""
        for nms in (self.north, self.south):
            assert not nms.committed
            assert not nms.held
        assert not self.bms.reserved
        for table in ("kit.commit_claim", "waiting"):
            assert await self.rows(f"SELECT * FROM {table}") == []


def _neighbour(name: str, nats_url: str) -> ServiceSettings:
    service, _, instance = name.partition(".")
    nowhere = "postgresql://nowhere"
    return ServiceSettings(
        service=service,
        instance=instance,
        database_url=nowhere,
        database_api_url=nowhere,
        database_worker_url=nowhere,
        nats_url=nats_url,
        nats_user="tests",
        nats_password="tests",
        oidc_issuer=ISSUER,
    )


@pytest.fixture
async def urls(postgres_server: PostgresServer) -> AsyncIterator[RoleUrls]:
    name = f"sms_{secrets.token_hex(6)}"
    passwords = {role: secrets.token_hex(8) for role in ("owner", "api", "worker")}
    made = await prepare_database(postgres_server.url(), name, passwords)
    await migrate(made.owner, own=files("sms") / "migrations")
    yield made
    gc.collect()  # such a connection is closed only now, and DROP would wait for it
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in passwords:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_{role}")))


@pytest.fixture
async def rig(urls: RoleUrls, nats_server: NatsServer) -> AsyncIterator[Rig]:
    await ensure_streams(nats_server.url, "tests", "tests", WIRING)
    async with AsyncExitStack() as stack:
        buses = {}
        for name in ("bms.main", "nms.north", "nms.south"):
            buses[name] = await Bus.connect(_neighbour(name, nats_server.url))
            stack.push_async_callback(buses[name].client.close)
        nmss = {
            "north": FakeNms(buses["nms.north"], ("Alice", "Bob")),
            "south": FakeNms(buses["nms.south"], ("Charlie", "Dave")),
        }
        bms = FakeBms(buses["bms.main"])
        admin = await Database.open(urls.worker)
        stack.push_async_callback(admin.close)
        for bus in buses.values():
            await bus.start()
            stack.push_async_callback(bus.stop_serving, 0.0)
        rig = Rig(urls, nats_server.url, admin, nmss, bms)
        await rig.start()
        try:
            yield rig
        finally:
            with suppress(Exception):
                assert rig.process is not None
                await rig.process.kill()
