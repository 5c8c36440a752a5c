"""Rows to the domain's objects and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bms.domain.invoice import Bucket, Invoice, Line
from bms.domain.quota import Amount, Quota, Reservation
from bms.domain.rating import Suspension, Usage
from bms.domain.terms import Contract, Customer, Plan, Price
from bms.ports import UsageView

Row = dict[str, Any]


def customer_of(row: Row) -> Customer:
    return Customer(row["tenant"], row["name"], row["created_at"], row["version"])


def plan_of(row: Row) -> Plan:
    prices = tuple(Price(unit, Decimal(per), Decimal(amount)) for unit, per, amount in row["prices"])
    return Plan(row["name"], row["currency"], prices, row["monthly_fee"], row["created_at"], row["version"])


def contract_of(row: Row) -> Contract:
    return Contract(
        contract_id=row["contract_id"],
        tenant=row["tenant"],
        plan=row["plan"],
        starts_at=row["starts_at"],
        links_limit=row["links_limit"],
        key_rate_limit_bps=row["key_rate_limit_bps"],
        created_at=row["created_at"],
        version=row["version"],
    )


def quota_of(row: Row) -> Quota:
    return Quota(
        tenant=row["tenant"],
        links_limit=row["links_limit"],
        key_rate_limit_bps=row["key_rate_limit_bps"],
        links_used=row["links_used"],
        key_rate_used_bps=row["key_rate_used_bps"],
        version=row["version"],
    )


def reservation_of(row: Row) -> Reservation:
    amount = Amount(row["links"], row["key_rate_bps"])
    return Reservation(row["order_id"], row["tenant"], amount, row["released"])


def usage_of(row: Row) -> Usage:
    return Usage(
        usage_id=row["usage_id"],
        tenant=row["tenant"],
        service_id=row["service_id"],
        link_id=row["link_id"],
        unit=row["unit"],
        quantity=row["quantity"],
        period_start=row["period_start"],
        period_end=row["period_end"],
    )


def usage_view_of(row: Row) -> UsageView:
    suspended = None if row["suspended"] is None else Suspension(row["suspended"])
    return UsageView(usage_of(row), suspended, row["amount"], row["currency"], row["invoice_id"])


def bucket_of(row: Row) -> Bucket:
    return Bucket(
        service_id=row["service_id"],
        link_id=row["link_id"],
        kind=row["kind"],
        price=Price(row["unit"], row["price_per"], row["price_amount"]),
        quantity=int(row["quantity"]),
        amount=row["amount"],
        month_start=row["month_start"],
    )


def invoice_of(row: Row, lines: tuple[Line, ...] = ()) -> Invoice:
    return Invoice(
        invoice_id=row["invoice_id"],
        number=row["number"],
        tenant=row["tenant"],
        contract_id=row["contract_id"],
        currency=row["currency"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        issued_at=row["issued_at"],
        lines=lines,
        total=row["total"],
        state=row["state"],
        version=row["version"],
    )


def line_of(row: Row) -> Line:
    return Line(
        text=row["text"],
        service_id=row["service_id"],
        link_id=row["link_id"],
        unit=row["unit"],
        quantity=int(row["quantity"]),
        price_per=row["price_per"],
        unit_price=row["unit_price"],
        amount=row["amount"],
    )
