"""What was seen of a device: after a step of a commit, in its operational state, and in its notifications.

Adapters make these, use cases judge them. A step's outcome is what was read back, never what was answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ems.domain.device import Traits
from ems.domain.snapshot import Snapshot
from qcommit.device import Seen
from qmodel.contracts.ems import CircuitReadiness, PerceivedSeverity
from qmodel.errors import BellweaveError


@dataclass(frozen=True)
class Step:
    """How one step ended.

    `running` is what was read back (None when nothing could be read). `error` is the device's refusal, or
    why it could not be reached; with `TARGET` it tells what is left undone (such as saving to startup).
    `traits` is what is known of the device's behaviour after the step: store it.
    """

    seen: Seen
    traits: Traits
    running: Snapshot | None = None
    error: BellweaveError | None = None


def judge(running: Snapshot, *, before: Snapshot | None, target: Snapshot | None, hoped: Seen) -> Seen:
    """`TARGET`, `BEFORE` or `OTHER`; when before and target are alike, the one that was `hoped` for."""
    ways = [(Seen.TARGET, target), (Seen.BEFORE, before)]
    if hoped is Seen.BEFORE:
        ways.reverse()
    return next((seen for seen, snapshot in ways if snapshot == running), Seen.OTHER)


@dataclass(frozen=True)
class UsageCounter:
    """What one end of a link has released since `boot_id`; `unit` is `key-bits` or `pairs`."""

    link_id: str
    unit: str
    boot_id: str
    count: int
    metered: bool


@dataclass(frozen=True)
class ActiveAlarm:
    """An alarm as the device tells it; times on the domain clock. Severity `cleared` ends it."""

    resource: str
    alarm_type: str
    severity: PerceivedSeverity
    text: str
    at: datetime


@dataclass(frozen=True)
class Operational:
    """One reading of the operational state. `at` is the device's domain time, if it tells it.

    `ports_up` says whether each port is up; `performance` has numbers by path, such as
    `component/laser-1/temperature-c` or `port/q1/line-loss-db`.
    """

    circuits: tuple[CircuitReadiness, ...]
    counters: tuple[UsageCounter, ...]
    alarms: tuple[ActiveAlarm, ...]
    ports_up: dict[str, bool]
    performance: dict[str, float]
    at: datetime | None = None


@dataclass(frozen=True)
class ConfigChanged:
    """Somebody changed the device's configuration: session `session_id` of `user`."""

    user: str
    session_id: int | None
    datastore: str


@dataclass(frozen=True)
class EventsLost:
    """`count` notifications were dropped: whoever mirrors the device reads it again."""

    count: int


DeviceEvent = ActiveAlarm | ConfigChanged | EventsLost
