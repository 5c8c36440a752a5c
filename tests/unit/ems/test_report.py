"""What a reading of a device adds to what was told before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ems.domain.observation import ActiveAlarm, Operational, UsageCounter
from ems.domain.report import (
    HEARTBEAT,
    QUARANTINE,
    Report,
    Told,
    of_reading,
    of_silence,
    quarantine_alarm,
)
from qmodel.contracts.ems import CircuitReadiness, PerceivedSeverity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(seconds=60)
READY = CircuitReadiness(link_id="lnk_1", ready=True)
LOS = ActiveAlarm("port/q1", "loss-of-signal", PerceivedSeverity.CRITICAL, "dark", NOW)


def seen(
    *,
    circuits: tuple[CircuitReadiness, ...] = (READY,),
    counters: tuple[UsageCounter, ...] = (),
    alarms: tuple[ActiveAlarm, ...] = (),
) -> Operational:
    return Operational(circuits, counters, alarms, {}, {"port/q1/line-loss-db": 3.0})


def counter(count: int, *, boot_id: str = "b1", metered: bool = True) -> UsageCounter:
    return UsageCounter("lnk_1", "key-bits", boot_id, count, metered)


def read(told: Told, operational: Operational, *, with_alarms: bool = True) -> Report:
    return of_reading("a", told, operational, NOW, BEFORE, with_alarms=with_alarms, with_samples=False)


def test_nothing_new_is_nothing_to_tell() -> None:
    told = Told(reachable=True, circuits=(READY,), marks={("lnk_1", "b1"): (7, NOW)})
    assert read(told, seen(counters=(counter(7),))).empty


def test_readiness_is_told_when_it_changes() -> None:
    told = Told(reachable=True, circuits=(READY.model_copy(update={"ready": False}),))
    report = read(told, seen())
    assert report.readiness is not None
    assert report.readiness.circuits == (READY,)


def test_a_counter_is_billed_from_where_it_was_left() -> None:
    since = NOW - timedelta(seconds=60)
    report = read(Told(marks={("lnk_1", "b1"): (100, since)}), seen(counters=(counter(250),)))
    assert [(u.from_count, u.to_count, u.period_start) for u in report.usage] == [(100, 250, since)]


def test_what_a_new_counter_shows_was_released_since_the_reading_before() -> None:
    (usage,) = read(Told(), seen(counters=(counter(250),))).usage
    assert (usage.from_count, usage.period_start, usage.period_end) == (0, BEFORE, NOW)


def test_a_rebooted_counter_starts_from_zero() -> None:
    report = read(Told(marks={("lnk_1", "b1"): (100, NOW)}), seen(counters=(counter(30, boot_id="b2"),)))
    assert [(u.boot_id, u.from_count, u.to_count) for u in report.usage] == [("b2", 0, 30)]


def test_an_end_that_is_not_metered_is_not_billed() -> None:
    assert read(Told(), seen(counters=(counter(30, metered=False),))).usage == ()


def test_a_counter_that_runs_backwards_is_an_alarm_and_no_usage() -> None:
    report = read(Told(marks={("lnk_1", "b1"): (100, NOW)}), seen(counters=(counter(30),)))
    assert report.usage == ()
    assert [a.alarm_type for a in report.alarms] == ["counter-anomaly"]


def test_a_counter_that_stays_behind_is_alarmed_once() -> None:
    marks = {("lnk_1", "b1"): (100, NOW)}
    (alarm,) = read(Told(marks=marks), seen(counters=(counter(30),))).alarms
    known = {(alarm.resource, alarm.alarm_type): (alarm.severity, alarm.text)}
    assert read(Told(marks=marks, alarms=known), seen(counters=(counter(40),))).alarms == ()


def test_alarms_are_raised_once_and_cleared_when_gone() -> None:
    known = {("port/q1", "loss-of-signal"): (LOS.severity, LOS.text)}
    assert read(Told(), seen(alarms=(LOS,))).alarms == (LOS,)
    assert read(Told(alarms=known), seen(alarms=(LOS,))).alarms == ()
    cleared = read(Told(alarms=known), seen()).alarms
    assert [(a.resource, a.severity) for a in cleared] == [("port/q1", PerceivedSeverity.CLEARED)]


def test_a_reading_does_not_end_a_quarantine() -> None:
    raised = quarantine_alarm("unknown after change chg_1", NOW)
    assert raised.severity is PerceivedSeverity.MAJOR
    told = Told(reachable=True, circuits=(READY,), alarms={QUARANTINE: (raised.severity, raised.text)})
    assert read(told, seen()).alarms == ()
    assert quarantine_alarm(None, NOW).severity is PerceivedSeverity.CLEARED


def test_a_reading_that_an_alarm_overtook_clears_nothing() -> None:
    known = {("port/q1", "loss-of-signal"): (LOS.severity, LOS.text)}
    assert read(Told(alarms=known), seen(), with_alarms=False).alarms == ()


def test_silence_is_an_alarm_but_does_not_say_that_links_stopped() -> None:
    report = of_silence("a", Told(reachable=True, circuits=(READY,)), "timed out", NOW)
    assert report.readiness is not None
    assert not report.readiness.reachable
    assert report.readiness.circuits == (READY,)
    assert [(a.resource, a.alarm_type) for a in report.alarms] == [HEARTBEAT]
    assert of_silence("a", Told(reachable=False), "timed out", NOW).empty


def test_an_answer_after_silence_clears_the_heartbeat_alarm() -> None:
    told = Told(reachable=False, alarms={HEARTBEAT: (PerceivedSeverity.MAJOR, "no answer")})
    report = read(told, seen())
    assert report.readiness is not None
    assert report.readiness.reachable
    assert [a.severity for a in report.alarms] == [PerceivedSeverity.CLEARED]
