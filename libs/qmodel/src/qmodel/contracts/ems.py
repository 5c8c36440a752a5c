"""What others may see of an EMS: the commit (see `contracts.commit`), and events about its elements."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from qmodel.contracts import Body, Event
from qmodel.ids import Id, Name


class PerceivedSeverity(StrEnum):
    """X.733 and RFC 8632."""

    CLEARED = "cleared"
    INDETERMINATE = "indeterminate"
    WARNING = "warning"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Alarm(Body):
    """One alarm, keyed by (resource, alarm_type) within its element. `raised_at` is domain time."""

    element: Name
    resource: str = Field(max_length=400, description="e.g. port/q1, component/laser-1, link/<id>")
    alarm_type: str = Field(max_length=100)
    severity: PerceivedSeverity
    text: str = Field(max_length=1000)
    raised_at: datetime
    root_cause: str | None = None


class AlarmChanged(Event):
    """An alarm of one element was raised, changed, or cleared (severity `cleared`)."""

    service: ClassVar[str] = "ems"
    topic: ClassVar[str] = "alarm"

    alarm: Alarm


class CircuitReadiness(Body):
    link_id: Id
    ready: bool
    reason: str = ""
    expected_in_s: float = Field(default=0.0, description="domain time until it should be ready")
    pair_rate_hz: float = 0.0
    fidelity: float | None = None


class ElementReadiness(Event):
    """Operational against intended, per link, whenever it changes."""

    service: ClassVar[str] = "ems"
    topic: ClassVar[str] = "readiness"

    element: Name
    reachable: bool
    circuits: tuple[CircuitReadiness, ...] = ()


class UsageCounted(Event):
    """What one metered endpoint released, from its own counter: the span [from_count, to_count) is counted
    once, whoever delivers this event twice. Times are domain time."""

    service: ClassVar[str] = "ems"
    topic: ClassVar[str] = "usage"

    element: Name
    link_id: Id
    unit: str = Field(description="key-bits or pairs")
    boot_id: str = Field(description="changes when the counter starts again from zero")
    from_count: int = Field(ge=0)
    to_count: int = Field(ge=0)
    period_start: datetime
    period_end: datetime


class PerformanceSample(Event):
    service: ClassVar[str] = "ems"
    topic: ClassVar[str] = "pm"

    element: Name
    at: datetime
    values: dict[str, float]


class DriftState(StrEnum):
    """How drift is: open, or how it ended."""

    OPEN = "open"
    OVERWRITTEN = "overwritten"
    IMPORTED = "imported"
    GONE = "gone"


class DriftChanged(Event):
    """A device was found to run something else than is intended, or no longer does. `difference` has lines
    that begin with `- ` (intended) or `+ ` (what runs), at most 200."""

    service: ClassVar[str] = "ems"
    topic: ClassVar[str] = "drift"

    element: Name
    state: DriftState
    found_at: datetime = Field(description="domain time")
    difference: tuple[str, ...] = Field(default=(), max_length=200)
    ended_by: str | None = None
