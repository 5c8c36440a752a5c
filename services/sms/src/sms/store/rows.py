"""Rows of the database as the domain's objects, and back. Used by the other modules of `store` only."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.sms import ServiceState
from qmodel.links import LinkRequest, LinkState, Placement
from sms.domain.ask import OrderKind, from_json, to_json
from sms.domain.link import Disruption, Figures, Heard, Link, Segment
from sms.domain.note import Note, Topic
from sms.domain.order import Order, OrderState
from sms.domain.service import Service

Row = dict[str, Any]


def order_of(row: Row) -> Order:
    return Order(
        order_id=row["order_id"],
        tenant=row["tenant"],
        ask=from_json(row["ask"]),
        created_at=row["created_at"],
        deadline_s=row["deadline_s"],
        name=row["name"],
        state=OrderState(row["state"]),
        service_id=row["service_id"],
        attempt=row["attempt"],
        ending=None if row["ending"] is None else OrderState(row["ending"]),
        problem=row["problem"],
        version=row["version"],
    )


def order_row(order: Order) -> Row:
    return {
        "order_id": order.order_id,
        "tenant": order.tenant,
        "name": order.name,
        "kind": order.ask.kind.value,
        "ask": Jsonb(to_json(order.ask)),
        "state": order.state.value,
        "service_id": order.service_id,
        "attempt": order.attempt,
        "ending": order.ending.value if order.ending else None,
        "problem": Jsonb(order.problem) if order.problem is not None else None,
        "deadline_s": order.deadline_s,
        "created_at": order.created_at,
        "version": order.version,
    }


def service_of(row: Row) -> Service:
    return Service(
        service_id=row["service_id"],
        order_id=row["order_id"],
        tenant=row["tenant"],
        kind=OrderKind(row["kind"]),
        sites=tuple(row["sites"]),
        security_level=row["security_level"],
        created_at=row["created_at"],
        name=row["name"],
        state=ServiceState(row["state"]),
        reason=row["reason"],
        removal=row["removal"],
        ends_as=ServiceState(row["ends_as"]),
        active_since=row["active_since"],
        expected_active_at=row["expected_active_at"],
        version=row["version"],
    )


def service_row(service: Service) -> Row:
    row = asdict(service)
    row.update(
        kind=service.kind.value,
        sites=list(service.sites),
        state=service.state.value,
        ends_as=service.ends_as.value,
    )
    return row


def link_of(row: Row) -> Link:
    return Link(
        link_id=row["link_id"],
        service_id=row["service_id"],
        tenant=row["tenant"],
        a=row["a"],
        b=row["b"],
        segments=tuple(_segment_of(segment) for segment in row["segments"] or ()),
        joint=row["joint"],
        figures=None if row["figures"] is None else Figures(**row["figures"]),
        why=row["why"],
        state=LinkState(row["state"]),
        cause=row["cause"],
        usage_unit=row["usage_unit"],
        usage=int(row["usage"]),
        version=row["version"],
    )


def link_row(link: Link, place: int = 0) -> Row:
    """As JSON, for jsonb_to_recordset."""
    return {
        "link_id": link.link_id,
        "service_id": link.service_id,
        "tenant": link.tenant,
        "place": place,
        "a": link.a,
        "b": link.b,
        "joint": link.joint,
        "figures": None if link.figures is None else asdict(link.figures),
        "why": link.why,
        "state": link.state.value,
        "cause": link.cause,
        "version": link.version,
    }


def segment_rows(link: Link) -> list[Row]:
    return [
        {
            "link_id": link.link_id,
            "operator": segment.operator,
            "tenant": link.tenant,
            "request": segment.request.model_dump(mode="json"),
            "placed": None if segment.placed is None else segment.placed.model_dump(mode="json"),
        }
        for segment in link.segments
    ]


def alarm_row(alarm: Disruption) -> Row:
    return {
        "severity": alarm.severity.value,
        "text": alarm.text,
        "root_cause": alarm.root_cause,
        "at": alarm.at.isoformat(),
    }


def note_row(note: Note) -> Row:
    return {
        "tenant": note.tenant,
        "order_id": note.order_id,
        "service_id": note.service_id,
        "link_id": note.link_id,
        "topic": note.topic.value,
        "step": note.step,
        "told": note.text,
        "data": note.data,
        "at": note.at.isoformat(),
    }


def note_of(row: Row) -> Note:
    return Note(
        topic=Topic(row["topic"]),
        step=row["step"],
        text=row["told"],
        at=row["at"],
        tenant=row["tenant"],
        order_id=row["order_id"],
        service_id=row["service_id"],
        link_id=row["link_id"],
        data=row["data"],
    )


def _segment_of(row: Row) -> Segment:
    return Segment(
        operator=row["operator"],
        request=LinkRequest.model_validate(row["request"]),
        placed=_placement_of(row["placed"]),
        heard=_heard_of(row),
        alarm=_alarm_of(row["alarm"]),
    )


def _heard_of(row: Row) -> Heard | None:
    if row["state"] is None:
        return None
    return Heard(
        state=LinkState(row["state"]),
        at=_time(row["state_at"]),
        reason=row["reason"],
        expected_up_at=None if row["expected_up_at"] is None else _time(row["expected_up_at"]),
        placement=_placement_of(row["placement"]),
    )


def _placement_of(row: Row | None) -> Placement | None:
    return None if row is None else Placement.model_validate(row)


def _alarm_of(row: Row | None) -> Disruption | None:
    if row is None:
        return None
    return Disruption(PerceivedSeverity(row["severity"]), row["text"], row["root_cause"], _time(row["at"]))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
