"""Following an order over server-sent events, also when the line breaks."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest
from rich.console import Console

from bellweave.doors import Door, Told
from bellweave.trouble import Unreachable
from bellweave.watching import Story, followed

SMS = "http://127.0.0.1:1001/api/v1"
SERVICE = {
    "id": "svc_1",
    "order_id": "ord_1",
    "tenant": "acme",
    "name": None,
    "kind": "full_mesh_vpn",
    "sites": ["Alice", "Bob"],
    "security_level": "top_secret",
    "state": "active",
    "links": ["lnk_1"],
    "active_since": None,
    "expected_active_in_s": None,
}
LINK = {
    "id": "lnk_1",
    "service_id": "svc_1",
    "a": "Alice",
    "b": "Bob",
    "state": "up",
    "fidelity": 0.951,
    "key_rate_bps": 16400.0,
    "pair_rate_hz": 10.0,
    "latency_s": 0.0012,
    "segments": [
        {"placement": {"operator": "north", "nodes": ["alice", "n1", "bob"], "timing_links": ["t1"]}}
    ],
    "visibility": None,
    "why": "the shortest way with room",
    "alarm": None,
    "usage_total": {"unit": None, "quantity": 0},
}
MEMBERS = [
    {
        "member": "nms.north",
        "vote": "confirmed",
        "elapsed_s": 0.31,
        "members": [
            {
                "member": "ems.north",
                "vote": "confirmed",
                "members": [{"member": "alice-qn", "vote": "confirmed", "elapsed_s": 0.2}],
            }
        ],
    }
]


def sse(*events: tuple[str, dict[str, Any]]) -> httpx.Response:
    blocks = [
        f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
        for number, (name, data) in enumerate(events, 1)
    ]
    return httpx.Response(200, text=": open\n\n" + "".join(blocks))


def progress(step: str, text: str, **data: Any) -> tuple[str, dict[str, Any]]:
    return "progress", {"at": "2025-11-24T10:00:00Z", "step": step, "text": text, "data": data}


def order_state(word: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "state", {"state": word, "service_id": "svc_1", "problem": None, **more}


@pytest.fixture
def sms(bench: Any) -> Any:
    bench.log_in("tenant", tenant="acme")
    bench.answers |= {
        "GET sms.main/orders/ord_1": {"id": "ord_1"},
        "GET sms.main/services/svc_1": SERVICE,
        "GET sms.main/services/svc_1/links": {"items": [LINK], "next": None},
    }
    return bench


def test_an_order_is_followed_to_its_end_with_the_commit_of_every_device(sms: Any) -> None:
    sms.answers["GET sms.main/orders/ord_1/events"] = sse(
        progress("placed", "Alice – Bob over north"),
        progress("confirm", "nms.north confirmed", members=MEMBERS),
        order_state("stabilizing"),
        order_state("completed"),
    )
    assert sms.run("watch", "ord_1") == 0
    for expected in (
        "Alice – Bob over north",
        "alice-qn confirmed",
        "16.4 kbit/s key",
        "alice · n1 · bob",
        "1.2 ms",
    ):
        assert expected in sms.out


def test_a_refused_order_ends_with_its_problem(sms: Any) -> None:
    problem = {"type": "urn:bellweave:problem:infeasible", "title": "Infeasible", "detail": "no way to Bob"}
    sms.answers["GET sms.main/orders/ord_1/events"] = sse(
        order_state("refused", service_id=None, problem=problem)
    )
    assert sms.run("watch", "ord_1") == 1
    assert "no way to Bob" in sms.err


def test_with_json_every_event_is_a_line(sms: Any) -> None:
    sms.answers["GET sms.main/orders/ord_1/events"] = sse(progress("placed", "x"), order_state("completed"))
    assert sms.run("watch", "ord_1", "--json") == 0
    assert [json.loads(line)["event"] for line in sms.out.splitlines()] == ["progress", "state"]


def test_a_service_is_followed_until_it_is_terminated(sms: Any) -> None:
    other = {"topic": "service", "step": "active", "text": "not mine", "service_id": "svc_2", "data": {}}
    mine = {"topic": "service", "step": "terminated", "text": "gone", "service_id": "svc_1", "data": {}}
    sms.answers["GET sms.main/events"] = sse(("service", other), ("service", mine))
    states = itertools.chain(["active", "active"], itertools.repeat("terminated"))
    sms.answers["GET sms.main/services/svc_1"] = lambda _: httpx.Response(
        200, json={**SERVICE, "state": next(states)}
    )
    assert sms.run("watch", "svc_1") == 0
    assert "gone" in sms.out
    assert "not mine" not in sms.out


class Line:
    """A stream that breaks once."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def follow(self, path: str, after: str | None) -> Any:
        self.asked.append(after)
        yield Told("open", {})
        yield Told("progress", {}, str(len(self.asked)))
        if len(self.asked) == 1:
            raise Unreachable.because("broken")


def test_a_broken_line_is_taken_up_after_the_last_event() -> None:
    line = Line()
    told = list(itertools.islice(followed(line, "/x", lambda _: None), 4))  # type: ignore[arg-type]
    assert [one.event for one in told] == ["open", "progress", "open", "progress"]
    assert line.asked == [None, "1"]


def test_a_service_that_stays_away_is_given_up() -> None:
    class Dead:
        def follow(self, path: str, after: str | None) -> Any:
            raise Unreachable.because("gone")

    with pytest.raises(Unreachable):
        list(followed(Dead(), "/x", lambda _: None))  # type: ignore[arg-type]


@pytest.mark.parametrize("failing", ["connecting", "error events"])
def test_a_stream_that_never_gets_anywhere_is_given_up(sms: Any, failing: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    error = sse(("error", {"detail": "the database is away"}))
    events = httpx.ConnectError("refused") if failing == "connecting" else lambda _: error
    sms.answers["GET sms.main/orders/ord_1/events"] = events
    door = Door(httpx.Client(transport=httpx.MockTransport(sms._answer)), "sms.main", SMS, None)
    told: list[str] = []
    events_told = itertools.islice(followed(door, "/orders/ord_1/events", lambda _: None), 100)
    with pytest.raises(Unreachable):
        told.extend(one.event for one in events_told)
    assert told == ([] if failing == "connecting" else ["open"] * 20)


def test_the_time_left_runs_down_at_the_clocks_scale() -> None:
    now_s = [0.0]
    story = Story(scale=60.0, now_s=lambda: now_s[0])
    story.see_service({**SERVICE, "state": "stabilizing", "expected_active_in_s": 300.0}, [LINK])
    assert story.settling is not None
    now_s[0] = 2.0
    assert story.settling.left_s(now_s[0]) == 180.0
    story.see_service({**SERVICE, "state": "stabilizing", "expected_active_in_s": 170.0}, [LINK])
    assert (story.settling.total_s, round(story.settling.left_s(now_s[0]))) == (300.0, 180)
    story.see_service(SERVICE, [LINK])
    assert story.settling is None


def test_the_live_view_shows_everything_at_a_glance() -> None:
    story = Story(now_s=lambda: 0.0)
    story.hear(Told(*progress("confirm", "all confirmed", members=MEMBERS)))
    story.hear(Told(*order_state("stabilizing")))
    story.see_service({**SERVICE, "state": "stabilizing", "expected_active_in_s": 42.0}, [LINK])
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(story.render())
    shown = console.export_text()
    for expected in (
        "all confirmed",
        "ems.north",
        "Alice – Bob up",
        "42 s of domain time left",
        "order stabilizing",
    ):
        assert expected in shown
