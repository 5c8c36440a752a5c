"""Database rows to the use cases' values and back. Called by the store only; no SQL here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from pydantic import BaseModel

from nms.domain.plan import Kind, Move, Plan, PlanState
from nms.ports import LinkAlarmRow, LinkRow, TopologyRow
from qmodel.contracts.ems import Alarm, PerceivedSeverity
from qmodel.links import LinkRequest, LinkState, Placement
from qmodel.topology import Topology

Row = dict[str, Any]


def json_of(model: BaseModel | None) -> Any:
    return None if model is None else model.model_dump(mode="json")


def topology_of(row: Row) -> TopologyRow:
    document = Topology.model_validate(row["document"])
    return TopologyRow(row["revision"], document, row["imported_by"], row["imported_at"])


def plan_of(row: Row) -> Plan:
    return Plan(
        change_id=row["change_id"],
        kind=Kind(row["kind"]),
        who=row["who"],
        why=row["why"],
        moves=tuple(_move_of(move) for move in row["moves"]),
        expires_at=row["expires_at"],
        elements=tuple(row["elements"]),
        state=PlanState(row["state"]),
        problem=row["problem"],
    )


def _move_of(row: Row) -> Move:
    old, new = row["old"], row["new"]
    return Move(
        link_id=row["link_id"],
        request=LinkRequest.model_validate(row["request"]),
        old=None if old is None else Placement.model_validate(old),
        new=None if new is None else Placement.model_validate(new),
    )


def plan_row(plan: Plan) -> Row:
    moves = [
        {
            "link_id": move.link_id,
            "request": json_of(move.request),
            "old": json_of(move.old),
            "new": json_of(move.new),
        }
        for move in plan.moves
    ]
    return {
        "change_id": plan.change_id,
        "kind": plan.kind.value,
        "who": plan.who,
        "why": plan.why,
        "moves": Jsonb(moves),
        "elements": list(plan.elements),
        "expires_at": plan.expires_at,
    }


def link_of(row: Row) -> LinkRow:
    return LinkRow(
        link_id=row["link_id"],
        state=LinkState(row["state"]),
        request=LinkRequest.model_validate(row["request"]),
        placement=Placement.model_validate(row["placement"]),
        in_force=row["in_force"],
        since=row["since"],
        parts=tuple(row["parts"]),
        change_id=row["change_id"],
        reason=row["reason"],
        expected_in_s=row["expected_in_s"],
        committed_at=row["committed_at"],
        version=row["version"],
    )


def link_row(link: LinkRow) -> Row:
    return {
        "link_id": link.link_id,
        "state": link.state.value,
        "request": Jsonb(json_of(link.request)),
        "placement": Jsonb(json_of(link.placement)),
        "in_force": link.in_force,
        "parts": list(link.parts),
        "change_id": link.change_id,
        "reason": link.reason[:2000],
        "expected_in_s": link.expected_in_s,
        "since": link.since,
        "committed_at": link.committed_at,
        "version": link.version,
    }


def alarm_of(row: Row) -> Alarm:
    return Alarm(
        element=row["element"],
        resource=row["resource"],
        alarm_type=row["alarm_type"],
        severity=PerceivedSeverity(row["severity"]),
        text=row["text"],
        raised_at=row["raised_at"],
    )


def alarm_row(ems: str, alarm: Alarm, heard_at: datetime) -> Row:
    return {
        "ems": ems,
        "element": alarm.element,
        "resource": alarm.resource,
        "alarm_type": alarm.alarm_type,
        "severity": alarm.severity.value,
        "text": alarm.text,
        "raised_at": alarm.raised_at,
        "heard_at": heard_at,
    }


def link_alarm_of(row: Row) -> LinkAlarmRow:
    return LinkAlarmRow(row["link_id"], row["severity"], row["root_cause"], row["text"], row["raised_at"])


def jsonb_list(models: Sequence[BaseModel]) -> Jsonb:
    return Jsonb([json_of(model) for model in models])
