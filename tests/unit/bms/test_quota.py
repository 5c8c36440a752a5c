"""Orders take quota, never more than there is, and give back what they took."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.domain.quota import Amount, Quota
from bms.usecases import quota
from qmodel.errors import Conflict, Forbidden, Invalid, QuotaExceeded

AMOUNT = Amount(6, 600)


async def test_an_order_holds_what_it_asked_for(signed: Any) -> None:
    held = await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    assert (held.links_used, held.key_rate_used_bps) == (6, 600)


async def test_a_repeated_question_holds_nothing_more(signed: Any) -> None:
    await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    assert (await quota.reserve(signed, "acme", "ord_1", AMOUNT)).links_used == 6


async def test_the_same_order_cannot_reserve_something_else(signed: Any) -> None:
    await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    with pytest.raises(Conflict):
        await quota.reserve(signed, "acme", "ord_1", Amount(1, 1))


async def test_beyond_the_limit_is_refused_with_the_limit_that_binds(signed: Any) -> None:
    await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    with pytest.raises(QuotaExceeded) as refused:
        await quota.reserve(signed, "acme", "ord_2", Amount(5, 1))
    assert refused.value.where == "/links"
    assert (refused.value.facts["links_used"], refused.value.facts["links_limit"]) == (6, 10)
    with pytest.raises(QuotaExceeded) as refused:
        await quota.reserve(signed, "acme", "ord_3", Amount(1, 401))
    assert refused.value.where == "/key_rate_bps"


async def test_a_tenant_without_a_contract_may_not_order(signed: Any) -> None:
    with pytest.raises(Forbidden, match="contract"):
        await quota.reserve(signed, "globex", "ord_1", AMOUNT)


async def test_a_released_order_gives_back_once_what_it_held(signed: Any) -> None:
    await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    await quota.reserve(signed, "acme", "ord_2", Amount(1, 1))
    for _ in range(2):
        await quota.release(signed, "acme", "ord_1")
    assert (signed.quotas["acme"].links_used, signed.quotas["acme"].key_rate_used_bps) == (1, 1)


async def test_a_late_repetition_after_the_release_takes_nothing(signed: Any) -> None:
    await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    await quota.release(signed, "acme", "ord_1")
    with pytest.raises(Conflict):
        await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    assert signed.quotas["acme"].links_used == 0


async def test_a_release_that_overtakes_its_reservation_wins(signed: Any) -> None:
    await quota.release(signed, "acme", "ord_1")
    with pytest.raises(Conflict):
        await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    assert signed.quotas["acme"].links_used == 0


async def test_nobody_releases_another_tenants_order(signed: Any) -> None:
    await quota.reserve(signed, "acme", "ord_1", AMOUNT)
    with pytest.raises(Conflict):
        await quota.release(signed, "globex", "ord_1")
    assert signed.quotas["acme"].links_used == 6


@pytest.mark.parametrize(("links", "rate"), [(-1, 0), (0, -1), (0, math.inf), (0, math.nan), (10**16, 0)])
def test_absurd_amounts_are_refused(links: int, rate: float) -> None:
    with pytest.raises(Invalid):
        Amount.asked(links, rate)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1e6)), max_size=20))
def test_releasing_everything_leaves_nothing_held(asked: list[tuple[int, float]]) -> None:
    held = Quota("acme", 10**9, 10**12)
    amounts = [Amount.asked(links, rate) for links, rate in asked]
    for amount in amounts:
        held = held.take(amount)
    for amount in amounts:
        held = held.give_back(amount)
    assert (held.links_used, held.key_rate_used_bps) == (0, 0)
