"""A database of an EMS on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from bellweave_local.servers import PostgresServer
from qkit.migrations import ROLES, RoleUrls, prepare_database


@pytest.fixture
def urls(postgres_server: PostgresServer) -> Iterator[RoleUrls]:
    name = f"ems_{secrets.token_hex(5)}"
    passwords = {role: secrets.token_hex(8) for role in ROLES}
    yield asyncio.run(prepare_database(postgres_server.url(), name, passwords))
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in ROLES:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_{role}")))
