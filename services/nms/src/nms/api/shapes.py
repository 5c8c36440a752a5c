"""What the REST API shows: its bodies, and how they are made from rows. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from nms.domain.usage import WHOLE_PPM
from nms.ports import LinkRow, TopologyRow
from qmodel.contracts.commit import MemberReport, Vote
from qmodel.contracts.ems import CircuitReadiness, PerceivedSeverity
from qmodel.links import LinkRequest, LinkState, Placement
from qmodel.nodeconfig import NodeConfig
from qmodel.topology import Topology


class TopologyImported(BaseModel):
    revision: int
    operator: str
    nodes: int
    quantum_links: int


class TopologyView(BaseModel):
    revision: int
    imported_by: str
    imported_at: datetime = Field(description="real time")
    topology: Topology


class LinkView(BaseModel):
    """A link of this operator, or its segment of one. `since` is domain time."""

    id: str
    a: str
    b: str
    state: LinkState
    in_force: bool
    reason: str
    expected_in_s: float
    since: datetime
    change_id: str | None
    elements: list[str] = Field(description="elements that carry circuits of it")
    request: LinkRequest
    placement: Placement
    version: int


class AlarmView(BaseModel):
    """Of a link (with its root cause) or of a device. Times are domain time."""

    id: str
    kind: str
    link_id: str | None
    element: str | None
    resource: str | None
    alarm_type: str
    severity: PerceivedSeverity
    text: str
    root_cause: str | None
    raised_at: datetime
    cleared_at: datetime | None


class ChangeView(BaseModel):
    """A change and where its commit stands. `settled` False with a final state: some member's state is not
    known, and it is carried forward. Times are real time."""

    id: str
    kind: str
    state: str
    phase: str | None
    settled: bool
    who: str
    why: str
    problem: str | None
    links: list[str]
    members: list[MemberReport]
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class RevisionView(BaseModel):
    """What the network was told to be. `at` is real time."""

    id: int
    change_id: str
    kind: str
    who: str
    why: str
    at: datetime
    elements: list[str]
    members: list[MemberReport]


class RevisionDetail(RevisionView):
    targets: dict[str, NodeConfig]


class ElementView(BaseModel):
    """`heard_at` is real time, None before its EMS has said anything."""

    id: str
    element: str
    ems: str
    node: str
    reachable: bool | None
    stale: bool = Field(description="it missed a change and will be aligned")
    heard_at: datetime | None
    readiness: list[CircuitReadiness]


class UtilizationView(BaseModel):
    id: str
    resource: str
    used_share: float = Field(ge=0, le=1)


def imported(row: TopologyRow) -> TopologyImported:
    topology = row.topology
    return TopologyImported(
        revision=row.revision,
        operator=topology.operator,
        nodes=len(topology.nodes),
        quantum_links=len(topology.quantum_links),
    )


def link_view(row: LinkRow) -> LinkView:
    return LinkView(
        id=row.link_id,
        a=row.request.a,
        b=row.request.b,
        state=row.state,
        in_force=row.in_force,
        reason=row.reason,
        expected_in_s=row.expected_in_s,
        since=row.since,
        change_id=row.change_id,
        elements=list(row.parts),
        request=row.request,
        placement=row.placement,
        version=row.version,
    )


def change_view(row: Mapping[str, Any]) -> ChangeView:
    """Members as they reported at the end; before it, as the commit's row has them."""
    members = row["report"] or [
        {"member": member["name"], "vote": member["vote"] or Vote.UNKNOWN, "detail": member["detail"]}
        for member in row["members"] or ()
    ]
    return ChangeView.model_validate(
        {
            **row,
            "id": row["change_id"],
            "settled": row["settled"] is not False,
            "links": sorted(move["link_id"] for move in row["moves"]),
            "members": members,
        }
    )


def revision_view(row: Mapping[str, Any]) -> RevisionView:
    return RevisionView.model_validate({**row, "elements": sorted(row["targets"]), "members": row["report"]})


def revision_detail(row: Mapping[str, Any]) -> RevisionDetail:
    return RevisionDetail.model_validate(
        {**row, "elements": sorted(row["targets"]), "members": row["report"]}
    )


def element_views(topology: Topology, known: Mapping[str, Mapping[str, Any]]) -> list[ElementView]:
    """Every element that the topology names as ours, by name, with what its EMS said of it."""
    views = []
    for node in topology.nodes:
        if node.element is None or node.ems is None or node.operator != topology.operator:
            continue
        row = known.get(node.element)
        views.append(
            ElementView(
                id=node.element,
                element=node.element,
                ems=node.ems,
                node=node.id,
                reachable=None if row is None else row["reachable"],
                stale=row is not None and row["stale"],
                heard_at=None if row is None else row["heard_at"],
                readiness=[] if row is None else row["circuits"],
            )
        )
    return sorted(views, key=lambda view: view.id)


def utilization_view(row: Mapping[str, Any]) -> UtilizationView:
    return UtilizationView(
        id=row["resource"], resource=row["resource"], used_share=row["used_ppm"] / WHOLE_PPM
    )
