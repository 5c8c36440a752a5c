"""The lease of one process: an epoch that nobody else ever had, renewed in the database, fenced by it.

`service.run` acquires it; reconcile loops put its epoch on what they work on; fenced transactions begin with
`check`. Time is the database's clock, in real time. A process that lost its lease must stop.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from qkit.database import Connection, Database
from qmodel.errors import BellweaveError, Conflict

_RENEWALS_PER_TTL = 3


class LeaseLost(Conflict):
    """This process no longer holds its lease: another may have taken its work over."""


class Lease:
    """Held as `holder` (`ems.north/0`). A new process of the same name takes it over at once, one of another
    name waits until it has expired."""

    def __init__(self, db: Database, holder: str, epoch: int, ttl_s: float) -> None:
        self._db = db
        self._ttl_s = ttl_s
        self._renewed = time.monotonic()
        self._log = structlog.get_logger("qkit.lease").bind(holder=holder)
        self.holder = holder
        self.epoch = epoch
        self.lost = asyncio.Event()

    @classmethod
    async def acquire(cls, db: Database, holder: str, *, ttl_s: float = 10.0) -> Lease:
        """Take the lease of `holder` with a new epoch, from whoever had it."""

        async def work(conn: Connection) -> int:
            # Two processes of one name take turns, so that the later one has the higher epoch.
            await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lease {holder}",))
            # The deletion waits for transactions that have checked the old epoch and are still running.
            await conn.execute("DELETE FROM kit.lease WHERE holder = %s", (holder,))
            cursor = await conn.execute(
                "INSERT INTO kit.lease (holder, epoch, expires_at) VALUES"
                " (%s, nextval('kit.lease_epoch'), clock_timestamp() + make_interval(secs => %s))"
                " RETURNING epoch",
                (holder, ttl_s),
            )
            row = await cursor.fetchone()
            assert row is not None
            return int(row["epoch"])

        return cls(db, holder, await db.run(work), ttl_s)

    async def run(self) -> None:
        """Renew until cancelled or lost. Also ends the leases of others that have expired."""
        while not self.lost.is_set():
            await asyncio.sleep(self._ttl_s / _RENEWALS_PER_TTL)
            started = time.monotonic()
            try:
                if await self._renew():
                    self._renewed = started
                else:
                    self.lost.set()
            except BellweaveError as error:
                self._log.warning("lease-not-renewed", detail=error.detail)
            if time.monotonic() - self._renewed > self._ttl_s:
                self.lost.set()  # others may have seen it expire
        self._log.error("lease-lost", epoch=self.epoch)

    async def _renew(self) -> bool:
        async with self._db.transaction(limit_s=self._ttl_s / _RENEWALS_PER_TTL) as conn:
            await conn.execute(
                "DELETE FROM kit.lease WHERE expires_at < clock_timestamp() AND epoch <> %s", (self.epoch,)
            )
            cursor = await conn.execute(
                "UPDATE kit.lease SET expires_at = clock_timestamp() + make_interval(secs => %s)"
                " WHERE epoch = %s AND expires_at > clock_timestamp()",
                (self._ttl_s, self.epoch),
            )
            return cursor.rowcount == 1

    async def check(self, conn: Connection) -> None:
        """Fence the transaction of `conn`: it cannot commit after the lease was taken over, since a takeover
        waits for it. Raises LeaseLost."""
        cursor = await conn.execute(
            "SELECT FROM kit.lease WHERE epoch = %s AND expires_at > clock_timestamp() FOR KEY SHARE",
            (self.epoch,),
        )
        if self.lost.is_set() or await cursor.fetchone() is None:
            self.lost.set()
            raise LeaseLost("this process has lost its lease")

    async def release(self) -> None:
        """Give it up, so that what it held is free at once."""
        async with self._db.transaction() as conn:
            await conn.execute("DELETE FROM kit.lease WHERE epoch = %s", (self.epoch,))
