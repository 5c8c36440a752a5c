"""Bodies of the REST API, and how the domain's objects are shown in them. Amounts are decimal text."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from bms.domain.invoice import Invoice, Line
from bms.domain.money import PRICE_DECIMALS, text_of
from bms.domain.quota import Quota
from bms.domain.rating import Suspension
from bms.domain.terms import Contract, Customer, Plan, Price
from bms.ports import UsageView
from bms.usecases.contract import Offer
from qmodel.ids import Name

_MOST = 10**15


def _no_float(value: object) -> object:
    if isinstance(value, float | bool):
        raise ValueError('write it as text, such as "0.02": a binary fraction is not an amount')
    return value


Money = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    Field(ge=0, le=_MOST, decimal_places=PRICE_DECIMALS, allow_inf_nan=False),
]
Count = Annotated[int, Field(ge=0, le=_MOST)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomerBody(Body):
    tenant: Name
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class PriceBody(Body):
    """`price_per` units cost `amount`; the price of one unit must be a finite decimal."""

    unit: Literal["key-bits", "pairs"]
    price_per: Annotated[Money, Field(gt=0)]
    amount: Money

    def price(self) -> Price:
        return Price(self.unit, self.price_per, self.amount)


class PlanBody(Body):
    name: Name
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    prices: Annotated[list[PriceBody], Field(min_length=1, max_length=20)]
    monthly_fee: Money = Decimal(0)

    def plan(self, now: datetime) -> Plan:
        prices = tuple(sorted((price.price() for price in self.prices), key=lambda price: price.unit))
        return Plan(self.name, self.currency, prices, self.monthly_fee, now)


class QuotaBody(Body):
    """How much all orders of the tenant together may hold at once."""

    links: Count
    key_rate_bps: Count


class ContractBody(Body):
    tenant: Name
    plan: Name
    quota: QuotaBody
    starts_at: AwareDatetime | None = Field(default=None, description="domain time; now if left out")

    def offer(self) -> Offer:
        quota = self.quota
        return Offer(self.tenant, self.plan, quota.links, quota.key_rate_bps, self.starts_at)


class InvoiceBody(Body):
    tenant: Name
    until: AwareDatetime | None = Field(default=None, description="domain time; now if left out")


class CustomerView(Body):
    id: str
    tenant: str
    name: str
    created_at: datetime
    version: int


class PriceView(Body):
    unit: str
    price_per: str
    amount: str


class PlanView(Body):
    id: str
    name: str
    currency: str
    prices: list[PriceView]
    monthly_fee: str
    created_at: datetime
    version: int


class ContractView(Body):
    id: str
    tenant: str
    plan: str
    quota: QuotaBody
    starts_at: datetime
    created_at: datetime
    version: int


class QuotaView(Body):
    tenant: str
    links_used: int
    links_limit: int
    key_rate_used_bps: int
    key_rate_limit_bps: int
    version: int


class UsageItem(Body):
    """`amount` is exact and not rounded; a suspended record has none, and a `reason`."""

    usage_id: str
    tenant: str
    service_id: str
    link_id: str
    unit: str
    quantity: int
    period_start: datetime
    period_end: datetime
    state: Literal["rated", "invoiced", "suspended"]
    reason: Suspension | None
    amount: str | None
    currency: str | None
    invoice_id: str | None


class LineView(Body):
    """`unit_price` is what `price_per` units cost; the monthly fee has no service."""

    text: str
    service_id: str | None
    link_id: str | None
    unit: str
    quantity: int
    price_per: str
    unit_price: str
    amount: str


class InvoiceSummary(Body):
    id: str
    number: str
    tenant: str
    currency: str
    period_start: datetime
    period_end: datetime
    issued_at: datetime
    total: str
    state: str
    version: int


class InvoiceView(InvoiceSummary):
    """Line amounts are rounded half up to the minor unit, once; the total is their sum."""

    lines: list[LineView]


def show_customer(customer: Customer) -> CustomerView:
    return CustomerView(
        id=customer.tenant,
        tenant=customer.tenant,
        name=customer.name,
        created_at=customer.created_at,
        version=customer.version,
    )


def show_plan(plan: Plan) -> PlanView:
    return PlanView(
        id=plan.name,
        name=plan.name,
        currency=plan.currency,
        prices=[
            PriceView(unit=price.unit, price_per=text_of(price.price_per), amount=text_of(price.amount))
            for price in plan.prices
        ],
        monthly_fee=text_of(plan.monthly_fee),
        created_at=plan.created_at,
        version=plan.version,
    )


def show_contract(contract: Contract) -> ContractView:
    return ContractView(
        id=contract.contract_id,
        tenant=contract.tenant,
        plan=contract.plan,
        quota=QuotaBody(links=contract.links_limit, key_rate_bps=contract.key_rate_limit_bps),
        starts_at=contract.starts_at,
        created_at=contract.created_at,
        version=contract.version,
    )


def show_quota(quota: Quota) -> QuotaView:
    return QuotaView(
        tenant=quota.tenant,
        links_used=quota.links_used,
        links_limit=quota.links_limit,
        key_rate_used_bps=quota.key_rate_used_bps,
        key_rate_limit_bps=quota.key_rate_limit_bps,
        version=quota.version,
    )


def show_usage(view: UsageView) -> UsageItem:
    usage = view.usage
    state: Literal["rated", "invoiced", "suspended"] = "rated"
    if view.suspended is not None:
        state = "suspended"
    elif view.invoice_id is not None:
        state = "invoiced"
    return UsageItem(
        usage_id=usage.usage_id,
        tenant=usage.tenant,
        service_id=usage.service_id,
        link_id=usage.link_id,
        unit=usage.unit,
        quantity=usage.quantity,
        period_start=usage.period_start,
        period_end=usage.period_end,
        state=state,
        reason=view.suspended,
        amount=None if view.amount is None else text_of(view.amount),
        currency=view.currency,
        invoice_id=view.invoice_id,
    )


def show_summary(invoice: Invoice) -> InvoiceSummary:
    return InvoiceSummary(
        id=invoice.invoice_id,
        number=invoice.number,
        tenant=invoice.tenant,
        currency=invoice.currency,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        issued_at=invoice.issued_at,
        total=f"{invoice.total:f}",
        state=invoice.state,
        version=invoice.version,
    )


def show_invoice(invoice: Invoice) -> InvoiceView:
    lines = [show_line(line) for line in invoice.lines]
    return InvoiceView(**show_summary(invoice).model_dump(), lines=lines)


def show_line(line: Line) -> LineView:
    return LineView(
        text=line.text,
        service_id=line.service_id,
        link_id=line.link_id,
        unit=line.unit,
        quantity=line.quantity,
        price_per=text_of(line.price_per),
        unit_price=text_of(line.unit_price),
        amount=f"{line.amount:f}",
    )
