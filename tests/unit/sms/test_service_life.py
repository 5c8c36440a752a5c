"""A service's state follows from its links, and a link's from what the operators say about its segments."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.sms import ServiceState
from qmodel.errors import Conflict
from qmodel.links import LinkRequest, LinkState, Placement
from qmodel.security import SecurityLevel
from qmodel.topology import Pass
from sms.domain.ask import OrderKind
from sms.domain.figures import figures_of
from sms.domain.link import Disruption, Heard, Link, Segment, derived
from sms.domain.queue import Waiting, who_may_go
from sms.domain.service import (
    Health,
    Service,
    follow,
    health_of,
    stabilize,
    terminate,
    terminated,
    try_removal_again,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = LinkRequest(
    link_id="lnk_1",
    a="alice",
    b="bob",
    security_level=SecurityLevel.TOP_SECRET,
    min_fidelity=0.9,
    max_latency_s=1.0,
)


def a_segment(state: LinkState | None = None, *, operator: str = "north", minutes: int = 0) -> Segment:
    heard = None if state is None else Heard(state, T0 + timedelta(minutes=minutes), "a reason")
    return Segment(operator, REQUEST, heard=heard)


def an_alarm(severity: PerceivedSeverity, minutes: int) -> Disruption:
    return Disruption(severity, "no light", "fibre f1 is cut", T0 + timedelta(minutes=minutes))


def a_link(*segments: Segment, state: LinkState = LinkState.HELD) -> Link:
    return Link("lnk_1", "svc_1", "acme", "Alice", "Bob", segments, state=state)


def a_service(state: ServiceState) -> Service:
    return Service("svc_1", "ord_1", "acme", OrderKind.KEY, ("Alice", "Bob"), "secret", T0, state=state)


def seen(link: Link, service: ServiceState) -> LinkState:
    return derived(link, service, link.figures, link.why).state


@pytest.mark.parametrize(
    ("service", "said", "state"),
    [
        (ServiceState.PROVISIONING, None, LinkState.HELD),
        (ServiceState.PROVISIONING, LinkState.COMMITTING, LinkState.COMMITTING),
        (ServiceState.STABILIZING, None, LinkState.STABILIZING),
        (ServiceState.STABILIZING, LinkState.COMMITTING, LinkState.STABILIZING),
        (ServiceState.STABILIZING, LinkState.UP, LinkState.UP),
        (ServiceState.ACTIVE, LinkState.DOWN, LinkState.DOWN),
        (ServiceState.DEGRADED, LinkState.COMMITTING, LinkState.COMMITTING),
        (ServiceState.TERMINATED, LinkState.UP, LinkState.RELEASED),
    ],
)
def test_a_link_within_one_operator_is_as_its_nms_says(
    service: ServiceState, said: LinkState | None, state: LinkState
) -> None:
    assert seen(a_link(a_segment(said)), service) is state


def test_a_link_of_two_operators_is_as_far_as_the_one_behind() -> None:
    north, south = a_segment(LinkState.UP), a_segment(LinkState.STABILIZING, operator="south")
    assert seen(a_link(north, south), ServiceState.STABILIZING) is LinkState.STABILIZING
    assert seen(a_link(north, replace(south, heard=north.heard)), ServiceState.ACTIVE) is LinkState.UP
    down = a_segment(LinkState.DOWN, operator="south")
    assert seen(a_link(north, down), ServiceState.ACTIVE) is LinkState.DOWN


def test_a_link_that_did_not_change_is_the_same_object() -> None:
    link = derived(a_link(a_segment(LinkState.UP)), ServiceState.ACTIVE, None, "")
    assert link.version == 2
    assert derived(link, ServiceState.ACTIVE, None, "") is link


def test_coming_up_overcomes_an_older_alarm_but_not_a_newer_one() -> None:
    up = a_segment(LinkState.UP, minutes=5)
    assert replace(up, alarm=an_alarm(PerceivedSeverity.MAJOR, 3)).disruption is None
    assert replace(up, alarm=an_alarm(PerceivedSeverity.MAJOR, 7)).disruption is not None
    assert replace(up, alarm=an_alarm(PerceivedSeverity.CLEARED, 7)).disruption is None


def test_a_minor_alarm_shows_but_does_not_disrupt() -> None:
    link = a_link(replace(a_segment(LinkState.UP), alarm=an_alarm(PerceivedSeverity.MINOR, 1)))
    assert link.disruption is not None
    assert not link.disrupted
    grave = replace(a_segment(operator="south"), alarm=an_alarm(PerceivedSeverity.CRITICAL, 1))
    both = replace(link, segments=(*link.segments, grave))
    assert both.disruption is not None
    assert both.disruption.severity is PerceivedSeverity.CRITICAL


def test_a_service_becomes_active_degrades_with_its_cause_and_recovers() -> None:
    service = stabilize(a_service(ServiceState.PROVISIONING))
    waiting = follow(service, Health(False, "Alice – Bob: warming up", T0 + timedelta(minutes=5)), T0)
    assert waiting.state is ServiceState.STABILIZING
    assert waiting.expected_active_at == T0 + timedelta(minutes=5)
    active = follow(waiting, Health(True), T0 + timedelta(minutes=5))
    assert (active.state, active.active_since) == (ServiceState.ACTIVE, T0 + timedelta(minutes=5))
    assert active.expected_active_at is None
    degraded = follow(active, Health(False, "fibre f1 is cut"), T0 + timedelta(minutes=9))
    assert (degraded.state, degraded.reason) == (ServiceState.DEGRADED, "fibre f1 is cut")
    healed = follow(degraded, Health(True), T0 + timedelta(minutes=11))
    assert (healed.state, healed.reason) == (ServiceState.ACTIVE, "")
    assert healed.active_since == active.active_since


def test_following_without_news_changes_nothing() -> None:
    active = replace(a_service(ServiceState.ACTIVE), active_since=T0)
    assert follow(active, Health(True), T0) is active
    gone = a_service(ServiceState.TERMINATED)
    assert follow(gone, Health(True), T0) is gone


def test_health_names_the_first_cause_and_counts_the_rest() -> None:
    ill = [
        replace(derived(a_link(a_segment(LinkState.DOWN)), ServiceState.ACTIVE, None, ""), link_id=f"lnk_{i}")
        for i in range(3)
    ]
    health = health_of(ill)
    assert not health.well
    assert health.cause == "Alice – Bob: a reason and 2 more"
    up = derived(a_link(a_segment(LinkState.UP)), ServiceState.ACTIVE, None, "")
    assert health_of([up]).well
    assert not health_of([]).well


def test_termination_is_asked_once_tried_as_often_as_needed_and_ends() -> None:
    ending = terminate(a_service(ServiceState.ACTIVE), "no longer needed")
    assert (ending.state, ending.removal_change_id) == (ServiceState.TERMINATING, "chg_1-r1")
    assert terminate(ending, "again") is ending
    again = try_removal_again(ending)
    assert again.removal_change_id == "chg_1-r2"
    assert terminated(again).state is ServiceState.TERMINATED
    failing = terminate(a_service(ServiceState.STABILIZING), "too slow", ends_as=ServiceState.FAILED)
    assert terminated(failing).state is ServiceState.FAILED


def test_a_service_that_was_never_provisioned_is_not_terminated_but_its_order_cancelled() -> None:
    with pytest.raises(Conflict, match="cancel its order"):
        terminate(a_service(ServiceState.PROVISIONING), "no")
    with pytest.raises(Conflict):
        terminated(a_service(ServiceState.ACTIVE))


def test_who_waits_longest_goes_first_and_others_pass_only_beside() -> None:
    big = Waiting("order", "big", frozenset({"a", "b", "c"}))
    small = Waiting("order", "small", frozenset({"c"}))
    beside = Waiting("order", "beside", frozenset({"d"}))
    assert who_may_go([big, small, beside]) == [big, beside]
    assert who_may_go([small, big, beside]) == [small, beside]
    assert who_may_go([]) == []


def by_satellite(operator: str, offset_s: float) -> Segment:
    """A segment that gives 100 pairs per second while its satellite passes, 600 s of every 6000 s."""
    visibility = Pass(period_s=6000.0, offset_s=offset_s, duration_s=600.0, max_elevation_deg=60.0)
    placed = Placement(
        link_id="lnk_1",
        request=REQUEST,
        operator=operator,
        nodes=("alice", "border"),
        quantum_links=(),
        hops=(),
        detectors=(None, None),
        fidelity=0.98,
        pair_rate_hz=10.0,
        key_rate_bps=0.0,
        latency_s=0.01,
        visibility=visibility,
    )
    return Segment(operator, REQUEST, placed=placed)


@pytest.mark.parametrize(("later_s", "share"), [(0.0, 1.0), (300.0, 0.5), (450.0, 0.25), (3000.0, 0.0)])
def test_a_link_over_two_satellites_gives_pairs_only_while_both_pass(later_s: float, share: float) -> None:
    both = figures_of(a_link(by_satellite("north", 0.0), by_satellite("south", 0.0)))
    link = a_link(by_satellite("north", 0.0), by_satellite("south", later_s))
    given = figures_of(link)
    assert both is not None
    assert given is not None
    assert given.pair_rate_hz == pytest.approx(both.pair_rate_hz * share)
    assert (link.visibility.duration_s if link.visibility else 0.0) == 600.0 * share
