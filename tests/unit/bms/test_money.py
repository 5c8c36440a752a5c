"""Money is exact, and rounded where it says so."""

from __future__ import annotations

from decimal import Decimal, Inexact

import pytest

from bms.domain.money import exact, text_of, to_minor_unit, unit_price
from qmodel.errors import Invalid


def test_a_unit_price_has_all_its_decimals() -> None:
    assert unit_price(Decimal("0.02"), Decimal(1000)) == Decimal("0.00002")
    assert unit_price(Decimal(1), Decimal(256)) == Decimal("0.00390625")


@pytest.mark.parametrize(("amount", "per"), [("1", "3"), ("0.01", "7"), ("1", "0"), ("1", "1e19")])
def test_a_unit_price_that_would_need_rounding_is_refused(amount: str, per: str) -> None:
    with pytest.raises(Invalid) as refused:
        unit_price(Decimal(amount), Decimal(per))
    assert refused.value.where == "/price_per"


def test_inexact_arithmetic_is_an_error_not_a_silent_loss() -> None:
    with exact(), pytest.raises(Inexact):
        Decimal(1) / Decimal(3)


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("0.005", "EUR", "0.01"),
        ("0.0049999999999999999999999999999", "EUR", "0.00"),
        ("-0.005", "EUR", "-0.01"),
        ("1.5", "JPY", "2"),
        ("2.5", "JPY", "3"),
        ("0.0005", "KWD", "0.001"),
        ("7", "EUR", "7.00"),
    ],
)
def test_halves_round_away_from_zero_to_the_minor_unit(amount: str, currency: str, rounded: str) -> None:
    assert str(to_minor_unit(Decimal(amount), currency)) == rounded


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(Invalid, match="ISO 4217"):
        to_minor_unit(Decimal(1), "XQZ")


@pytest.mark.parametrize(
    ("amount", "text"), [("2E-5", "0.00002"), ("1E+3", "1000"), ("1.50", "1.5"), ("0", "0")]
)
def test_amounts_are_written_in_plain_digits(amount: str, text: str) -> None:
    assert text_of(Decimal(amount)) == text
