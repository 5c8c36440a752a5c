"""From a usage event to an invoice, and what may go wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bms.domain.rating import Suspension, Usage
from bms.domain.terms import Plan, Price
from bms.ports import RATING_LOOP, KnownService
from bms.usecases import contract, customer, invoice, plan, usage
from bms.usecases.contract import Offer
from qmodel.errors import Conflict, Invalid, NotFound

START = datetime(2025, 1, 31, 12, tzinfo=UTC)
NOW = START + timedelta(hours=1)
USAGE = Usage("u1", "acme", "svc_1", "lnk_1", "key-bits", 600_000, START, START + timedelta(minutes=1))


async def test_the_same_record_is_charged_once(signed: Any) -> None:
    for _ in range(3):
        await usage.record(signed, USAGE)
    assert [charge.amount for charge in signed.charges] == [Decimal(12)]


async def test_usage_of_an_unknown_service_waits_until_the_service_is_known(signed: Any) -> None:
    await usage.record(signed, replace(USAGE, service_id="svc_2"))
    assert signed.usage["u1"][1] is Suspension.UNKNOWN_SERVICE
    assert signed.charges == []
    await usage.learn_service(signed, KnownService("svc_2", "acme", "ord_2", "key", "active", START))
    assert (RATING_LOOP, "acme") in signed.woken
    await usage.Rating(signed).reconcile("acme")
    assert signed.usage["u1"][1] is None
    assert len(signed.charges) == 1


async def test_usage_of_an_unknown_tenant_waits_for_its_contract(signed: Any) -> None:
    signed.services["svc_9"] = KnownService("svc_9", "globex", "ord_9", "key", "active", START)
    await usage.record(signed, replace(USAGE, tenant="globex", service_id="svc_9"))
    await usage.Rating(signed).reconcile("globex")
    assert signed.usage["u1"][1] is Suspension.NO_CONTRACT
    await customer.enter(signed, "globex", "Globex", START)
    await contract.sign(signed, Offer("globex", "standard", 1, 1), START)
    await usage.Rating(signed).reconcile("globex")
    assert signed.usage["u1"][1] is None


async def test_usage_that_still_cannot_be_rated_shows_its_new_reason(signed: Any) -> None:
    await usage.record(signed, replace(USAGE, service_id="svc_2"))
    await usage.learn_service(signed, KnownService("svc_2", "globex", "ord_2", "key", "active", START))
    await usage.Rating(signed).reconcile("acme")
    assert signed.usage["u1"][1] is Suspension.FOREIGN_SERVICE


async def test_rating_goes_through_more_records_than_one_batch(signed: Any) -> None:
    for number in range(450):
        await usage.record(signed, replace(USAGE, usage_id=f"u{number:04d}", service_id="svc_2"))
    await usage.learn_service(signed, KnownService("svc_2", "acme", "ord_2", "key", "active", START))
    await usage.Rating(signed).reconcile("acme")
    assert len(signed.charges) == 450


async def test_an_invoice_bills_usage_and_the_months_begun(signed: Any) -> None:
    await usage.record(signed, USAGE)
    made = await invoice.issue(signed, "acme", None, NOW)
    assert [(line.unit, str(line.amount)) for line in made.lines] == [
        ("key-bits", "12.00"),
        ("month", "10.00"),
    ]
    assert (str(made.total), made.number) == ("22.00", "BW-000001")
    assert (made.period_start, made.period_end) == (START, NOW)


async def test_what_was_billed_is_not_billed_again_and_late_usage_comes_next_time(signed: Any) -> None:
    await usage.record(signed, USAGE)
    first = await invoice.issue(signed, "acme", None, NOW)
    await usage.record(signed, replace(USAGE, usage_id="late", quantity=1000))
    second = await invoice.issue(signed, "acme", None, NOW + timedelta(hours=1))
    assert [(line.quantity, str(line.amount)) for line in second.lines] == [(1000, "0.02")]
    assert second.period_start == first.period_end


async def test_usage_after_the_end_of_the_period_is_left_for_later(signed: Any) -> None:
    await usage.record(signed, USAGE)
    await usage.record(signed, replace(USAGE, usage_id="u2", period_end=NOW))
    made = await invoice.issue(signed, "acme", NOW - timedelta(minutes=1), NOW)
    assert made.lines[0].quantity == 600_000


async def test_nothing_to_bill_is_said_and_no_empty_invoice_made(signed: Any) -> None:
    await invoice.issue(signed, "acme", None, NOW)
    with pytest.raises(Conflict, match="nothing to bill"):
        await invoice.issue(signed, "acme", None, NOW + timedelta(minutes=1))


async def test_periods_do_not_overlap_or_reach_into_the_future(signed: Any) -> None:
    await invoice.issue(signed, "acme", None, NOW)
    with pytest.raises(Conflict, match="reaches to"):
        await invoice.issue(signed, "acme", NOW, NOW)
    with pytest.raises(Invalid, match="future"):
        await invoice.issue(signed, "acme", NOW + timedelta(days=1), NOW)


async def test_a_tenant_without_a_contract_gets_no_invoice(signed: Any) -> None:
    with pytest.raises(NotFound):
        await invoice.issue(signed, "globex", None, NOW)


async def test_the_same_customer_plan_and_contract_are_made_once(unit: Any) -> None:
    prices = (Price("pairs", Decimal(10), Decimal("1")),)
    offered = Plan("standard", "EUR", prices, Decimal(0), START)
    for fresh in (True, False):
        assert (await customer.enter(unit, "acme", "Acme", NOW))[1] is fresh
        assert (await plan.publish(unit, replace(offered, created_at=NOW)))[1] is fresh
        assert (await contract.sign(unit, Offer("acme", "standard", 5, 5), NOW))[1] is fresh
    with pytest.raises(Conflict):
        await customer.enter(unit, "acme", "Other", NOW)
    with pytest.raises(Conflict):
        await plan.publish(unit, replace(offered, monthly_fee=Decimal(1)))
    with pytest.raises(Conflict):
        await contract.sign(unit, Offer("acme", "standard", 6, 5), NOW)


async def test_a_contract_needs_its_customer_and_plan(unit: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await contract.sign(unit, Offer("acme", "standard", 5, 5), NOW)
    assert refused.value.where == "/tenant"
    await customer.enter(unit, "acme", "Acme", NOW)
    with pytest.raises(Invalid) as refused:
        await contract.sign(unit, Offer("acme", "standard", 5, 5), NOW)
    assert refused.value.where == "/plan"
