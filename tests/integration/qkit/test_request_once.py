"""A bus request that comes again is answered again from the database, and done once."""

from __future__ import annotations

import asyncio

import pytest

from qkit.database import Connection, Database
from qkit.requests import once
from qmodel.contracts.bms import QuotaReply, ReserveQuota
from qmodel.errors import Conflict, QuotaExceeded


def asked(links: int = 1, request_id: str = "req_1") -> ReserveQuota:
    return ReserveQuota(request_id=request_id, tenant="acme", order_id="o1", links=links, key_rate_bps=1.5)


class Desk:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.done = 0
        self.refusing = False

    async def answer(self, request: ReserveQuota) -> QuotaReply:
        async def make() -> QuotaReply:
            if self.refusing:
                raise QuotaExceeded("too many")
            self.done += 1
            return QuotaReply(links_limit=9, links_used=self.done, key_rate_limit_bps=1, key_rate_used_bps=1)

        async def work(conn: Connection) -> QuotaReply:
            return await once(conn, request, make)

        return await self.db.run(work)


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


async def test_the_same_request_gets_the_same_reply(desk: Desk) -> None:
    assert await desk.answer(asked()) == await desk.answer(asked())
    assert (await desk.answer(asked(request_id="req_2"))).links_used == 2


async def test_twins_at_once_wait_for_the_first(desk: Desk) -> None:
    replies = await asyncio.gather(*(desk.answer(asked()) for _ in range(8)))
    assert {reply.links_used for reply in replies} == {1}
    assert desk.done == 1


async def test_an_id_used_for_another_request_is_refused(desk: Desk) -> None:
    await desk.answer(asked(links=1))
    with pytest.raises(Conflict) as refused:
        await desk.answer(asked(links=2))
    assert refused.value.where == "/request_id"


async def test_a_refusal_is_not_kept(desk: Desk) -> None:
    desk.refusing = True
    with pytest.raises(QuotaExceeded):
        await desk.answer(asked())
    desk.refusing = False
    assert (await desk.answer(asked())).links_used == 1
