"""Exact money. Nothing is rounded but a line of an invoice, once, by `to_minor_unit`.

Amounts are `Decimal`; arithmetic runs under `exact`, where a result that would need rounding is an error
and not a silent loss. Used by the rest of the domain and by the API's bodies.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)

from qmodel.errors import Invalid

PRICE_DECIMALS = 18
"""Decimals of a unit price and of a charge; enough for a nano-unit of money per 10^9."""
_PRECISION = 100

_TWO_DIGITS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP"
    " CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS"
    " INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN"
    " MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE"
    " SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW"
)
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"

MINOR_DIGITS: dict[str, int] = {
    **dict.fromkeys(_TWO_DIGITS.split(), 2),
    **dict.fromkeys(_NO_DIGITS.split(), 0),
    **dict.fromkeys(_THREE_DIGITS.split(), 3),
}
"""ISO 4217 currency to the decimals of its minor unit."""


def exact() -> AbstractContextManager[Context]:
    """A context in which arithmetic either is exact or raises `decimal.Inexact`."""
    traps = [Inexact, InvalidOperation, Overflow, DivisionByZero]
    return localcontext(Context(prec=_PRECISION, traps=traps))


def unit_price(amount: Decimal, price_per: Decimal) -> Decimal:
    """What one unit costs when `price_per` of them cost `amount`.

    Raises Invalid unless that is a finite decimal: a charge must not depend on how usage was cut up.
    """
    try:
        with exact():
            price = amount / price_per
    except (Inexact, DivisionByZero, InvalidOperation):
        price = None
    if price is None or decimals_of(price) > PRICE_DECIMALS:
        raise Invalid(
            f"{amount} per {price_per} is not an exact price of one unit within {PRICE_DECIMALS} decimals;"
            " price a power of ten of units",
            where="/price_per",
        )
    return price


def decimals_of(amount: Decimal) -> int:
    """Decimals that `amount` needs: 2 for 1.50 as for 1.25, 0 for 100."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "a finite number"
    return max(0, -exponent)


def to_minor_unit(amount: Decimal, currency: str) -> Decimal:
    """`amount` rounded half up (away from zero) to the currency's minor unit, so that a credit of the same
    amount rounds to the same figure. Raises Invalid for a currency that is not in ISO 4217."""
    step = Decimal(1).scaleb(-minor_digits(currency))
    with localcontext(Context(prec=_PRECISION)):
        return amount.quantize(step, rounding=ROUND_HALF_UP)


def minor_digits(currency: str) -> int:
    """Decimals of the currency's minor unit. Raises Invalid for one that is not in ISO 4217."""
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        raise Invalid(f"{currency!r} is no currency of ISO 4217", where="/currency")
    return digits


def text_of(amount: Decimal) -> str:
    """Plain digits, without an exponent and without needless zeros: 0.00002, 10, 1.5."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
