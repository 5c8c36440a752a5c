"""The routes of an NMS's REST API: topology, links, alarms, revisions, elements, utilization, events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from nms.api.shapes import (
    AlarmView,
    ChangeView,
    ElementView,
    LinkView,
    RevisionDetail,
    RevisionView,
    TopologyImported,
    TopologyView,
    UtilizationView,
    change_view,
    element_views,
    imported,
    link_view,
    revision_detail,
    revision_view,
    utilization_view,
)
from nms.api.watching import frames
from nms.ports import Reads
from nms.usecases.topology import Topologies
from qkit.auth import Principal, require
from qkit.http import Page, PageParams, check_if_match, etag_of, page_params
from qmodel.errors import Invalid, NotFound

Operator = Annotated[Principal, Depends(require("operator"))]
Paging = Annotated[PageParams, Depends(page_params)]


def router(topologies: Topologies, reads: Reads) -> APIRouter:
    """All routes; every one needs the role operator."""
    routes = APIRouter()
    _topology_routes(routes, topologies)
    _link_routes(routes, reads)
    _change_routes(routes, reads)
    _record_routes(routes, topologies, reads)

    @routes.get("/events", response_class=StreamingResponse)
    async def watch(
        principal: Operator,
        request: Request,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        """Server-sent events: what this NMS tells, from now on or from Last-Event-ID on."""
        after = await reads.told_last() if last_event_id is None else _position(last_event_id)
        return StreamingResponse(
            frames(reads, request.is_disconnected, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    return routes


def _topology_routes(routes: APIRouter, topologies: Topologies) -> None:
    @routes.put("/topology")
    async def import_topology(
        principal: Operator,
        request: Request,
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> TopologyImported:
        """Put a declared topology in force (YAML or JSON). One that links in force do not fit is refused."""
        body = await request.body()
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"not UTF-8 at byte {error.start}", where="/") from None
        row = await topologies.import_text(
            text, principal.subject, lambda revision: check_if_match(if_match, revision)
        )
        response.headers["ETag"] = etag_of(row.revision)
        return imported(row)

    @routes.get("/topology")
    async def topology(principal: Operator, response: Response) -> TopologyView:
        row = await topologies.current()
        response.headers["ETag"] = etag_of(row.revision)
        return TopologyView(
            revision=row.revision,
            imported_by=row.imported_by,
            imported_at=row.imported_at,
            topology=row.topology,
        )


def _link_routes(routes: APIRouter, reads: Reads) -> None:
    @routes.get("/links")
    async def links(principal: Operator, page: Paging) -> Page[LinkView]:
        """Links by id; those that are over stay."""
        after = page.after(str)
        rows = await reads.links("" if after is None else after[0], page.limit + 1)
        return Page.of([link_view(row) for row in rows], page, key=lambda item: (item.id,))

    @routes.get("/links/{link_id}")
    async def link(principal: Operator, response: Response, link_id: str) -> LinkView:
        row = await reads.link(link_id)
        if row is None:
            raise NotFound(f"no link {link_id}", where="/link_id")
        response.headers["ETag"] = etag_of(row.version)
        return link_view(row)

    @routes.get("/alarms")
    async def alarms(
        principal: Operator, page: Paging, state: Literal["active", "all"] = "active"
    ) -> Page[AlarmView]:
        """Alarms of links and devices, newest first."""
        after = page.after(datetime, str)
        before = None if after is None else (after[0], after[1])
        rows = await reads.alarms(every=state == "all", before=before, limit=page.limit + 1)
        views = [AlarmView.model_validate(row) for row in rows]
        return Page.of(views, page, key=lambda item: (item.raised_at, item.id))


def _change_routes(routes: APIRouter, reads: Reads) -> None:
    @routes.get("/changes")
    async def changes(principal: Operator, page: Paging) -> Page[ChangeView]:
        """Changes of what runs, newest first, with those that are held or whose members are not known."""
        after = page.after(datetime, str)
        before = None if after is None else (after[0], after[1])
        rows = await reads.changes(before, page.limit + 1)
        views = [change_view(row) for row in rows]
        return Page.of(views, page, key=lambda item: (item.created_at, item.id))

    @routes.get("/changes/{change_id}")
    async def change(principal: Operator, change_id: str) -> ChangeView:
        row = await reads.change(change_id)
        if row is None:
            raise NotFound(f"no change {change_id}", where="/change_id")
        return change_view(row)


def _record_routes(routes: APIRouter, topologies: Topologies, reads: Reads) -> None:
    @routes.get("/revisions")
    async def revisions(principal: Operator, page: Paging) -> Page[RevisionView]:
        """Network revisions, newest first."""
        after = page.after(int)
        before = None if after is None else after[0]
        rows = await reads.revisions(before, page.limit + 1)
        return Page.of([revision_view(row) for row in rows], page, key=lambda item: (item.id,))

    @routes.get("/revisions/{revision_id}")
    async def revision(principal: Operator, revision_id: int) -> RevisionDetail:
        """With the whole target of every element concerned."""
        row = await reads.revision(revision_id)
        if row is None:
            raise NotFound(f"no network revision {revision_id}", where="/revision_id")
        return revision_detail(row)

    @routes.get("/elements")
    async def elements(principal: Operator, page: Paging) -> Page[ElementView]:
        """Elements of the topology in force, by name."""
        after = page.after(str)
        begin = "" if after is None else after[0]
        views = element_views((await topologies.current()).topology, await reads.elements())
        rest = [view for view in views if view.id > begin][: page.limit + 1]
        return Page.of(rest, page, key=lambda item: (item.id,))

    @routes.get("/utilization")
    async def utilization(principal: Operator, page: Paging) -> Page[UtilizationView]:
        """Resources of which something is taken, by name."""
        after = page.after(str)
        rows = await reads.used("" if after is None else after[0], page.limit + 1)
        return Page.of([utilization_view(row) for row in rows], page, key=lambda item: (item.id,))


def _position(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise Invalid("not one of our positions", where="Last-Event-ID") from None
    if not 0 <= number < 2**63:
        raise Invalid("not one of our positions", where="Last-Event-ID")
    return number
