"""Real servers for tests: each test process starts its own, on its own sockets and ports."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from bellweave_local.servers import NatsServer, NatsUser, PostgresServer, RedisServer, temporary


class OneStack(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """End-to-end tests share one stack, so one worker runs them all; the others go wherever there is room."""

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneStack:
    """Marks with `xdist_group` are not heeded by every pair of pytest and xdist; this is."""
    return OneStack(config, log)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with temporary(PostgresServer, durable=False) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Administrator's URL of an empty database, dropped afterwards whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        yield postgres_server.url(name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """User and password are `tests`; that user may do everything."""
    everything = NatsUser("tests", "tests", publish=(">",), subscribe=(">",))
    with temporary(NatsServer, users=[everything]) as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with temporary(RedisServer) as server:
        yield server
