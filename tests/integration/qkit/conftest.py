"""Two services on a real bus and database: `ems.north` tells, `nms.north` listens."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from bellweave_local.servers import NatsServer, NatsUser, PostgresServer, temporary
from qkit.bus import Bus
from qkit.database import Database
from qkit.migrations import ROLES, RoleUrls, migrate, prepare_database
from qkit.settings import ServiceSettings
from qkit.streams import ensure_streams
from qkit.wiring import nats_permissions

WIRING = {
    "sms.main": ("bms.main", "nms.north"),
    "nms.north": ("ems.north",),
    "ems.north": (),
    "bms.main": (),
}


@pytest.fixture
def urls(postgres_server: PostgresServer) -> Iterator[RoleUrls]:
    """A database with its roles, dropped afterwards."""
    import asyncio

    name = f"kit_{secrets.token_hex(5)}"
    passwords = {role: secrets.token_hex(8) for role in ROLES}
    yield asyncio.run(prepare_database(postgres_server.url(), name, passwords))
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in ROLES:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_{role}")))


@pytest.fixture
async def db(urls: RoleUrls) -> AsyncIterator[Database]:
    """The worker's pool of a migrated database."""
    await migrate(urls.owner)
    pool = await Database.open(urls.worker, max_size=8)
    yield pool
    await pool.close()


@pytest.fixture
def wired_nats() -> Iterator[NatsServer]:
    """A bus whose users may do what `nats_permissions` says; passwords are the names."""
    users = [NatsUser("admin", "admin", publish=(">",), subscribe=(">",))]
    for name in WIRING:
        rights = nats_permissions(WIRING, name)
        users.append(NatsUser(name, name, rights.publish, rights.subscribe, rights.allow_responses))
    with temporary(NatsServer, users=users) as server:
        yield server


@dataclass
class Town:
    """Opens buses of instances, and closes them in the end."""

    url: str
    stack: AsyncExitStack

    async def bus(self, name: str, password: str | None = None) -> Bus:
        service, _, instance = name.partition(".")
        nothing = SecretStr("postgresql://nowhere")
        settings = ServiceSettings(
            service=service,
            instance=instance,
            database_url=nothing,
            database_api_url=nothing,
            database_worker_url=nothing,
            nats_url=self.url,
            nats_user=name,
            nats_password=SecretStr(password or name),
            oidc_issuer="https://nowhere.test",
        )
        bus = await Bus.connect(settings)
        self.stack.push_async_callback(bus.close)
        return bus


@pytest.fixture
async def town(wired_nats: NatsServer) -> AsyncIterator[Town]:
    await ensure_streams(wired_nats.url, "admin", "admin", WIRING)
    async with AsyncExitStack() as stack:
        yield Town(wired_nats.url, stack)
