"""What follows when anything about a service's links is heard: links, service and order move along.

Called with the order locked, by the commit that has gone through and by `services` when an operator has
reported. It writes everything that changed, tells people and the BMS, and never asks anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from qmodel.clock import DomainClock
from qmodel.contracts.sms import ServiceState, ServiceStateChanged
from qmodel.links import LinkState, Placement
from sms.domain import link as links_
from sms.domain.figures import figures_of
from sms.domain.link import Link
from sms.domain.note import Note, Topic, why_text
from sms.domain.order import Order, OrderState, advance
from sms.domain.service import Service, follow, health_of
from sms.ports import Unit


@dataclass(frozen=True)
class Family:
    """An order with what was made from it."""

    order: Order
    service: Service
    links: list[Link]


def real_now(clock: DomainClock) -> datetime:
    return datetime.fromtimestamp(clock.real_now_s(), UTC)


async def load_family(unit: Unit, service_id: str) -> Family | None:
    """Order (locked), service and links; None if the service is not there (any more)."""
    found = await unit.service(service_id)
    order = await unit.order(found.order_id, lock=True) if found else None
    if found is None or order is None:
        return None
    service = await unit.service(service_id)  # again, now that nobody else changes it
    if service is None:
        return None
    return Family(order, service, await unit.links(service_id))


async def move_along(unit: Unit, family: Family, before: ServiceState, clock: DomainClock) -> Family:
    """Derive everything anew, save what changed and tell about it. `before` is the state of the service that
    was told last. Returns the family as it is now."""
    links = [_derived(link, family.service.state) for link in family.links]
    changed = [new for new, old in zip(links, family.links, strict=True) if new is not old]
    await unit.save_links(changed)
    service = follow(family.service, health_of(links), clock.now())
    order = family.order
    if service.state is ServiceState.ACTIVE and order.state is OrderState.STABILIZING and not order.ending:
        order = advance(order, OrderState.COMPLETED)
        await unit.save_order(order)
    if service is not family.service or before is not service.state:
        await unit.save_service(service)
    await _tell(unit, Family(order, service, changed), family, before, clock)
    return Family(order, service, links)


def state_changed(service: Service, clock: DomainClock) -> ServiceStateChanged:
    return ServiceStateChanged(
        tenant=service.tenant,
        service_id=service.service_id,
        order_id=service.order_id,
        kind=service.kind.value,
        state=service.state,
        security_level=service.security_level,
        at=clock.now(),
        reason=service.reason,
    )


def service_note(service: Service, step: str, text: str, clock: DomainClock, **data: Any) -> Note:
    return Note(
        topic=Topic.SERVICE,
        step=step,
        text=text,
        at=real_now(clock),
        tenant=service.tenant,
        order_id=service.order_id,
        service_id=service.service_id,
        data={"state": service.state.value, "reason": service.reason, **data},
    )


def order_note(order: Order, step: str, text: str, clock: DomainClock, **data: Any) -> Note:
    return Note(
        topic=Topic.ORDER,
        step=step,
        text=text,
        at=real_now(clock),
        tenant=order.tenant,
        order_id=order.order_id,
        service_id=order.service_id,
        data=data,
    )


def placed_anew(links: Sequence[Link], placements: Sequence[Placement]) -> list[Link]:
    """The links with these placements of their segments, and what they give end to end."""
    found = {(placement.link_id, placement.operator): placement for placement in placements}
    placed = []
    for link in links:
        segments = tuple(
            replace(segment, placed=found.get((link.link_id, segment.operator), segment.placed))
            for segment in link.segments
        )
        placed.append(_derived(replace(link, segments=segments), ServiceState.PROVISIONING))
    return placed


def _derived(link: Link, service: ServiceState) -> Link:
    figures = figures_of(link) or link.figures
    return links_.derived(link, service, figures, why_text(link) or link.why)


async def _tell(unit: Unit, now: Family, was: Family, before: ServiceState, clock: DomainClock) -> None:
    """`now.links` are only the changed ones."""
    old = {link.link_id: link for link in was.links}
    notes = [
        _link_note(link, now.service, clock)
        for link in now.links
        if (link.state, link.cause) != (old[link.link_id].state, old[link.link_id].cause)
    ]
    if now.service.state is not before:
        notes.append(service_note(now.service, now.service.state.value, _service_text(now.service), clock))
        await unit.emit(state_changed(now.service, clock))
    if now.order.state is not was.order.state:
        text = f"The service is active: all {len(was.links)} links are up."
        notes.append(order_note(now.order, "active", text, clock))
    await unit.note(*notes)


def _link_note(link: Link, service: Service, clock: DomainClock) -> Note:
    disruption = link.disruption
    text = f"{link.a} – {link.b} is {link.state.value}" + (f": {link.cause}" if link.cause else "")
    if link.state is LinkState.STABILIZING and link.expected_up_at is not None:
        wait_s = max(0.0, (link.expected_up_at - clock.now()).total_seconds())
        text += f" (expected up in {wait_s:.0f} s of domain time)"
    data: dict[str, Any] = {
        "a": link.a,
        "b": link.b,
        "state": link.state.value,
        "cause": link.cause,
        "paths": {p.operator: list(p.nodes) for p in link.placements},
    }
    if disruption is not None:
        data["alarm"] = {
            "severity": disruption.severity.value,
            "text": disruption.text,
            "root_cause": disruption.root_cause,
            "at": disruption.at.isoformat(),
        }
    note = service_note(service, link.state.value, text, clock)
    return replace(note, topic=Topic.LINK, link_id=link.link_id, data=data)


def _service_text(service: Service) -> str:
    name = service.name or service.service_id
    return f"Service {name} is {service.state.value}" + (f": {service.reason}" if service.reason else "")


def texts(lines: Sequence[str]) -> str:
    return " ".join(line if line.endswith(".") else line + "." for line in lines)
