"""Datastores over HTTP: what is intended and what runs, their revisions, drift, and synchronization."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from ems.domain.configuration import differences
from ems.domain.drift import Comparison, Datastore, Drift, Policy, Revision
from ems.ports import RevisionStore
from ems.usecases.datastores import Datastores
from qkit.auth import Principal, require
from qkit.http import Page, PageParams, page_params
from qyang.leaves import Difference

Operator = Annotated[Principal, Depends(require("operator"))]
Paging = Annotated[PageParams, Depends(page_params)]


class LeafOut(BaseModel):
    """One leaf that differs; null where it is not there."""

    path: str
    before: str | None
    after: str | None


class ComparisonOut(BaseModel):
    """`difference` leads from what is intended to what runs."""

    element: str
    in_sync: bool
    intended_revision: int
    policy: Policy
    difference: list[LeafOut]


class SyncIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


class PolicyIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    policy: Policy


class PolicyOut(BaseModel):
    element: str
    policy: Policy


class RevisionOut(BaseModel):
    """`at` is real time."""

    name: str
    revision: int
    cause: str
    who: str
    change_id: str | None
    at: datetime


class DatastoreOut(RevisionOut):
    """`leaves` by instance path (RFC 7951), in canonical text."""

    leaves: dict[str, str]


class DifferenceOut(BaseModel):
    before: str
    after: str
    difference: list[LeafOut]


class DriftOut(BaseModel):
    """Times are domain time."""

    id: int
    element: str
    state: str
    found_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    difference: list[LeafOut]


def router(datastores: Datastores, store: RevisionStore) -> APIRouter:
    """All routes; every one needs the role operator."""
    routes = APIRouter()
    _synchronizing(routes, datastores, store)
    _reading(routes, datastores, store)
    return routes


def _synchronizing(routes: APIRouter, datastores: Datastores, store: RevisionStore) -> None:
    @routes.post("/devices/{name}/check-sync")
    async def check_sync(name: str, _: Operator) -> ComparisonOut:
        """Read the device now and compare with what is intended."""
        return _comparison(await datastores.compare(name))

    @routes.post("/devices/{name}/sync-to")
    async def sync_to(name: str, body: SyncIn, who: Operator) -> ComparisonOut:
        """Make the device run what is intended; says what was, or with `dry_run` what would be, undone."""
        return _comparison(await datastores.sync_to(name, who.subject, dry_run=body.dry_run))

    @routes.post("/devices/{name}/sync-from")
    async def sync_from(name: str, body: SyncIn, who: Operator) -> ComparisonOut:
        """Take over as intended what runs, circuits excepted; says what remains, or with `dry_run` what would
        be taken over."""
        return _comparison(await datastores.sync_from(name, who.subject, dry_run=body.dry_run))

    @routes.put("/devices/{name}/drift-policy")
    async def set_policy(name: str, body: PolicyIn, _: Operator) -> PolicyOut:
        """What is done about drift: alarm and wait, overwrite, or import."""
        await store.set_policy(name, body.policy)
        return PolicyOut(element=name, policy=body.policy)

    @routes.get("/devices/{name}/drift-policy")
    async def get_policy(name: str, _: Operator) -> PolicyOut:
        return PolicyOut(element=name, policy=await store.policy(name))


def _reading(routes: APIRouter, datastores: Datastores, store: RevisionStore) -> None:
    @routes.get("/devices/{name}/datastores/{datastore}")
    async def one(name: str, datastore: str, _: Operator) -> DatastoreOut:
        """A datastore (`intended`, `running`) as it is mirrored, or one of its revisions (`intended@3`)."""
        found = await datastores.revision(name, datastore)
        leaves = {} if found.content is None else found.content.leaves
        return DatastoreOut(**_revision(found).model_dump(), leaves=leaves)

    @routes.get("/devices/{name}/datastores/{datastore}/revisions")
    async def many(name: str, datastore: Datastore, page: Paging, _: Operator) -> Page[RevisionOut]:
        after = page.after(int)
        before = 2**31 - 1 if after is None else min(after[0], 2**31 - 1)
        items = [_revision(each) for each in await store.revisions(name, datastore, before, page.limit + 1)]
        return Page.of(items, page, key=lambda item: (item.revision,))

    @routes.get("/devices/{name}/difference")
    async def difference(
        name: str,
        _: Operator,
        before: Annotated[str, Query(max_length=40)] = "intended",
        after: Annotated[str, Query(max_length=40)] = "running",
    ) -> DifferenceOut:
        """What leads from one datastore or revision to another, leaf by leaf."""
        old, new = await datastores.revision(name, before), await datastores.revision(name, after)
        assert old.content is not None
        assert new.content is not None
        lines = [_leaf(each) for each in differences(old.content, new.content)]
        return DifferenceOut(before=_name(old), after=_name(new), difference=lines)

    @routes.get("/drifts")
    async def drifts(
        page: Paging,
        _: Operator,
        state: Literal["open", "all"] = "open",
        element: str | None = None,
    ) -> Page[DriftOut]:
        """Out-of-band changes, newest first."""
        after = page.after(int)
        before = 2**62 if after is None else after[0]
        found = await store.drifts(element, state == "all", before, page.limit + 1)
        return Page.of([_drift(each) for each in found], page, key=lambda item: (item.id,))


def _name(revision: Revision) -> str:
    return f"{revision.datastore.value}@{revision.revision}"


def _leaf(each: Difference) -> LeafOut:
    return LeafOut(path=each.path, before=each.before, after=each.after)


def _comparison(found: Comparison) -> ComparisonOut:
    return ComparisonOut(
        element=found.element,
        in_sync=not found.difference,
        intended_revision=found.revision,
        policy=found.policy,
        difference=[_leaf(each) for each in found.difference],
    )


def _revision(found: Revision) -> RevisionOut:
    return RevisionOut(
        name=_name(found),
        revision=found.revision,
        cause=found.cause.value,
        who=found.who,
        change_id=found.change_id,
        at=found.at,
    )


def _drift(found: Drift) -> DriftOut:
    return DriftOut(
        id=found.id,
        element=found.element,
        state=found.state.value,
        found_at=found.found_at,
        ended_at=found.ended_at,
        ended_by=found.ended_by,
        difference=[_leaf(each) for each in found.difference],
    )
