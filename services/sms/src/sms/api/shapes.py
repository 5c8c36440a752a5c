"""Bodies of the REST API, and how the domain's objects are shown in them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from qmodel.contracts.sms import ServiceState
from qmodel.links import LinkState, Placement
from qmodel.security import parse_level
from qmodel.topology import Pass
from sms.domain.ask import Ask, OrderKind
from sms.domain.link import Disruption, Segment
from sms.domain.note import Note
from sms.domain.order import Order, OrderState
from sms.domain.service import Service
from sms.ports import LinkView

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrderBody(Body):
    """One rate, by kind: `rate_bytes_per_s` of payload per direction for a VPN, `key_rate_bps` for keys,
    `pair_rate_hz` for entanglement."""

    kind: OrderKind
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] | None = None
    sites: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]]
    security_level: Annotated[str, StringConstraints(max_length=40)]
    max_latency_s: Amount = 1.0
    rate_bytes_per_s: Amount = 0.0
    key_rate_bps: Amount = 0.0
    pair_rate_hz: Amount = 0.0
    min_fidelity: Annotated[float, Field(allow_inf_nan=False)] | None = None

    def ask(self) -> Ask:
        """Raises Invalid for an unknown security level."""
        return Ask(
            kind=self.kind,
            sites=tuple(self.sites),
            security_level=parse_level(self.security_level),
            max_latency_s=self.max_latency_s,
            rate_bytes_per_s=self.rate_bytes_per_s,
            key_rate_bps=self.key_rate_bps,
            pair_rate_hz=self.pair_rate_hz,
            min_fidelity=self.min_fidelity,
        )


class ProgressView(Body):
    at: datetime = Field(description="real time")
    step: str
    text: str
    data: dict[str, Any]


class OrderView(Body):
    id: str
    tenant: str
    kind: OrderKind
    name: str | None
    sites: list[str]
    security_level: str
    max_latency_s: float
    rate_bytes_per_s: float | None
    key_rate_bps: float | None
    pair_rate_hz: float | None
    min_fidelity: float | None
    state: OrderState
    ending: OrderState | None = Field(description="where the order is going while it is being undone")
    service_id: str | None
    problem: dict[str, Any] | None
    created_at: datetime = Field(description="domain time")
    version: int
    progress: list[ProgressView]


class ServiceView(Body):
    id: str
    order_id: str
    tenant: str
    name: str | None
    kind: OrderKind
    sites: list[str]
    security_level: str
    state: ServiceState
    reason: str
    links: list[str]
    created_at: datetime = Field(description="domain time")
    active_since: datetime | None = Field(description="domain time")
    expected_active_in_s: float | None = Field(description="domain time")
    version: int


class HistoryItem(Body):
    """`state` and `reason` are the service's when it was told."""

    id: int
    at: datetime = Field(description="real time")
    step: str
    state: ServiceState
    reason: str
    text: str
    data: dict[str, Any]


class SegmentView(Body):
    operator: str
    state: LinkState
    reason: str
    placement: Placement | None


class AlarmView(Body):
    severity: str
    text: str
    root_cause: str
    at: datetime = Field(description="domain time")


class UsageTotal(Body):
    unit: str | None
    quantity: int


class ShownLink(Body):
    id: str
    service_id: str
    a: str
    b: str
    state: LinkState
    fidelity: float | None
    pair_rate_hz: float | None
    key_rate_bps: float | None
    latency_s: float | None
    segments: list[SegmentView]
    visibility: Pass | None
    why: str
    cause: str
    alarm: AlarmView | None
    usage_total: UsageTotal
    version: int


class LinkUsageView(Body):
    link_id: str
    a: str
    b: str
    quantity: int


class UsageView(Body):
    service_id: str
    unit: str | None
    quantity: int
    links: list[LinkUsageView]


class SiteItem(Body):
    site: str
    operator: str


class SiteList(Body):
    items: list[SiteItem]
    next: None = None


class ChangeView(Body):
    id: str
    purpose: str
    order_id: str
    service_id: str
    phase: str
    level: str
    refusal: str | None
    refused_where: str | None
    members: list[dict[str, Any]]
    timeline: list[dict[str, Any]]


def show_progress(note: Note) -> ProgressView:
    return ProgressView(at=note.at, step=note.step, text=note.text, data=note.data)


def show_order(order: Order, notes: list[Note]) -> OrderView:
    ask = order.ask
    return OrderView(
        id=order.order_id,
        tenant=order.tenant,
        kind=ask.kind,
        name=order.name,
        sites=list(ask.sites),
        security_level=ask.security_level.value,
        max_latency_s=ask.max_latency_s,
        rate_bytes_per_s=ask.rate_bytes_per_s or None,
        key_rate_bps=ask.key_rate_bps or None,
        pair_rate_hz=ask.pair_rate_hz or None,
        min_fidelity=ask.min_fidelity,
        state=order.state,
        ending=None if order.state.final else order.ending,
        service_id=order.service_id,
        problem=order.problem,
        created_at=order.created_at,
        version=order.version,
        progress=[show_progress(note) for note in notes],
    )


def show_service(service: Service, links: list[str], now: datetime) -> ServiceView:
    expected_in_s = None
    if service.expected_active_at is not None:
        expected_in_s = max(0.0, (service.expected_active_at - now).total_seconds())
    return ServiceView(
        id=service.service_id,
        order_id=service.order_id,
        tenant=service.tenant,
        name=service.name,
        kind=service.kind,
        sites=list(service.sites),
        security_level=service.security_level,
        state=service.state,
        reason=service.reason,
        links=links,
        created_at=service.created_at,
        active_since=service.active_since,
        expected_active_in_s=expected_in_s,
        version=service.version,
    )


def show_history(note_id: int, note: Note) -> HistoryItem:
    data = dict(note.data)
    state, reason = ServiceState(data.pop("state")), data.pop("reason", "")
    return HistoryItem(
        id=note_id, at=note.at, step=note.step, state=state, reason=reason, text=note.text, data=data
    )


def show_link(view: LinkView) -> ShownLink:
    link, figures = view.link, view.link.figures
    return ShownLink(
        id=link.link_id,
        service_id=link.service_id,
        a=link.a,
        b=link.b,
        state=link.state,
        fidelity=figures.fidelity if figures else None,
        pair_rate_hz=figures.pair_rate_hz if figures else None,
        key_rate_bps=figures.key_rate_bps if figures else None,
        latency_s=figures.latency_s if figures else None,
        segments=[_segment(segment, view.service) for segment in link.segments],
        visibility=link.visibility,
        why=link.why,
        cause=link.cause,
        alarm=None if link.disruption is None else _alarm(link.disruption),
        usage_total=UsageTotal(unit=link.usage_unit, quantity=link.usage),
        version=link.version,
    )


def show_usage(service_id: str, rows: list[dict[str, Any]]) -> UsageView:
    units = [row["unit"] for row in rows if row["unit"] is not None]
    return UsageView(
        service_id=service_id,
        unit=units[0] if units else None,
        quantity=sum(row["quantity"] for row in rows),
        links=[
            LinkUsageView(link_id=row["link_id"], a=row["a"], b=row["b"], quantity=row["quantity"])
            for row in rows
        ],
    )


def show_change(row: dict[str, Any]) -> ChangeView:
    return ChangeView(
        id=row["change_id"],
        purpose=row["purpose"],
        order_id=row["order_id"],
        service_id=row["service_id"],
        phase=row["phase"],
        level=row["level"],
        refusal=row["refusal"],
        refused_where=row["refused_where"],
        members=row["votes"],
        timeline=row["timeline"],
    )


def show_note(note: Note) -> dict[str, Any]:
    """For the stream of everything that is told to a tenant."""
    return {
        "topic": note.topic.value,
        "at": note.at.isoformat(),
        "step": note.step,
        "text": note.text,
        "tenant": note.tenant,
        "order_id": note.order_id,
        "service_id": note.service_id,
        "link_id": note.link_id,
        "data": note.data,
    }


def _segment(segment: Segment, service: ServiceState) -> SegmentView:
    return SegmentView(
        operator=segment.operator,
        state=segment.state(service),
        reason=segment.heard.reason if segment.heard else "",
        placement=segment.placement,
    )


def _alarm(alarm: Disruption) -> AlarmView:
    return AlarmView(severity=alarm.severity.value, text=alarm.text, root_cause=alarm.root_cause, at=alarm.at)
