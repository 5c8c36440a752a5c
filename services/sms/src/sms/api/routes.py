"""Routes: parse, call a use case or a read, render. The rules are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import StreamingResponse

from qkit.auth import Principal, require
from qkit.database import Database
from qkit.http import (
    Idempotency,
    Page,
    PageParams,
    check_if_match,
    etag_of,
    idempotency,
    page_params,
)
from qmodel.clock import DomainClock
from qmodel.ids import new_id
from sms.api.feed import Feed
from sms.api.shapes import (
    ChangeView,
    HistoryItem,
    OrderBody,
    OrderView,
    ServiceView,
    ShownLink,
    SiteItem,
    SiteList,
    UsageView,
    show_change,
    show_history,
    show_link,
    show_order,
    show_service,
    show_usage,
)
from sms.api.streams import everything_told, note_id_of, order_told, position_of, stream
from sms.ports import Binder, Reads, Scope
from sms.usecases.intake import Intake
from sms.usecases.service import Termination
from sms.usecases.sites import Sites

Tenant = Annotated[Principal, Depends(require("tenant"))]
Viewer = Annotated[Principal, Depends(require("tenant", "operator"))]
Operator = Annotated[Principal, Depends(require("operator"))]
Anybody = Annotated[Principal, Depends(require("tenant", "operator", "billing", "auditor"))]
Paging = Annotated[PageParams, Depends(page_params)]
Once = Annotated[Idempotency, Depends(idempotency)]
IfMatch = Annotated[str | None, Header(max_length=100)]
LastEventId = Annotated[str | None, Header(max_length=100)]


@dataclass(frozen=True)
class Doors:
    """What the routes need. `db` is the api role's pool, `store` binds units to its transactions."""

    db: Database
    store: Binder
    reads: Reads
    intake: Intake
    termination: Termination
    sites: Sites
    feed: Feed
    clock: DomainClock


def router(doors: Doors) -> APIRouter:
    routes = APIRouter()
    routes.include_router(_orders(doors))
    routes.include_router(_services(doors))
    routes.include_router(_links(doors))
    routes.include_router(_network(doors))
    return routes


def _scope(principal: Principal) -> Scope:
    return Scope(None if principal.has("operator") else principal.tenant_or_forbidden())


def _expects(if_match: str | None) -> Callable[[int], None]:
    return lambda version: check_if_match(if_match, version)


def _orders(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["orders"])

    @routes.post("/orders", status_code=202, response_model=OrderView)
    async def place_order(body: OrderBody, principal: Tenant, once: Once) -> Response:
        """Order a service. It is carried on in the background: follow its progress."""
        tenant = principal.tenant_or_forbidden()
        ask = await doors.intake.check(body.ask())
        order_id = new_id("ord")
        async with doors.db.transaction(tenant=tenant) as conn:
            unit = doors.store.on(conn)

            async def make() -> OrderView:
                return show_order(await doors.intake.receive(unit, order_id, tenant, ask, body.name), [])

            headers = {"Location": f"/api/v1/orders/{order_id}", "ETag": etag_of(1)}
            return await once.answer(conn, make, status=202, headers=headers)

    @routes.get("/orders")
    async def list_orders(principal: Viewer, page: Paging) -> Page[OrderView]:
        after = page.after(str)
        found = await doors.reads.orders(_scope(principal), after[0] if after else None, page.limit + 1)
        shown = [show_order(order, notes) for order, notes in found]
        return Page.of(shown, page, key=lambda item: (item.id,))

    @routes.get("/orders/{order_id}")
    async def get_order(order_id: str, principal: Viewer, response: Response) -> OrderView:
        order, notes = await doors.reads.order(_scope(principal), order_id)
        response.headers["ETag"] = etag_of(order.version)
        return show_order(order, notes)

    @routes.get("/orders/{order_id}/events", response_class=StreamingResponse)
    async def follow_order(
        order_id: str, principal: Viewer, last_event_id: LastEventId = None
    ) -> StreamingResponse:
        """Server-sent events: `progress` with one entry each, `state` whenever it changes; ends with the
        order's final state."""
        scope = _scope(principal)
        await doors.reads.order_news(scope, order_id, 0, 1)
        told = order_told(doors.reads, doors.feed, scope, order_id, note_id_of(last_event_id))
        return stream(doors.feed, told)

    @routes.delete("/orders/{order_id}", status_code=202)
    async def cancel_order(
        order_id: str, principal: Tenant, response: Response, if_match: IfMatch = None
    ) -> OrderView:
        """Call an order off; what was done for it is undone."""
        async with doors.db.transaction(tenant=principal.tenant_or_forbidden()) as conn:
            order = await doors.intake.cancel(doors.store.on(conn), order_id, _expects(if_match))
        doors.feed.changed()
        response.headers["ETag"] = etag_of(order.version)
        return show_order(order, [])

    return routes


def _services(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["services"])

    @routes.get("/services")
    async def list_services(principal: Viewer, page: Paging) -> Page[ServiceView]:
        after = page.after(str)
        found = await doors.reads.services(_scope(principal), after[0] if after else None, page.limit + 1)
        shown = [show_service(service, links, doors.clock.now()) for service, links in found]
        return Page.of(shown, page, key=lambda item: (item.id,))

    @routes.get("/services/{service_id}")
    async def get_service(service_id: str, principal: Viewer, response: Response) -> ServiceView:
        service, links = await doors.reads.service(_scope(principal), service_id)
        response.headers["ETag"] = etag_of(service.version)
        return show_service(service, links, doors.clock.now())

    @routes.delete("/services/{service_id}", status_code=202)
    async def terminate_service(
        service_id: str, principal: Tenant, response: Response, if_match: IfMatch = None
    ) -> ServiceView:
        """Take a service down; asked again, nothing more happens."""
        tenant = principal.tenant_or_forbidden()
        async with doors.db.transaction(tenant=tenant) as conn:
            unit = doors.store.on(conn)
            service = await doors.termination.ask(unit, service_id, _expects(if_match))
        doors.feed.changed()
        response.headers["ETag"] = etag_of(service.version)
        _, links = await doors.reads.service(Scope(tenant), service_id)
        return show_service(service, links, doors.clock.now())

    @routes.get("/services/{service_id}/links")
    async def links_of_service(service_id: str, principal: Viewer, page: Paging) -> Page[ShownLink]:
        return await _page_of_links(doors, _scope(principal), service_id, page)

    @routes.get("/services/{service_id}/history")
    async def history_of_service(service_id: str, principal: Viewer, page: Paging) -> Page[HistoryItem]:
        """How the service fared, oldest first: its states with their reasons, and its removal."""
        after = page.after(int)
        since = after[0] if after else 0
        found = await doors.reads.history(_scope(principal), service_id, since, page.limit + 1)
        shown = [show_history(note_id, note) for note_id, note in found]
        return Page.of(shown, page, key=lambda item: (item.id,))

    @routes.get("/services/{service_id}/usage")
    async def usage_of_service(service_id: str, principal: Viewer) -> UsageView:
        return show_usage(service_id, await doors.reads.usage(_scope(principal), service_id))

    return routes


def _links(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["links"])

    @routes.get("/links")
    async def list_links(principal: Viewer, page: Paging) -> Page[ShownLink]:
        return await _page_of_links(doors, _scope(principal), None, page)

    @routes.get("/links/{link_id}")
    async def get_link(link_id: str, principal: Viewer, response: Response) -> ShownLink:
        view = await doors.reads.link(_scope(principal), link_id)
        response.headers["ETag"] = etag_of(view.link.version)
        return show_link(view)

    return routes


def _network(doors: Doors) -> APIRouter:
    routes = APIRouter(tags=["network"])

    @routes.get("/sites")
    async def list_sites(principal: Anybody) -> SiteList:
        """Where services can end, and which operator is there."""
        await doors.sites.refresh(doors.sites.ttl_s)
        places = doors.sites.all()
        return SiteList(items=[SiteItem(site=place.site, operator=place.operator) for place in places])

    @routes.get("/changes/{change_id}")
    async def get_change(change_id: str, principal: Operator) -> ChangeView:
        """How a network-wide commit went, by operator, EMS and element."""
        return show_change(await doors.reads.change(change_id))

    @routes.get("/events", response_class=StreamingResponse)
    async def follow_everything(principal: Viewer, last_event_id: LastEventId = None) -> StreamingResponse:
        """Server-sent events of what is told about orders, services and links, from now on or after
        `Last-Event-ID`."""
        since = position_of(last_event_id) if last_event_id else await doors.reads.journal_end()
        told = everything_told(doors.reads, doors.feed, _scope(principal), since)
        return stream(doors.feed, told)

    return routes


async def _page_of_links(
    doors: Doors, scope: Scope, service_id: str | None, page: PageParams
) -> Page[ShownLink]:
    after = page.after(str)
    found = await doors.reads.links(scope, service_id, after[0] if after else None, page.limit + 1)
    return Page.of([show_link(view) for view in found], page, key=lambda item: (item.id,))
