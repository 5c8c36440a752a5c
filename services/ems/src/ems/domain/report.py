"""What is new in a reading of a device, against what was told before: readiness, usage, alarms.

Pure. The store reads `Told`, asks one of these functions, writes the `Report` and emits its events, all in
one transaction, so that nothing is told twice and no counted bit is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ems.domain.observation import ActiveAlarm, Operational, UsageCounter
from qmodel.contracts.ems import CircuitReadiness, ElementReadiness, PerceivedSeverity, UsageCounted
from qyang.leaves import Difference

_FIDELITY_STEP = 0.01
HEARTBEAT = ("element", "heartbeat-lost")
QUARANTINE = ("element", "quarantined")
DRIFT = ("configuration", "drift")
_OURS = {QUARANTINE, DRIFT}
"""Raised and cleared by changes and checks, whatever a reading of the device says."""


@dataclass(frozen=True)
class Told:
    """What was last told of an element. `marks` are (link, boot id) → (counted so far, domain time), `alarms`
    the active ones, (resource, type) → (severity, text)."""

    reachable: bool | None = None
    circuits: tuple[CircuitReadiness, ...] = ()
    marks: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)
    alarms: dict[tuple[str, str], tuple[PerceivedSeverity, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What is to be stored and told. Empty parts mean: nothing new."""

    at: datetime
    readiness: ElementReadiness | None = None
    usage: tuple[UsageCounted, ...] = ()
    alarms: tuple[ActiveAlarm, ...] = ()
    performance: dict[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.readiness or self.usage or self.alarms or self.performance)


def of_reading(
    element: str,
    told: Told,
    seen: Operational,
    at: datetime,
    since: datetime,
    *,
    with_alarms: bool,
    with_samples: bool,
) -> Report:
    """What a reading adds. `since` is when the one before was taken: a counter that is new began after it.
    `with_alarms` False leaves alarms alone (a notification overtook the reading);
    `with_samples` False leaves out performance values."""
    usage, anomalies = _usage(element, told, seen.counters, at, since)
    alarms = tuple(_alarms(told, (*seen.alarms, *anomalies), at)) if with_alarms else ()
    readiness = None
    if told.reachable is not True or _differs(told.circuits, seen.circuits):
        readiness = ElementReadiness(element=element, reachable=True, circuits=seen.circuits)
    return Report(at, readiness, usage, alarms, seen.performance if with_samples else {})


def of_silence(element: str, told: Told, reason: str, at: datetime) -> Report:
    """What it means that a device does not answer: what it does is unknown, not stopped."""
    if told.reachable is False:
        return Report(at)
    alarm = ActiveAlarm(*HEARTBEAT, PerceivedSeverity.MAJOR, f"no answer: {reason}", at)
    readiness = ElementReadiness(element=element, reachable=False, circuits=told.circuits)
    return Report(at, readiness, alarms=(alarm,))


def of_alarm(alarm: ActiveAlarm, at: datetime) -> Report:
    return Report(at, alarms=(alarm,))


def quarantine_alarm(problem: str | None, at: datetime) -> ActiveAlarm:
    """That a change left the device in an unknown state; its end with `problem` None."""
    severity = PerceivedSeverity.CLEARED if problem is None else PerceivedSeverity.MAJOR
    return ActiveAlarm(*QUARANTINE, severity, problem or "", at)


def drift_alarm(difference: Sequence[Difference], at: datetime) -> ActiveAlarm:
    """That what runs is not what is intended; its end with an empty difference."""
    if not difference:
        return ActiveAlarm(*DRIFT, PerceivedSeverity.CLEARED, "", at)
    first, more = difference[0], len(difference) - 1
    text = f"changed beside the management: {'; '.join(first.lines)}" + (f" and {more} more" if more else "")
    return ActiveAlarm(*DRIFT, PerceivedSeverity.WARNING, text[:1000], at)


def _differs(before: Iterable[CircuitReadiness], now: Iterable[CircuitReadiness]) -> bool:
    old, new = {c.link_id: c for c in before}, {c.link_id: c for c in now}
    return old.keys() != new.keys() or any(
        (old[link].ready, old[link].reason) != (new[link].ready, new[link].reason)
        or abs((old[link].fidelity or 0.0) - (new[link].fidelity or 0.0)) > _FIDELITY_STEP
        for link in new
    )


def _usage(
    element: str, told: Told, counters: Iterable[UsageCounter], at: datetime, since: datetime
) -> tuple[tuple[UsageCounted, ...], tuple[ActiveAlarm, ...]]:
    usage, anomalies = [], []
    for counter in counters:
        if not counter.metered:
            continue
        counted, begun = told.marks.get((counter.link_id, counter.boot_id), (0, since))
        if counter.count < counted:
            text = f"counter went back below {counted}, up to which it was billed"
            anomalies.append(
                ActiveAlarm(f"link/{counter.link_id}", "counter-anomaly", PerceivedSeverity.MAJOR, text, at)
            )
        elif counter.count > counted:
            usage.append(
                UsageCounted(
                    element=element,
                    link_id=counter.link_id,
                    unit=counter.unit,
                    boot_id=counter.boot_id,
                    from_count=counted,
                    to_count=counter.count,
                    period_start=begun,
                    period_end=at,
                )
            )
    return tuple(usage), tuple(anomalies)


def _alarms(told: Told, active: Iterable[ActiveAlarm], at: datetime) -> Iterable[ActiveAlarm]:
    """What is new or has changed, and a clear for whatever the device tells of no more."""
    now = {(alarm.resource, alarm.alarm_type): alarm for alarm in active}
    for key, alarm in now.items():
        if told.alarms.get(key) != (alarm.severity, alarm.text):
            yield alarm
    for resource, alarm_type in sorted(told.alarms.keys() - now.keys() - _OURS):
        yield ActiveAlarm(resource, alarm_type, PerceivedSeverity.CLEARED, "", at)
