"""When a link in force counts as up, down or still settling."""

from __future__ import annotations

from typing import Any

import pytest

from nms.domain.link import Circumstances, Report, judge, least_fidelity
from qmodel.contracts.ems import CircuitReadiness
from qmodel.links import LinkRequest, LinkState
from qmodel.security import SecurityLevel

PARTS = ("alice-qn", "bob-qn")


def said(ready: bool = True, **more: Any) -> Report:
    stale = more.pop("stale", False)
    return Report(CircuitReadiness(link_id="lnk_1", ready=ready, **more), stale)


def test_is_up_once_every_element_is_ready() -> None:
    standing = judge(
        LinkState.STABILIZING, PARTS, {"alice-qn": said(), "bob-qn": said()}, 0.9, Circumstances()
    )
    assert standing.state is LinkState.UP


def test_goes_on_stabilizing_as_long_as_the_slowest_element_needs() -> None:
    reports = {
        "alice-qn": said(False, reason="laser is settling", expected_in_s=240.0),
        "bob-qn": said(False, reason="laser is settling", expected_in_s=30.0),
    }
    standing = judge(LinkState.STABILIZING, PARTS, reports, 0.9, Circumstances())
    assert standing.state is LinkState.STABILIZING
    assert standing.expected_in_s == 240.0
    assert "alice-qn: laser is settling" in standing.reason


def test_an_element_that_has_not_reported_is_not_ready() -> None:
    standing = judge(LinkState.STABILIZING, PARTS, {"alice-qn": said()}, 0.9, Circumstances())
    assert (standing.state, standing.reason) == (LinkState.STABILIZING, "bob-qn has not reported yet")


def test_what_was_said_before_the_last_commit_does_not_count() -> None:
    reports = {"alice-qn": said(), "bob-qn": said(stale=True)}
    assert judge(LinkState.STABILIZING, PARTS, reports, 0.9, Circumstances()).state is LinkState.STABILIZING


def test_is_not_up_below_the_fidelity_asked_for() -> None:
    reports = {"alice-qn": said(fidelity=0.87), "bob-qn": said(fidelity=0.95)}
    settling = judge(LinkState.STABILIZING, PARTS, reports, 0.9, Circumstances())
    up = judge(LinkState.UP, PARTS, reports, 0.9, Circumstances())
    assert settling.state is LinkState.STABILIZING
    assert up.state is LinkState.DOWN
    assert up.reason == "alice-qn measures fidelity 0.870, below 0.900"


def test_goes_down_on_a_loss_and_comes_back() -> None:
    lost = {"alice-qn": said(False, reason="loss of signal"), "bob-qn": said()}
    down = judge(LinkState.UP, PARTS, lost, 0.9, Circumstances())
    back = judge(down.state, PARTS, {"alice-qn": said(), "bob-qn": said()}, 0.9, Circumstances())
    assert (down.state, down.reason) == (LinkState.DOWN, "alice-qn: loss of signal")
    assert back.state is LinkState.UP


def test_stays_up_while_the_satellite_is_away() -> None:
    dark = {"alice-qn": said(False, reason="no pass"), "bob-qn": said(False, reason="no pass")}
    assert judge(LinkState.UP, PARTS, dark, 0.9, Circumstances(lit=False)).state is LinkState.UP
    assert judge(LinkState.UP, PARTS, dark, 0.9, Circumstances(lit=True)).state is LinkState.DOWN


def test_a_known_fault_outweighs_stale_good_news() -> None:
    ready = {"alice-qn": said(), "bob-qn": said()}
    standing = judge(LinkState.UP, PARTS, ready, 0.9, Circumstances(cause="conduit c1 is cut"))
    assert (standing.state, standing.reason) == (LinkState.DOWN, "conduit c1 is cut")


def test_is_down_when_it_does_not_settle_in_time() -> None:
    reports = {"alice-qn": said(), "bob-qn": said(False, reason="no coincidences")}
    standing = judge(LinkState.STABILIZING, PARTS, reports, 0.9, Circumstances(overdue=True))
    assert standing.state is LinkState.DOWN
    assert standing.reason == "did not settle in time: bob-qn: no coincidences"


@pytest.mark.parametrize(("border", "least"), [(False, 0.96), (True, 0.89)])
def test_a_segment_is_held_to_the_level_only(border: bool, least: float) -> None:
    request = LinkRequest(
        link_id="lnk_1",
        a="alice",
        b="sat",
        security_level=SecurityLevel.TOP_SECRET,
        min_fidelity=0.97,
        max_latency_s=1.0,
    )
    assert least_fidelity(request, border, 0.01) == pytest.approx(least)
