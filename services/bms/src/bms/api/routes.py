"""Routes: parse, call a use case or a read, render. The rules are elsewhere.

Billing changes things, billing and auditor read everything, a tenant reads what is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from bms.api.exports import invoice_csv, usage_csv
from bms.api.shapes import (
    ContractBody,
    ContractView,
    CustomerBody,
    CustomerView,
    InvoiceBody,
    InvoiceSummary,
    InvoiceView,
    PlanBody,
    PlanView,
    QuotaView,
    UsageItem,
    show_contract,
    show_customer,
    show_invoice,
    show_plan,
    show_quota,
    show_summary,
    show_usage,
)
from bms.ports import Reads, Scope, Unit, UsageFilter
from bms.usecases import contract, customer, invoice, plan
from qkit.auth import Principal, require
from qkit.database import Connection, Database
from qkit.http import Idempotency, Page, PageParams, etag_of, idempotency, page_params
from qmodel.clock import DomainClock

Billing = Annotated[Principal, Depends(require("billing"))]
Reader = Annotated[Principal, Depends(require("billing", "auditor", "tenant"))]
Paging = Annotated[PageParams, Depends(page_params)]
Once = Annotated[Idempotency, Depends(idempotency)]
Made = CustomerView | PlanView | ContractView


@dataclass(frozen=True)
class Doors:
    """What the routes need: `db` is the worker role's pool and `bind` makes a unit of its transactions;
    `reads` is all that anybody but billing gets."""

    db: Database
    bind: Callable[[Connection], Unit]
    reads: Reads
    clock: DomainClock


def router(doors: Doors) -> APIRouter:
    routes = APIRouter()
    for part in (_customers, _plans, _contracts, _usage, _invoices):
        routes.include_router(part(doors))
    return routes


def _scope(principal: Principal) -> Scope:
    if principal.has("billing") or principal.has("auditor"):
        return Scope(None)
    return Scope(principal.tenant_or_forbidden())


def _after(page: PageParams) -> str | None:
    found = page.after(str)
    return None if found is None else found[0]


async def _made(once: Idempotency, conn: Connection, path: str, view: Made, fresh: bool) -> Response:
    """201 for what is new, 200 for what was there already; with an Idempotency-Key the first answer again."""

    async def make() -> Made:
        return view

    headers = {"Location": f"/api/v1/{path}/{view.id}", "ETag": etag_of(view.version)}
    return await once.answer(conn, make, status=201 if fresh else 200, headers=headers)


_AGAIN: dict[int | str, dict[str, Any]] = {200: {"description": "It was there already, and is the same"}}


def _customers(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["customers"])

    @routes.post("/customers", status_code=201, response_model=CustomerView, responses=_AGAIN)
    async def enter_customer(body: CustomerBody, principal: Billing, once: Once) -> Response:
        """Enter a tenant as a customer, once."""
        async with doors.db.transaction() as conn:
            unit = doors.bind(conn)
            found, fresh = await customer.enter(unit, body.tenant, body.name, doors.clock.now())
            return await _made(once, conn, "customers", show_customer(found), fresh)

    @routes.get("/customers")
    async def list_customers(principal: Reader, page: Paging) -> Page[CustomerView]:
        found = await doors.reads.customers(_scope(principal), _after(page), page.limit + 1)
        return Page.of([show_customer(one) for one in found], page, key=lambda item: (item.id,))

    @routes.get("/customers/{tenant}")
    async def get_customer(tenant: str, principal: Reader, response: Response) -> CustomerView:
        found = await doors.reads.customer(_scope(principal), tenant)
        response.headers["ETag"] = etag_of(found.version)
        return show_customer(found)

    @routes.get("/quota/{tenant}")
    async def get_quota(tenant: str, principal: Reader, response: Response) -> QuotaView:
        """What the tenant's orders hold now, and how much they may."""
        found = await doors.reads.quota(_scope(principal), tenant)
        response.headers["ETag"] = etag_of(found.version)
        return show_quota(found)

    return routes


def _plans(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["plans"])

    @routes.post("/plans", status_code=201, response_model=PlanView, responses=_AGAIN)
    async def publish_plan(body: PlanBody, principal: Billing, once: Once) -> Response:
        """Publish prices under a name, once; other prices take another name."""
        async with doors.db.transaction() as conn:
            found, fresh = await plan.publish(doors.bind(conn), body.plan(doors.clock.now()))
            return await _made(once, conn, "plans", show_plan(found), fresh)

    @routes.get("/plans")
    async def list_plans(principal: Reader, page: Paging) -> Page[PlanView]:
        found = await doors.reads.plans(_scope(principal), _after(page), page.limit + 1)
        return Page.of([show_plan(one) for one in found], page, key=lambda item: (item.id,))

    @routes.get("/plans/{name}")
    async def get_plan(name: str, principal: Reader, response: Response) -> PlanView:
        found = await doors.reads.plan(_scope(principal), name)
        response.headers["ETag"] = etag_of(found.version)
        return show_plan(found)

    return routes


def _contracts(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["contracts"])

    @routes.post("/contracts", status_code=201, response_model=ContractView, responses=_AGAIN)
    async def sign_contract(body: ContractBody, principal: Billing, once: Once) -> Response:
        """Sign a customer up to a plan, with a quota: from then on it may order."""
        async with doors.db.transaction() as conn:
            found, fresh = await contract.sign(doors.bind(conn), body.offer(), doors.clock.now())
            return await _made(once, conn, "contracts", show_contract(found), fresh)

    @routes.get("/contracts")
    async def list_contracts(principal: Reader, page: Paging) -> Page[ContractView]:
        found = await doors.reads.contracts(_scope(principal), _after(page), page.limit + 1)
        return Page.of([show_contract(one) for one in found], page, key=lambda item: (item.id,))

    @routes.get("/contracts/{contract_id}")
    async def get_contract(contract_id: str, principal: Reader, response: Response) -> ContractView:
        found = await doors.reads.contract(_scope(principal), contract_id)
        response.headers["ETag"] = etag_of(found.version)
        return show_contract(found)

    return routes


def _chosen(
    tenant: Annotated[str | None, Query(max_length=63)] = None,
    service_id: Annotated[str | None, Query(max_length=80)] = None,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="domain time, included")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="domain time, not included")] = None,
    suspended: Annotated[bool | None, Query(description="only those without a charge, or with one")] = None,
) -> UsageFilter:
    """Records by the time at which their period begins."""
    return UsageFilter(tenant, service_id, start, end, suspended)


Chosen = Annotated[UsageFilter, Depends(_chosen)]


def _usage(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["usage"])

    @routes.get("/usage")
    async def list_usage(principal: Reader, chosen: Chosen, page: Paging) -> Page[UsageItem]:
        """Usage records, newest first, each with its exact charge or why it has none yet."""
        found = await doors.reads.usage(_scope(principal), chosen, _period_after(page), page.limit + 1)
        shown = [show_usage(view) for view in found]
        return Page.of(shown, page, key=lambda item: (item.period_start, item.usage_id))

    @routes.get("/usage.csv", response_class=StreamingResponse)
    async def export_usage(principal: Reader, chosen: Chosen) -> StreamingResponse:
        """The same records as CSV, all of them, oldest first."""
        return usage_csv(doors.reads.all_usage(_scope(principal), chosen))

    return routes


def _period_after(page: PageParams) -> tuple[datetime, str] | None:
    found = page.after(datetime, str)
    return None if found is None else (found[0], found[1])


def _invoices(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["invoices"])

    @routes.post("/invoices", status_code=201, response_model=InvoiceView)
    async def issue_invoice(body: InvoiceBody, principal: Billing, once: Once) -> Response:
        """Close what was used and rated until now (or `until`) into an invoice, which never changes."""
        async with doors.db.transaction() as conn:

            async def make() -> InvoiceView:
                unit = doors.bind(conn)
                return show_invoice(await invoice.issue(unit, body.tenant, body.until, doors.clock.now()))

            return await once.answer(conn, make, status=201, headers=_headers_of)

    @routes.get("/invoices")
    async def list_invoices(
        principal: Reader, page: Paging, tenant: Annotated[str | None, Query(max_length=63)] = None
    ) -> Page[InvoiceSummary]:
        found = await doors.reads.invoices(_scope(principal), tenant, _after(page), page.limit + 1)
        return Page.of([show_summary(one) for one in found], page, key=lambda item: (item.id,))

    @routes.get("/invoices/{invoice_id}.csv", response_class=StreamingResponse)
    async def export_invoice(invoice_id: str, principal: Reader) -> StreamingResponse:
        """The invoice's lines as CSV."""
        return invoice_csv(show_invoice(await doors.reads.invoice(_scope(principal), invoice_id)))

    @routes.get("/invoices/{invoice_id}")
    async def get_invoice(invoice_id: str, principal: Reader, response: Response) -> InvoiceView:
        found = await doors.reads.invoice(_scope(principal), invoice_id)
        response.headers["ETag"] = etag_of(found.version)
        return show_invoice(found)

    return routes


def _headers_of(body: Any) -> dict[str, str]:
    return {"Location": f"/api/v1/invoices/{body.id}", "ETag": etag_of(body.version)}
