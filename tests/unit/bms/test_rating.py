"""Usage becomes an exact charge, or says why it has to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bms.domain.rating import Charge, Suspension, Usage, rate
from bms.domain.terms import Contract, Plan, Price, Terms
from qmodel.errors import Invalid

START = datetime(2025, 1, 1, tzinfo=UTC)
PLAN = Plan("p", "EUR", (Price("key-bits", Decimal(1000), Decimal("0.02")),), Decimal(0), START)
TERMS = Terms(Contract("con_1", "acme", "p", START, 1, 1, START), PLAN)
USAGE = Usage("u1", "acme", "svc_1", "lnk_1", "key-bits", 12345, START, START + timedelta(minutes=1))


def test_a_charge_is_quantity_times_unit_price_without_rounding() -> None:
    charge = rate(USAGE, TERMS, "acme")
    assert isinstance(charge, Charge)
    assert charge.amount == Decimal("0.24690")


def test_a_charge_stays_exact_beyond_the_usual_precision_of_decimals() -> None:
    price = Price("key-bits", Decimal(1), Decimal("0.123456789012345678"))
    charge = rate(
        replace(USAGE, quantity=10**18 + 1), Terms(TERMS.contract, replace(PLAN, prices=(price,))), "acme"
    )
    assert isinstance(charge, Charge)
    assert str(charge.amount) == "123456789012345678.123456789012345678"


@pytest.mark.parametrize(
    ("usage", "terms", "owner", "reason"),
    [
        (USAGE, None, "acme", Suspension.NO_CONTRACT),
        (USAGE, TERMS, None, Suspension.UNKNOWN_SERVICE),
        (USAGE, TERMS, "globex", Suspension.FOREIGN_SERVICE),
        (
            replace(USAGE, period_start=START - timedelta(seconds=1)),
            TERMS,
            "acme",
            Suspension.BEFORE_CONTRACT,
        ),
        (replace(USAGE, period_end=START - timedelta(seconds=1)), TERMS, "acme", Suspension.BAD_PERIOD),
        (replace(USAGE, unit="pairs"), TERMS, "acme", Suspension.NO_PRICE),
    ],
)
def test_usage_that_cannot_be_rated_says_why(
    usage: Usage, terms: Terms | None, owner: str | None, reason: Suspension
) -> None:
    assert rate(usage, terms, owner) is reason


def test_a_plan_with_a_price_given_twice_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        replace(PLAN, prices=PLAN.prices * 2).check()
    assert refused.value.where == "/prices/1/unit"


def test_a_plan_whose_price_of_one_unit_is_not_exact_is_refused() -> None:
    prices = (Price("pairs", Decimal(3), Decimal("0.02")),)
    with pytest.raises(Invalid) as refused:
        replace(PLAN, prices=prices).check()
    assert refused.value.where == "/prices/0/price_per"


def test_a_fee_smaller_than_the_minor_unit_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        replace(PLAN, currency="JPY", monthly_fee=Decimal("10.50")).check()
    assert refused.value.where == "/monthly_fee"
