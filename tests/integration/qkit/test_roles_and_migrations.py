"""A database's roles and schema: made again without harm, kept from each other, and tenants from tenants."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest

from qkit.database import Database
from qkit.migrations import ROLES, RoleUrls, migrate, prepare_database
from qmodel.errors import Conflict, Invalid

TABLE = """
CREATE TABLE secret (tenant text NOT NULL, word text NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON secret TO {api}, {worker};
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON secret TO {api} USING (tenant = kit.tenant()) WITH CHECK (tenant = kit.tenant());
CREATE POLICY worker ON secret TO {worker} USING (true) WITH CHECK (true);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def write(**migrations: str) -> Path:
        for name, text in migrations.items():
            (tmp_path / f"{name.removeprefix('m')}.sql").write_text(text)
        return tmp_path

    return write


def applied(urls: RoleUrls) -> list[tuple[Any, ...]]:
    with psycopg.connect(urls.owner) as conn:
        return conn.execute("SELECT series, number FROM kit.migration ORDER BY applied_at, number").fetchall()


async def test_migrations_are_applied_once_even_by_several_at_once(
    urls: RoleUrls, folder: Callable[..., Path]
) -> None:
    own = folder(m001_first="CREATE TABLE one (id int)", m002_second="CREATE TABLE two (id int)")
    await asyncio.gather(*(migrate(urls.owner, own=own) for _ in range(4)))
    before = applied(urls)
    await migrate(urls.owner, own=own)
    assert applied(urls) == before
    assert [row for row in before if row[0] == "service"] == [("service", 1), ("service", 2)]
    ours = [entry for entry in (files("qkit") / "sql").iterdir() if entry.name.endswith(".sql")]
    assert len([row for row in before if row[0] == "kit"]) == len(ours)


async def test_a_new_migration_is_applied_behind_the_old_ones(
    urls: RoleUrls, folder: Callable[..., Path]
) -> None:
    await migrate(urls.owner, own=folder(m001_first="CREATE TABLE one (id int)"))
    await migrate(urls.owner, own=folder(m002_second="ALTER TABLE one ADD COLUMN name text"))
    assert ("service", 2) in applied(urls)


async def test_a_changed_migration_is_refused_before_anything_else_happens(
    urls: RoleUrls, folder: Callable[..., Path]
) -> None:
    await migrate(urls.owner, own=folder(m001_first="CREATE TABLE one (id int)"))
    own = folder(m001_first="CREATE TABLE one (id bigint)", m002_second="CREATE TABLE two (id int)")
    with pytest.raises(Conflict) as refused:
        await migrate(urls.owner, own=own)
    assert refused.value.where == "service/001_first.sql"
    assert ("service", 2) not in applied(urls)


async def test_a_number_below_an_applied_one_is_refused(urls: RoleUrls, folder: Callable[..., Path]) -> None:
    await migrate(urls.owner, own=folder(m005_fifth="CREATE TABLE five (id int)"))
    with pytest.raises(Conflict, match="higher"):
        await migrate(urls.owner, own=folder(m003_third="CREATE TABLE three (id int)"))


async def test_a_migration_that_fails_leaves_nothing_and_can_be_corrected(
    urls: RoleUrls, folder: Callable[..., Path]
) -> None:
    with pytest.raises(psycopg.Error):
        await migrate(urls.owner, own=folder(m001_first="CREATE TABLE one (id int); SELECT nonsense"))
    assert not [row for row in applied(urls) if row[0] == "service"]
    await migrate(urls.owner, own=folder(m001_first="CREATE TABLE one (id int)"))
    assert ("service", 1) in applied(urls)


async def test_a_database_is_prepared_again_with_new_passwords(urls: RoleUrls, postgres_server: Any) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(urls.owner)["dbname"])
    await migrate(urls.owner)
    fresh = {role: f"it's-{secrets.token_hex(8)}" for role in ROLES}
    again = await prepare_database(postgres_server.url(), name, fresh)
    for url in (again.owner, again.api, again.worker):
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT current_database()").fetchone() == (name,)
    assert applied(again), "what was there stays"


@pytest.mark.parametrize("name", ["", "Sms", "sms-main", "1sms", 'sms"; DROP', "x" * 60])
async def test_a_strange_database_name_is_refused(postgres_server: Any, name: str) -> None:
    with pytest.raises(Invalid):
        await prepare_database(postgres_server.url(), name, dict.fromkeys(ROLES, "x"))


async def test_no_role_is_mighty_and_strangers_stay_out(urls: RoleUrls, postgres_server: Any) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(urls.owner)["dbname"])
    with psycopg.connect(postgres_server.url()) as admin:
        mighty = admin.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE %s AND"
            " (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
            (f"{name}%",),
        ).fetchall()
        strangers = admin.execute("SELECT has_database_privilege('pg_monitor', %s, 'CONNECT')", (name,))
        assert (mighty, strangers.fetchone()) == ([], (False,))


async def rows(db: Database, tenant: str | None) -> list[str]:
    async with db.transaction(tenant=tenant) as conn:
        found = await (await conn.execute("SELECT word FROM secret ORDER BY word")).fetchall()
    return [row["word"] for row in found]


async def test_a_tenant_can_neither_see_nor_touch_nor_forge_what_is_anothers(
    urls: RoleUrls, folder: Callable[..., Path]
) -> None:
    await migrate(urls.owner, own=folder(m001_secret=TABLE))
    api, worker = await Database.open(urls.api), await Database.open(urls.worker)
    for tenant in ("acme", "globex"):
        async with api.transaction(tenant=tenant) as conn:
            await conn.execute("INSERT INTO secret VALUES (%s, %s)", (tenant, f"{tenant}'s"))
    assert await rows(api, "acme") == ["acme's"]
    assert await rows(api, "nobody") == await rows(api, None) == await rows(api, "") == []
    assert await rows(worker, None) == ["acme's", "globex's"]
    async with api.transaction(tenant="acme") as conn:
        for statement in ("UPDATE secret SET word = 'x' WHERE tenant = 'globex'", "DELETE FROM secret"):
            await conn.execute(statement)
    assert await rows(worker, None) == ["globex's"]
    with psycopg.connect(urls.api, autocommit=True) as conn:
        conn.execute("SET bellweave.tenant = 'acme'")
        for statement in ("INSERT INTO secret VALUES ('globex', 'forged')", "SET ROLE pg_read_all_data"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
    with psycopg.connect(urls.owner) as owner:
        assert owner.execute("SELECT * FROM secret").fetchall() == [], "nor does the owner see rows"
    await api.close()
    await worker.close()
