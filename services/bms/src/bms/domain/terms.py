"""What was agreed with a customer: who it is, the plan with its prices, the contract.

All of them are written once; a changed price is a new plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bms.domain.money import decimals_of, minor_digits, unit_price
from qmodel.errors import Invalid


@dataclass(frozen=True)
class Customer:
    """A tenant who pays. `tenant` is the name that tokens carry."""

    tenant: str
    name: str
    created_at: datetime
    version: int = 1


@dataclass(frozen=True)
class Price:
    """`price_per` units cost `amount`; unit is `key-bits` or `pairs`. `unit_price` is exact."""

    unit: str
    price_per: Decimal
    amount: Decimal

    @property
    def unit_price(self) -> Decimal:
        return unit_price(self.amount, self.price_per)


@dataclass(frozen=True)
class Plan:
    """Prices in one currency and a fee for each month begun."""

    name: str
    currency: str
    prices: tuple[Price, ...]
    monthly_fee: Decimal
    created_at: datetime
    version: int = 1

    def price_of(self, unit: str) -> Price | None:
        return next((price for price in self.prices if price.unit == unit), None)

    def check(self) -> None:
        """Raises Invalid, pointing into the body, for what cannot be billed exactly."""
        if decimals_of(self.monthly_fee) > minor_digits(self.currency):
            raise Invalid(f"a fee in {self.currency} is billed in whole minor units", where="/monthly_fee")
        seen: set[str] = set()
        for place, price in enumerate(self.prices):
            if price.unit in seen:
                raise Invalid(f"{price.unit} is priced twice", where=f"/prices/{place}/unit")
            seen.add(price.unit)
            try:
                unit_price(price.amount, price.price_per)
            except Invalid as error:
                raise Invalid(error.detail, where=f"/prices/{place}{error.where}") from error


@dataclass(frozen=True)
class Contract:
    """A tenant's plan and limits since `starts_at` (domain time)."""

    contract_id: str
    tenant: str
    plan: str
    starts_at: datetime
    links_limit: int
    key_rate_limit_bps: int
    created_at: datetime
    version: int = 1


@dataclass(frozen=True)
class Terms:
    """A contract with its plan: what rating and billing go by."""

    contract: Contract
    plan: Plan
