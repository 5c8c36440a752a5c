"""What others may see of the SMS: events about services and their usage."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from qmodel.contracts import Event
from qmodel.ids import Id, Name


class ServiceState(StrEnum):
    """Life of a service."""

    PLANNED = "planned"
    PROVISIONING = "provisioning"
    STABILIZING = "stabilizing"
    ACTIVE = "active"
    DEGRADED = "degraded"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


class ServiceStateChanged(Event):
    service: ClassVar[str] = "sms"
    topic: ClassVar[str] = "service"

    tenant: Name
    service_id: Id
    order_id: Id
    kind: str
    state: ServiceState
    security_level: str
    at: datetime
    reason: str = ""


class ServiceUsage(Event):
    """Billable usage of one link of a service. `usage_id` is unique for ever: bill it once."""

    service: ClassVar[str] = "sms"
    topic: ClassVar[str] = "usage"

    tenant: Name
    service_id: Id
    link_id: Id
    usage_id: Id
    unit: str = Field(description="key-bits or pairs")
    quantity: int = Field(ge=0)
    period_start: datetime
    period_end: datetime
