"""Creates an instance's database with its roles, and brings its schema forward.

The local runner (or an operator's job) calls `prepare_database` as administrator; `qkit.service.run` calls
`migrate` as owner at every start. Migrations are plain SQL files `NNN_name.sql`, applied once, in order, each
in one transaction; a file that was applied may not change, and nothing is ever rolled back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from qkit.database import translate
from qmodel.errors import Conflict, Invalid

ROLES = ("owner", "api", "worker")
_LOCK_ID = 0x62656C6C  # 'bell': one migration at a time per database
_FILE = re.compile(r"^(\d{3})_([a-z0-9_]+)\.sql$")
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,50}$")


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file. `{api}`, `{worker}` and `{owner}` in it stand for this database's roles."""

    series: str
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class RoleUrls:
    """Connection strings of one database, one per role. They hold passwords."""

    owner: str
    api: str
    worker: str

    def __repr__(self) -> str:
        return "RoleUrls(...)"


def read_migrations(folder: Traversable, series: str) -> list[Migration]:
    """The migrations in `folder`, by number. Raises Invalid for a strange name or a number used twice."""
    found: dict[int, Migration] = {}
    for entry in folder.iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _FILE.match(entry.name)
        if match is None:
            raise Invalid("a migration is named NNN_name.sql", where=entry.name)
        number = int(match[1])
        if number in found:
            raise Invalid(f"two migrations have the number {match[1]}", where=entry.name)
        found[number] = Migration(series, number, match[2], entry.read_text(encoding="utf-8"))
    return [found[number] for number in sorted(found)]


async def migrate(owner_url: str, *, own: Traversable | None = None) -> None:
    """Apply what is missing of qkit's own migrations and then of the service's folder `own`.

    Concurrent callers wait for each other. Raises Conflict when an applied file changed or a new one has a
    number below an applied one; Unavailable when the database cannot be reached.
    """
    plan = read_migrations(files("qkit") / "sql", "kit")
    if own is not None:
        plan += read_migrations(own, "service")
    try:
        async with await psycopg.AsyncConnection.connect(
            owner_url, autocommit=True, connect_timeout=5, options="-c lock_timeout=60000"
        ) as conn:
            await conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK_ID,))
            await _apply(conn, plan)
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError):
            raise translate(error) from error
        raise


async def _apply(conn: psycopg.AsyncConnection, plan: list[Migration]) -> None:
    await conn.execute("CREATE SCHEMA IF NOT EXISTS kit")
    await conn.execute(
        "CREATE TABLE IF NOT EXISTS kit.migration (series text, number integer, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),"
        " PRIMARY KEY (series, number))"
    )
    roles = await _role_names(conn)
    cursor = await conn.execute("SELECT series, number, checksum FROM kit.migration")
    applied: dict[tuple[str, int], str] = {(row[0], row[1]): row[2] for row in await cursor.fetchall()}
    for migration in plan:
        where = f"{migration.series}/{migration.number:03d}_{migration.name}.sql"
        known = applied.get((migration.series, migration.number))
        if known == migration.checksum:
            continue
        if known is not None:
            raise Conflict("a migration that was applied has changed since", where=where)
        newest = max((number for series, number in applied if series == migration.series), default=-1)
        if migration.number < newest:
            raise Conflict(f"number {newest:03d} is applied already: give it a higher one", where=where)
        async with conn.transaction():
            await conn.execute(_with_roles(migration.text, roles).encode())
            await conn.execute(
                "INSERT INTO kit.migration (series, number, name, checksum) VALUES (%s, %s, %s, %s)",
                (migration.series, migration.number, migration.name, migration.checksum),
            )


async def _role_names(conn: psycopg.AsyncConnection) -> dict[str, str]:
    row = await (await conn.execute("SELECT current_database()")).fetchone()
    assert row is not None
    return {role: f"{row[0]}_{role}" for role in ROLES}


def _with_roles(text: str, roles: Mapping[str, str]) -> str:
    for role, name in roles.items():
        text = text.replace("{" + role + "}", sql.Identifier(name).as_string())
    return text


async def prepare_database(admin_url: str, name: str, passwords: Mapping[str, str]) -> RoleUrls:
    """Create database `name` and its roles `<name>_owner`, `_api`, `_worker`; again, set their passwords.

    `passwords` has the keys owner, api and worker. None of the roles is superuser or escapes row-level
    security; others may not connect. Needs an administrator. Idempotent.
    """
    if _NAME.match(name) is None:
        raise Invalid("a database name has lower-case letters, digits and underscores", where=name)
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True, connect_timeout=5) as conn:
        for role in ROLES:
            await _ensure_role(conn, f"{name}_{role}", passwords[role])
        database, owner = sql.Identifier(name), sql.Identifier(f"{name}_owner")
        found = await conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if await found.fetchone() is None:
            with suppress(psycopg.errors.DuplicateDatabase):  # somebody else was faster
                await conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
        await conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        await conn.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
                database, sql.Identifier(f"{name}_api"), sql.Identifier(f"{name}_worker")
            )
        )
    return RoleUrls(
        *(
            make_conninfo(admin_url, dbname=name, user=f"{name}_{role}", password=passwords[role])
            for role in ROLES
        )
    )


async def _ensure_role(conn: psycopg.AsyncConnection, role: str, password: str) -> None:
    """The password is hashed here, so that no server log can hold it."""
    hashed = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    identifier = sql.Identifier(role)
    found = await conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    if await found.fetchone() is None:
        with suppress(psycopg.errors.DuplicateObject):  # somebody else was faster
            await conn.execute(sql.SQL("CREATE ROLE {}").format(identifier))
    await conn.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
        ).format(identifier, sql.Literal(hashed))
    )
