"""What qkit keeps in PostgreSQL: migrations, tenants, leases, work by key, claims of changes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from qcommit.machine import Change, Level, Member, Phase
from qkit import commitlog
from qkit.database import Database
from qkit.lease import Lease, LeaseLost
from qkit.migrations import RoleUrls, migrate
from qkit.reconcile import Loop, wake
from qkit.tasks import end
from qkit.wakeups import Wakeups
from qmodel.contracts.commit import Outcome, Vote
from qmodel.errors import Conflict, Unavailable

TENANTS = """
CREATE TABLE thing (tenant text NOT NULL, name text NOT NULL);
ALTER TABLE thing ENABLE ROW LEVEL SECURITY;
ALTER TABLE thing FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON thing TO {api} USING (tenant = kit.tenant()) WITH CHECK (tenant = kit.tenant());
GRANT SELECT, INSERT ON thing TO {api};
"""


async def test_migrations_are_applied_once_and_a_changed_one_is_refused(
    urls: RoleUrls, tmp_path: Path
) -> None:
    (tmp_path / "001_things.sql").write_text(TENANTS)
    await asyncio.gather(*(migrate(urls.owner, own=tmp_path) for _ in range(3)))
    (tmp_path / "001_things.sql").write_text(TENANTS + "-- changed")
    with pytest.raises(Conflict, match="changed"):
        await migrate(urls.owner, own=tmp_path)


async def test_a_tenant_sees_its_own_rows_and_nobody_sees_none(urls: RoleUrls, tmp_path: Path) -> None:
    (tmp_path / "001_things.sql").write_text(TENANTS)
    await migrate(urls.owner, own=tmp_path)
    api = await Database.open(urls.api, max_size=1)  # one connection: what it carries over would show
    for tenant in ("acme", "globex"):
        async with api.transaction(tenant) as conn:
            await conn.execute("INSERT INTO thing VALUES (%s, 'x')", (tenant,))
    async with api.transaction("acme") as conn:
        rows = await (await conn.execute("SELECT tenant FROM thing")).fetchall()
    assert [row["tenant"] for row in rows] == ["acme"]
    async with api.transaction() as conn:
        assert await (await conn.execute("SELECT * FROM thing")).fetchall() == []
    with pytest.raises(Exception, match="refused"):
        async with api.transaction("acme") as conn:
            await conn.execute("INSERT INTO thing VALUES ('globex', 'y')")
    await api.close()


async def test_the_api_role_cannot_touch_what_is_not_its(db: Database, urls: RoleUrls) -> None:
    with psycopg.connect(urls.api, autocommit=True) as conn:
        for statement in (
            "DELETE FROM kit.outbox",
            "UPDATE kit.commit_change SET phase = 'committed'",
            "INSERT INTO kit.inbox VALUES ('a.b', 'c', 1)",
            "CREATE TABLE mine (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


async def test_a_process_whose_lease_was_taken_over_is_fenced(db: Database) -> None:
    old = await Lease.acquire(db, "ems.north/0")
    new = await Lease.acquire(db, "ems.north/0")
    assert new.epoch > old.epoch
    with pytest.raises(LeaseLost):
        async with db.transaction() as conn:
            await old.check(conn)
    async with db.transaction() as conn:
        await new.check(conn)


async def test_a_key_never_runs_twice_at_once_and_runs_again_when_woken_meanwhile(db: Database) -> None:
    running, most, runs = 0, 0, 0
    again = asyncio.Event()

    async def act(key: str) -> float | None:
        nonlocal running, most, runs
        running += 1
        most = max(most, running)
        runs += 1
        if runs == 1:
            async with db.transaction() as conn:
                await wake(conn, "loop", "k")
            await asyncio.sleep(0.05)
        running -= 1
        if runs >= 2:
            again.set()
        return None

    leases = [await Lease.acquire(db, f"x/{number}") for number in (1, 2)]
    loops = [Loop(db, lease, Wakeups("unused"), "loop", act) for lease in leases]
    async with db.transaction() as conn:
        await wake(conn, "loop", "k")
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    async with asyncio.timeout(20):
        await again.wait()
    await end(tasks)
    assert most == 1


async def test_an_error_is_kept_and_the_key_is_tried_again(db: Database) -> None:
    done = asyncio.Event()
    errors: list[Exception] = [Unavailable("not yet"), RuntimeError("a bug")]

    async def act(key: str) -> float | None:
        if errors:
            raise errors.pop(0)
        done.set()
        return None

    loop = Loop(db, await Lease.acquire(db, "x/1"), Wakeups("unused"), "loop", act)
    async with db.transaction() as conn:
        await wake(conn, "loop", "k")
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(20):
        await done.wait()
    await end([task])


async def test_work_of_a_dead_process_is_taken_over(db: Database) -> None:
    dead = await Lease.acquire(db, "x/1")
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO kit.work (loop, key, due_at, epoch) VALUES ('loop', 'k', 'infinity', %s)",
            (dead.epoch,),
        )
    done = asyncio.Event()

    async def act(key: str) -> float | None:
        done.set()
        return None

    await dead.release()
    loop = Loop(db, await Lease.acquire(db, "x/2"), Wakeups("unused"), "loop", act)
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(20):
        await done.wait()
    await end([task])


def planned(change_id: str, epoch: int = 1) -> Change:
    return Change(change_id, Level.ROOT, epoch, (Member("north"), Member("south")))


async def test_a_resource_has_one_holder_until_its_change_ends(db: Database) -> None:
    async with db.transaction() as conn:
        assert await commitlog.insert(conn, planned("c1"), ["north/a", "south/b"], {"x": 1})
        assert not await commitlog.insert(conn, planned("c1"), ["north/a"], {}), "it was there already"
    with pytest.raises(Conflict) as refused:
        async with db.transaction() as conn:
            await commitlog.insert(conn, planned("c2"), ["north/a", "north/c"], {})
    assert refused.value.facts["holder"] == "c1"
    async with db.transaction() as conn:
        await commitlog.save(conn, replace(planned("c1"), phase=Phase.COMMITTED))
        assert await commitlog.insert(conn, planned("c2"), ["north/a"], {})
        stored = await commitlog.load(conn, "c1")
    assert stored is not None
    assert (stored.change.phase, stored.body) == (Phase.COMMITTED, {"x": 1})


async def test_claims_of_a_member_of_unknown_state_stay_held(db: Database) -> None:
    lost = (Member("north", Vote.CONFIRMED), Member("south", Vote.UNKNOWN))
    async with db.transaction() as conn:
        await commitlog.insert(conn, planned("c1"), ["north/a", "south/b"], {})
        await commitlog.save(conn, replace(planned("c1"), phase=Phase.COMMITTED, members=lost))
        assert await commitlog.unfinished(conn) == ["c1"]
        assert await commitlog.holders(conn, "other", ["north/a", "south/b"]) == {"south/b": "c1"}


async def test_a_change_that_was_taken_over_cannot_be_saved_by_the_old_process(db: Database) -> None:
    async with db.transaction() as conn:
        await commitlog.insert(conn, planned("c1"), [], {})
        await commitlog.save(conn, planned("c1", epoch=2))
    with pytest.raises(Unavailable, match="taken"):
        async with db.transaction() as conn:
            await commitlog.save(conn, replace(planned("c1"), phase=Phase.CONFIRMING))


async def test_no_row_means_abort(db: Database) -> None:
    async with db.transaction() as conn:
        assert await commitlog.outcome(conn, "never-heard-of") is Outcome.ABORT


async def test_a_decision_is_never_overwritten_by_an_abort(db: Database) -> None:
    async with db.transaction() as conn:
        await commitlog.insert(conn, planned("c1"), [], {})
        await commitlog.save(conn, replace(planned("c1"), phase=Phase.CONFIRMING))
    with pytest.raises(Unavailable):
        async with db.transaction() as conn:
            await commitlog.save(conn, replace(planned("c1", epoch=2), phase=Phase.ABORTING))
