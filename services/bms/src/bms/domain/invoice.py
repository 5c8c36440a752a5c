"""From charges to an invoice.

The rounding rule: charges are exact; those of one line (one service, link, unit and price) are added exactly;
then the line, and only the line, is rounded half up to the currency's minor unit. The total is the sum of the
lines, to the last unit, and neither depends on the order of the records or on how usage was cut into them.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bms.domain.money import exact, to_minor_unit
from bms.domain.terms import Price, Terms

FEE_UNIT = "month"


@dataclass(frozen=True)
class Fee:
    """The monthly fee for the contract month that begins at `month_start`, due on that day."""

    month_start: datetime
    month_end: datetime
    amount: Decimal


@dataclass(frozen=True)
class Bucket:
    """Charges of one line, added up: `amount` exact. Fees have no service, and a `month_start`."""

    service_id: str | None
    link_id: str | None
    kind: str | None
    price: Price
    quantity: int
    amount: Decimal
    month_start: datetime | None = None


@dataclass(frozen=True)
class Line:
    """`quantity` units at `unit_price` per `price_per`; `amount` in whole minor units."""

    text: str
    service_id: str | None
    link_id: str | None
    unit: str
    quantity: int
    price_per: Decimal
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Invoice:
    """Issued once and never changed. Times are domain time."""

    invoice_id: str
    number: str
    tenant: str
    contract_id: str
    currency: str
    period_start: datetime
    period_end: datetime
    issued_at: datetime
    lines: tuple[Line, ...]
    total: Decimal
    state: str = "issued"
    version: int = 1


def make_lines(buckets: Iterable[Bucket], currency: str) -> tuple[tuple[Line, ...], Decimal]:
    """The lines, usage by service, link and unit before fees by month, and their sum."""
    lines = tuple(_line(bucket, currency) for bucket in sorted(buckets, key=_place))
    with exact():
        total = sum((line.amount for line in lines), Decimal(0))
    return lines, to_minor_unit(total, currency)


def fees_due(terms: Terms, until: datetime) -> Iterator[Fee]:
    """One fee for each contract month begun at or before `until`, the first at the start of the contract."""
    if terms.plan.monthly_fee == 0:
        return
    month, start = 0, terms.contract.starts_at
    while start <= until:
        month += 1
        end = months_later(terms.contract.starts_at, month)
        yield Fee(start, end, terms.plan.monthly_fee)
        start = end


def months_later(start: datetime, months: int) -> datetime:
    """The same day and time `months` later, or the last day of a shorter month: 31 January, 28 February,
    31 March."""
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)


def _place(bucket: Bucket) -> tuple[bool, str, str, str, Decimal, Decimal, str]:
    price = bucket.price
    month = bucket.month_start.isoformat() if bucket.month_start else ""
    return (
        bucket.month_start is not None,
        bucket.service_id or "",
        bucket.link_id or "",
        price.unit,
        price.unit_price,
        price.price_per,
        month,
    )


def _line(bucket: Bucket, currency: str) -> Line:
    return Line(
        text=_text(bucket),
        service_id=bucket.service_id,
        link_id=bucket.link_id,
        unit=bucket.price.unit,
        quantity=bucket.quantity,
        price_per=bucket.price.price_per,
        unit_price=bucket.price.amount,
        amount=to_minor_unit(bucket.amount, currency),
    )


def _text(bucket: Bucket) -> str:
    if bucket.month_start is not None:
        return f"Monthly fee from {bucket.month_start:%Y-%m-%d}"
    kind = (bucket.kind or "service").replace("_", " ").replace("vpn", "VPN")
    unit = bucket.price.unit.replace("-", " ")
    return f"{kind[:1].upper()}{kind[1:]} {_short(bucket.service_id)}, link {_short(bucket.link_id)}: {unit}"


def _short(made_id: str | None) -> str:
    """The random end of an id, enough for a person to tell links apart."""
    return (made_id or "")[-6:]
