"""The pool: limits, retries, tenants that do not leak, and errors that say what they mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from qkit.database import Connection, Database
from qmodel.errors import BellweaveError, Conflict, Internal, Invalid, TimedOut, Unavailable


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Database]:
    made = await Database.open(database_url, max_size=2)
    async with made.transaction() as conn:
        await conn.execute("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL CHECK (n >= 0), word text)")
        await conn.execute("CREATE TABLE child (t int REFERENCES t)")
        await conn.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
    yield made
    await made.close()


async def number(pool: Database, key: int = 1) -> int:
    async with pool.transaction() as conn:
        row = await (await conn.execute("SELECT n FROM t WHERE id = %s", (key,))).fetchone()
    assert row is not None
    return int(row["n"])


async def test_an_error_rolls_everything_back(pool: Database) -> None:
    async def work() -> None:
        async with pool.transaction() as conn:
            await conn.execute("UPDATE t SET n = 7")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await work()
    assert await number(pool) == 0


@pytest.mark.parametrize(
    ("statement", "kind", "constraint"),
    [
        ("INSERT INTO t VALUES (1, 0)", Conflict, "t_pkey"),
        ("UPDATE t SET n = -1", Conflict, "t_n_check"),
        ("INSERT INTO child VALUES (99)", Conflict, "child_t_fkey"),
        ("SELECT 1/0", Invalid, None),
        ("SELECT 'x'::timestamptz", Invalid, None),
        ("SELEC", Internal, None),
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(30)", TimedOut, None),
    ],
)
async def test_a_driver_error_says_what_it_means(
    pool: Database, statement: str, kind: type[BellweaveError], constraint: str | None
) -> None:
    with pytest.raises(kind) as raised:
        async with pool.transaction() as conn:
            await conn.execute(statement)
    assert type(raised.value) is kind
    assert raised.value.facts.get("constraint") == constraint
    assert "SELECT" not in raised.value.detail
    assert await number(pool) == 0, "the pool still works"


async def test_a_text_that_cannot_be_stored_is_invalid(pool: Database) -> None:
    with pytest.raises(Invalid):
        async with pool.transaction() as conn:
            await conn.execute("UPDATE t SET word = %s", ("a\x00b",))
    with pytest.raises(Invalid):
        async with pool.transaction(tenant="a\x00b"):
            pass


async def test_a_transaction_over_its_limit_is_given_up_and_undone(pool: Database) -> None:
    async def work() -> None:
        async with pool.transaction(limit_s=0.1) as conn:
            await conn.execute("UPDATE t SET n = 7")
            await conn.execute("SELECT pg_sleep(30)")

    with pytest.raises(TimedOut):
        await work()
    with pytest.raises(TimedOut):
        await pool.run(lambda conn: conn.execute("SELECT pg_sleep(30)"), limit_s=0.1)
    assert await number(pool) == 0


async def test_a_tenant_ends_with_its_transaction(pool: Database) -> None:
    asked = "SELECT current_setting('bellweave.tenant', true) AS tenant"
    for _ in range(4):  # more than the pool has connections
        async with pool.transaction(tenant="it's me") as conn:
            row = await (await conn.execute(asked)).fetchone()
            assert row == {"tenant": "it's me"}
        async with pool.transaction() as conn:
            row = await (await conn.execute(asked)).fetchone()
            assert row is not None
            assert not row["tenant"]


async def test_lost_updates_are_repeated_until_none_is_lost(pool: Database) -> None:
    meet = asyncio.Barrier(2)
    tries = 0

    async def add_one(conn: Connection) -> None:
        nonlocal tries
        tries += 1
        row = await (await conn.execute("SELECT n FROM t WHERE id = 1")).fetchone()
        assert row is not None
        if tries <= 2:  # both have read before either writes
            await meet.wait()
        await conn.execute("UPDATE t SET n = %s WHERE id = 1", (row["n"] + 1,))

    await asyncio.gather(*(pool.run(add_one, serializable=True) for _ in range(2)))
    assert (await number(pool), tries) == (2, 3)


async def test_a_deadlock_is_repeated(pool: Database) -> None:
    meet = asyncio.Barrier(2)
    tries = 0

    async def both(conn: Connection, first: int, second: int) -> None:
        nonlocal tries
        tries += 1
        await conn.execute("SET LOCAL deadlock_timeout = '20ms'")
        await conn.execute("UPDATE t SET n = n + 1 WHERE id = %s", (first,))
        if tries <= 2:
            await meet.wait()
        await conn.execute("UPDATE t SET n = n + 1 WHERE id = %s", (second,))

    await asyncio.gather(
        pool.run(lambda conn: both(conn, 1, 2)),
        pool.run(lambda conn: both(conn, 2, 1)),
    )
    assert (await number(pool, 1), await number(pool, 2), tries) == (2, 2, 3)


async def test_connections_that_died_are_replaced(pool: Database, database_url: str) -> None:
    async with pool.transaction(), pool.transaction():
        pass
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await number(pool) == 0


async def test_a_connection_that_dies_in_a_transaction_is_unavailable(
    pool: Database, database_url: str
) -> None:
    async def work() -> None:
        async with pool.transaction() as conn:
            await conn.execute("UPDATE t SET n = 7")
            with psycopg.connect(database_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
            await conn.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await work()
    assert await number(pool) == 0


async def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await Database.open("postgresql://nobody@127.0.0.1:1/x", wait_s=0.2)
