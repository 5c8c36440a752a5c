"""Claims and leases when several want them at once, and while they change hands."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from qcommit.machine import Change, Level, Member, Phase
from qkit import commitlog
from qkit.database import Connection, Database
from qkit.lease import Lease, LeaseLost
from qmodel.contracts.commit import Outcome, Vote
from qmodel.errors import Conflict, Unavailable


def planned(change_id: str, *members: Member) -> Change:
    return Change(change_id, Level.LEAF, 1, members or (Member("a"), Member("b")), parent="nms.north")


async def insert(db: Database, change_id: str, *resources: str) -> None:
    async with db.transaction() as conn:
        await commitlog.insert(conn, planned(change_id), resources, {})


async def end_of(
    db: Database, change_id: str, phase: Phase = Phase.ABORTED, *members: Member, **opaque: Any
) -> None:
    async with db.transaction() as conn:
        await commitlog.save(conn, replace(planned(change_id, *members), phase=phase), **opaque)


async def held_by(db: Database, change_id: str, *resources: str) -> set[str]:
    async with db.transaction() as conn:
        held = await commitlog.holders(conn, "nobody", resources)
    return {resource for resource, holder in held.items() if holder == change_id}


async def test_of_many_that_want_overlapping_resources_one_gets_each(db: Database) -> None:
    async def attempt(number: int) -> bool:
        wanted = [f"r{number % 4}", f"r{(number + 1) % 4}"]
        try:
            await insert(db, f"c{number}", *(reversed(wanted) if number % 2 else wanted))
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(attempt(number) for number in range(12)))
    async with db.transaction() as conn:
        held = await commitlog.holders(conn, "nobody", ["r0", "r1", "r2", "r3"])
        rows = await (await conn.execute("SELECT change_id FROM kit.commit_change")).fetchall()
    assert len(held) == 2 * sum(won), "a winner has both of its resources, a loser none"
    assert {row["change_id"] for row in rows} == {f"c{number}" for number, yes in enumerate(won) if yes}
    assert any(won)


class HandsOver:
    """A connection; after the first statement, somebody else's release commits."""

    def __init__(self, conn: Connection, db: Database, released: str) -> None:
        self._conn = conn
        self._db = db
        self._released: str | None = released

    async def execute(self, *statement: Any) -> Any:
        cursor = await self._conn.execute(*statement)
        if self._released is not None:
            released, self._released = self._released, None
            await end_of(self._db, released)
        return cursor


async def test_a_claim_refused_just_before_the_holder_lets_go_is_taken_all_the_same(db: Database) -> None:
    await insert(db, "old", "r1")
    await insert(db, "new", "r2")
    async with db.transaction() as conn:
        await commitlog.claim(HandsOver(conn, db, "old"), "new", ["r1", "r2", "r3"])  # type: ignore[arg-type]
    assert await held_by(db, "new", "r1", "r2", "r3") == {"r1", "r2", "r3"}


async def test_claiming_again_what_is_ours_is_nothing_new(db: Database) -> None:
    await insert(db, "c1", "r1", "r2")
    async with db.transaction() as conn:
        await commitlog.claim(conn, "c1", ["r2", "r1"])
        await commitlog.claim(conn, "c1", [])
    assert await held_by(db, "c1", "r1", "r2") == {"r1", "r2"}


async def test_a_conflict_names_holder_and_resource_and_leaves_nothing(db: Database) -> None:
    await insert(db, "c1", "r1")
    with pytest.raises(Conflict) as refused:
        await insert(db, "c2", "r0", "r1")
    assert (refused.value.where, refused.value.facts["holder"]) == ("r1", "c1")
    assert await held_by(db, "c2", "r0", "r1") == set()
    async with db.transaction() as conn:
        assert await commitlog.load(conn, "c2") is None


async def test_an_unknown_member_keeps_its_own_claims_until_it_is_settled(db: Database) -> None:
    unknown = (Member("a", Vote.CONFIRMED), Member("b", Vote.UNKNOWN))
    await insert(db, "c1", "a", "a/1", "b", "b/1", "bb", "z")
    await end_of(db, "c1", Phase.COMMITTED, *unknown)
    assert await held_by(db, "c1", "a", "a/1", "b", "b/1", "bb", "z") == {"b", "b/1"}
    settled = (Member("a", Vote.CONFIRMED), Member("b", Vote.CONFIRMED))
    await end_of(db, "c1", Phase.COMMITTED, *settled)
    assert await held_by(db, "c1", "b", "b/1") == set()
    async with db.transaction() as conn:
        assert await commitlog.unfinished(conn) == []


async def test_an_opaque_member_keeps_everything_only_while_it_is_unknown(db: Database) -> None:
    await insert(db, "c1", "capacity-1", "capacity-2")
    await end_of(db, "c1", Phase.ABORTED, Member("a", Vote.UNKNOWN), opaque=["a"])
    assert await held_by(db, "c1", "capacity-1", "capacity-2") == {"capacity-1", "capacity-2"}
    await end_of(db, "c1", Phase.ABORTED, Member("a", Vote.ABORTED), opaque=["a"])
    assert await held_by(db, "c1", "capacity-1", "capacity-2") == set()


async def test_a_change_that_goes_on_gives_nothing_back(db: Database) -> None:
    await insert(db, "c1", "r1")
    await end_of(db, "c1", Phase.CONFIRMING)
    assert await held_by(db, "c1", "r1") == {"r1"}


async def test_a_change_comes_back_as_it_was_saved(db: Database) -> None:
    await insert(db, "c1")
    change = replace(
        planned("c1", Member("a", Vote.REFUSED, 1.5, 2.5, "no laser", "/laser", 3)),
        phase=Phase.ABORTING,
        epoch=7,
        deadline_s=12.5,
        refusal="no",
        refused_where="a",
        provision_epoch=6,
    )
    async with db.transaction() as conn:
        await commitlog.save(conn, change)
        stored = await commitlog.load(conn, "c1")
        assert await commitlog.outcome(conn, "c1") is Outcome.ABORT
    assert stored is not None
    assert stored.change == change


async def test_an_older_epoch_cannot_save_nor_release(db: Database) -> None:
    await insert(db, "c1", "r1")
    async with db.transaction() as conn:
        await commitlog.save(conn, replace(planned("c1"), epoch=5, phase=Phase.CONFIRMING))
    with pytest.raises(Unavailable, match="taken"):
        async with db.transaction() as conn:
            await commitlog.save(conn, replace(planned("c1"), epoch=4, phase=Phase.ABORTED))
    assert await held_by(db, "c1", "r1") == {"r1"}
    async with db.transaction() as conn:
        assert await commitlog.outcome(conn, "c1") is Outcome.COMMIT


async def test_processes_of_one_name_that_start_at_once_take_turns(db: Database) -> None:
    leases = await asyncio.gather(*(Lease.acquire(db, "ems.north/0") for _ in range(5)))
    assert len({lease.epoch for lease in leases}) == 5
    holding = []
    for lease in leases:
        try:
            async with db.transaction() as conn:
                await lease.check(conn)
            holding.append(lease.epoch)
        except LeaseLost:
            pass
    assert holding == [max(lease.epoch for lease in leases)]


async def waits_for_a_lock(db: Database) -> None:
    """Until some transaction waits for another one."""
    async with asyncio.timeout(20), db.transaction() as conn:
        while True:
            found = await conn.execute("SELECT FROM pg_locks WHERE NOT granted LIMIT 1")
            if await found.fetchone() is not None:
                return
            await asyncio.sleep(0.01)


async def test_a_takeover_waits_for_the_transaction_that_was_fenced(db: Database) -> None:
    old = await Lease.acquire(db, "x/0")
    async with db.transaction() as conn:
        await old.check(conn)
        taking = asyncio.create_task(Lease.acquire(db, "x/0"))
        await waits_for_a_lock(db)
        assert not taking.done()
    assert (await taking).epoch > old.epoch


async def test_a_lease_that_ran_out_fences_and_is_ended_by_others(db: Database) -> None:
    late = await Lease.acquire(db, "x/0", ttl_s=0.0)
    with pytest.raises(LeaseLost):
        async with db.transaction() as conn:
            await late.check(conn)
    assert late.lost.is_set()
    other = await Lease.acquire(db, "x/1", ttl_s=0.3)
    renewing = asyncio.create_task(other.run())
    async with asyncio.timeout(20):
        while True:
            async with db.transaction() as conn:
                rows = await (await conn.execute("SELECT epoch FROM kit.lease")).fetchall()
            if rows == [{"epoch": other.epoch}]:
                break
            await asyncio.sleep(0.02)
    await other.release()
    async with asyncio.timeout(20):
        await renewing  # it notices by itself that it has lost it
    assert other.lost.is_set()


async def test_what_was_released_is_free_at_once(db: Database) -> None:
    lease = await Lease.acquire(db, "x/0")
    await lease.release()
    with pytest.raises(LeaseLost):
        async with db.transaction() as conn:
            await lease.check(conn)
