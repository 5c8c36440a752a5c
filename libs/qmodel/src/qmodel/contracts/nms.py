"""What others may see of an NMS: its sites and borders, placement, and events about its links."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from qmodel.contracts import Body, Done, Event, Request
from qmodel.contracts.ems import PerceivedSeverity
from qmodel.ids import Id, Name
from qmodel.links import BorderOffer, LinkRequest, LinkState, Placement
from qmodel.security import SecurityLevel


class SiteView(Body):
    site: str
    node: Name
    clearance: SecurityLevel


class DescribeReply(Body):
    operator: Name
    revision: int = Field(description="of the topology; changes when it is imported again")
    sites: tuple[SiteView, ...]
    borders: tuple[Name, ...] = Field(description="nodes shared with other operators, ours and theirs")


class Describe(Request[DescribeReply]):
    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "describe"
    reply: ClassVar[type[DescribeReply]] = DescribeReply


class OfferReply(Body):
    offers: tuple[BorderOffer, ...]


class OfferBorders(Request[OfferReply]):
    """What can be had from `node` to each border, under this level; nothing is held."""

    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "offer"
    reply: ClassVar[type[OfferReply]] = OfferReply

    node: Name
    security_level: SecurityLevel
    max_latency_s: float


class PlaceReply(Body):
    placements: tuple[Placement, ...]


class PlaceLinks(Request[PlaceReply]):
    """Place all of `links` or none, and hold their capacity under `change_id`.

    Raises Infeasible with `facts["refusals"]` (list of `links.Refusal`); NotFound for an unknown node."""

    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "place"
    reply: ClassVar[type[PlaceReply]] = PlaceReply

    change_id: Id
    links: tuple[LinkRequest, ...]


class RemoveReply(Body):
    elements: tuple[Name, ...]


class RemoveLinks(Request[RemoveReply]):
    """Hold the removal of `link_ids` under `change_id`; the commit carries it out."""

    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "remove"
    reply: ClassVar[type[RemoveReply]] = RemoveReply

    change_id: Id
    link_ids: tuple[Id, ...]


class DropChange(Request[Done]):
    """Forget what is held under `change_id` and give its capacity back. No effect once committed."""

    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "drop"
    reply: ClassVar[type[Done]] = Done

    change_id: Id


class LinkStateChanged(Event):
    """A link (this operator's part of it) changed state. `at` is domain time."""

    service: ClassVar[str] = "nms"
    topic: ClassVar[str] = "link"

    operator: Name
    link_id: Id
    state: LinkState
    at: datetime
    reason: str = ""
    expected_in_s: float = 0.0
    placement: Placement | None = Field(default=None, description="when it was placed anew")


class LinkAlarm(Event):
    """One alarm per disrupted link, naming its root cause; severity `cleared` ends it."""

    service: ClassVar[str] = "nms"
    topic: ClassVar[str] = "link-alarm"

    operator: Name
    link_id: Id
    severity: PerceivedSeverity
    text: str
    root_cause: str
    at: datetime


class LinkUsage(Event):
    """Usage of one link as its metered element counted it. `usage_id` is the same for the same span."""

    service: ClassVar[str] = "nms"
    topic: ClassVar[str] = "link-usage"

    operator: Name
    link_id: Id
    usage_id: Id
    unit: str
    quantity: int = Field(ge=0)
    period_start: datetime
    period_end: datetime
