"""The SMS's quota questions over the real bus: at once, repeated, refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qmodel.contracts.bms import QuotaReply, ReleaseQuota, ReserveQuota
from qmodel.errors import Forbidden, QuotaExceeded
from qmodel.ids import new_id


def ask(order: str, tenant: str = "acme", links: int = 1, key_rate_bps: float = 10.5) -> ReserveQuota:
    return ReserveQuota(
        request_id=new_id("req"), tenant=tenant, order_id=order, links=links, key_rate_bps=key_rate_bps
    )


async def test_orders_at_once_never_pass_the_limit(stack: Any) -> None:
    await stack.sign_up(links=10)
    answers = await asyncio.gather(
        *(stack.sms.request("main", ask(f"ord_{number}"), timeout_s=20) for number in range(25)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, QuotaReply) for answer in answers) == 10
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers) == 15
    quota = await stack.http.get("/quota/acme", headers=stack.issuer.token("tenant", tenant="acme"))
    assert (quota.json()["links_used"], quota.json()["key_rate_used_bps"]) == (10, 110)


async def test_questions_repeated_at_once_count_once(stack: Any) -> None:
    await stack.sign_up()
    same = ask("ord_1", links=4)
    answers = await asyncio.gather(*(stack.sms.request("main", same) for _ in range(6)))
    assert {answer.links_used for answer in answers} == {4}
    release = ReleaseQuota(request_id=new_id("req"), tenant="acme", order_id="ord_1")
    await asyncio.gather(*(stack.sms.request("main", release) for _ in range(3)))
    assert (await stack.sms.request("main", ask("ord_2"))).links_used == 1


async def test_a_refusal_crosses_the_bus_with_its_limits(stack: Any) -> None:
    await stack.sign_up(links=3, key_rate_bps=100)
    with pytest.raises(QuotaExceeded) as refused:
        await stack.sms.request("main", ask("ord_1", links=4))
    assert refused.value.facts["links_limit"] == 3
    with pytest.raises(Forbidden):
        await stack.sms.request("main", ask("ord_1", tenant="nobody"))
