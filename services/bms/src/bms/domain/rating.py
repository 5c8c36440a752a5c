"""From a usage record to a charge, or to the reason why it has to wait.

A charge is exact: quantity times unit price, not rounded. So it does not matter how usage was cut into
records or in which order they came; see `invoice` for the one place that rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from bms.domain.money import exact
from bms.domain.terms import Price, Terms


class Suspension(StrEnum):
    """Why a record is kept without a charge. It is rated as soon as the reason is gone."""

    NO_CONTRACT = "no-contract"
    BEFORE_CONTRACT = "before-contract"
    UNKNOWN_SERVICE = "unknown-service"
    FOREIGN_SERVICE = "foreign-service"
    NO_PRICE = "no-price"
    BAD_PERIOD = "bad-period"


@dataclass(frozen=True)
class Usage:
    """What one link of a service durably released in a period of domain time; unit `key-bits` or `pairs`.
    `usage_id` is the same whenever the same span is told."""

    usage_id: str
    tenant: str
    service_id: str
    link_id: str
    unit: str
    quantity: int
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True)
class Charge:
    """What a record costs; `amount` has all its decimals."""

    usage: Usage
    contract_id: str
    price: Price
    amount: Decimal


def rate(usage: Usage, terms: Terms | None, service_tenant: str | None) -> Charge | Suspension:
    """Rate `usage` under its tenant's `terms`; `service_tenant` is whose service it is, None if unknown."""
    if usage.period_end < usage.period_start:
        return Suspension.BAD_PERIOD
    if terms is None:
        return Suspension.NO_CONTRACT
    if service_tenant is None:
        return Suspension.UNKNOWN_SERVICE
    if service_tenant != usage.tenant:
        return Suspension.FOREIGN_SERVICE
    if usage.period_start < terms.contract.starts_at:
        return Suspension.BEFORE_CONTRACT
    price = terms.plan.price_of(usage.unit)
    if price is None:
        return Suspension.NO_PRICE
    with exact():
        return Charge(usage, terms.contract.contract_id, price, usage.quantity * price.unit_price)
