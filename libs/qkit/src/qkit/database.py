"""One pool of connections to this instance's own database, in one role.

Stores and the rest of qkit use it. It opens transactions, sets the tenant for row-level security, limits how
long anything may take, and is the one place where driver errors become `qmodel.errors`. It never holds SQL.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from qmodel.errors import BellweaveError, Conflict, Internal, Invalid, TimedOut, Unavailable

Connection = psycopg.AsyncConnection[DictRow]
T = TypeVar("T")

_SESSION = (
    "-c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000"
    " -c timezone=UTC"
)
_RETRIES = 6
_CONTENTION = (pg.SerializationFailure, pg.DeadlockDetected)


def translate(error: Exception) -> BellweaveError:
    """What a driver error means to a caller. Constraint names are kept as a fact, SQL and values are not."""
    if isinstance(error, (pg.UniqueViolation, pg.ExclusionViolation)):
        return Conflict("it exists already", constraint=error.diag.constraint_name)
    if isinstance(error, pg.ForeignKeyViolation):
        return Conflict("it refers to something that is not there", constraint=error.diag.constraint_name)
    if isinstance(error, pg.CheckViolation):
        return Conflict("a rule of the stored data forbids it", constraint=error.diag.constraint_name)
    if isinstance(error, psycopg.DataError):
        return Invalid("a value cannot be stored")
    if isinstance(error, (pg.QueryCanceled, pg.LockNotAvailable, TimeoutError)):
        return TimedOut("the database did not answer in time", retry_after_s=1.0)
    if isinstance(error, _CONTENTION):
        return Unavailable("too much contention in the database", retry_after_s=0.5)
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):  # also PoolTimeout, PoolClosed
        return Unavailable("the database cannot be reached", retry_after_s=1.0)
    return Internal("the database refused a statement")


class Database:
    """A bounded pool. Rows are dicts. Open it with `open`, close it with `close`."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls, url: str, *, min_size: int = 1, max_size: int = 4, name: str = "qkit", wait_s: float = 10.0
    ) -> Database:
        """Connect with at most `max_size` connections. Raises Unavailable after `wait_s` seconds."""
        pool = AsyncConnectionPool(
            url,
            connection_class=Connection,
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,  # transactions are opened by `transaction`, in one round trip
                "options": _SESSION,
                "application_name": name,
                "connect_timeout": 5,
            },
            min_size=min_size,
            max_size=max_size,
            max_waiting=500,
            timeout=5.0,
            reconnect_timeout=30.0,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=wait_s)
        except PoolTimeout as error:
            await pool.close()
            raise Unavailable("the database cannot be reached", retry_after_s=1.0) from error
        return cls(pool)

    async def close(self) -> None:
        await self._pool.close(timeout=5.0)

    async def ping(self) -> None:
        """Raises Unavailable or TimedOut when the database does not answer within 2 seconds."""
        async with self.transaction(limit_s=2.0) as conn:
            await conn.execute("SELECT 1")

    @asynccontextmanager
    async def transaction(
        self, tenant: str | None = None, *, limit_s: float = 15.0, serializable: bool = False
    ) -> AsyncIterator[Connection]:
        """One transaction, committed at the end of the block and rolled back on any error.

        With `tenant`, row-level security sees that tenant, in this transaction only; without it policies on
        `kit.tenant()` show no rows. After `limit_s` seconds it is given up. Raises Conflict, Invalid,
        TimedOut, Unavailable or Internal in place of driver errors that the block did not catch.
        After Unavailable or TimedOut the commit is in doubt: callers repeat idempotently.
        """
        try:
            async with self._transaction(tenant, limit_s, serializable) as conn:
                yield conn
        except (psycopg.Error, TimeoutError) as error:
            raise translate(error) from error

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        tenant: str | None = None,
        limit_s: float = 15.0,
        serializable: bool = False,
    ) -> T:
        """`work` in one transaction, again from the start when it lost a race (40001, 40P01).

        `work` must have no effect outside the database. Raises as `transaction` does.
        """
        for attempt in range(_RETRIES):
            try:
                async with self._transaction(tenant, limit_s, serializable) as conn:
                    return await work(conn)
            except _CONTENTION as error:
                if attempt == _RETRIES - 1:
                    raise translate(error) from error
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter
            except (psycopg.Error, TimeoutError) as error:
                raise translate(error) from error
        raise Internal("unreachable")

    @asynccontextmanager
    async def _transaction(
        self, tenant: str | None, limit_s: float, serializable: bool
    ) -> AsyncIterator[Connection]:
        begin = _begin(tenant, serializable)
        async with asyncio.timeout(limit_s):
            conn = await self._begun(begin)
            try:
                yield conn
                await conn.commit()
            except BaseException:
                await _abandon(conn)
                raise
            finally:
                await self._pool.putconn(conn)

    async def _begun(self, begin: bytes) -> Connection:
        """A connection inside a new transaction. Pooled connections that died meanwhile are replaced: nothing
        has been done on them yet, so trying another is safe."""
        for spare in range(self._pool.max_size, -1, -1):
            conn = await self._taken()
            try:
                await conn.execute(begin)
            except BaseException as error:
                dead = isinstance(error, psycopg.OperationalError) and conn.closed
                await self._pool.putconn(conn)
                if not (dead and spare):
                    raise
            else:
                return conn
        raise psycopg.OperationalError("no live connection")

    async def _taken(self) -> Connection:
        """A connection from the pool. On Python 3.11 the pool's `wait_for` may swallow a cancellation that
        comes together with the connection: it is noticed here."""
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        conn = await self._pool.getconn()
        if task is not None and task.cancelling() > before:
            await self._pool.putconn(conn)
            raise asyncio.CancelledError
        return conn


def _begin(tenant: str | None, serializable: bool) -> bytes:
    """The opening statements, sent as one message. SET LOCAL ends with the transaction, so that a pooled
    connection never carries a tenant over."""
    level = sql.SQL("BEGIN ISOLATION LEVEL SERIALIZABLE" if serializable else "BEGIN")
    if tenant is None:
        return level.as_bytes(None)
    return sql.SQL("{}; SET LOCAL bellweave.tenant = {}").format(level, sql.Literal(tenant)).as_bytes(None)


async def _abandon(conn: Connection) -> None:
    """Roll back, or close a connection whose state is not known so that the pool drops it."""
    try:
        async with asyncio.timeout(2.0):
            await conn.rollback()
    except (psycopg.Error, TimeoutError):
        await conn.close()


__all__ = ["Connection", "Database", "translate"]
