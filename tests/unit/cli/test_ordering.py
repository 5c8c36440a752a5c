"""From a command line to an order, and its answer back."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import httpx
import pytest
from rich.console import Console

from bellweave.show.services import orders_table
from bellweave.toolbox import Toolbox

ORDER = {
    "id": "ord_1",
    "tenant": "acme",
    "kind": "full_mesh_vpn",
    "name": None,
    "sites": ["Alice", "Bob"],
    "security_level": "top_secret",
    "max_latency_s": 1.0,
    "rate_bytes_per_s": 1000.0,
    "state": "received",
    "service_id": None,
    "problem": None,
    "created_at": "2025-11-24T10:00:00+00:00",
    "version": 1,
    "progress": [],
}


@pytest.fixture
def sms(bench: Any) -> Any:
    bench.log_in("tenant", tenant="acme")
    bench.answers["POST sms.main/orders"] = lambda request: httpx.Response(202, json=ORDER)
    return bench


def sent(bench: Any) -> Any:
    return json.loads(bench.requests[-1].content)


def test_what_people_write_becomes_quantities_with_units(sms: Any) -> None:
    words = ["Alice", "Bob", "--level", "Top Secret", "--latency", "500 ms", "--rate", "1 KB/s"]
    assert sms.run("order", "full-mesh", *words, "--fidelity", "0.95", "--name", "HQ") == 0
    assert sent(sms) == {
        "kind": "full_mesh_vpn",
        "sites": ["Alice", "Bob"],
        "security_level": "top_secret",
        "max_latency_s": 0.5,
        "rate_bytes_per_s": 1000.0,
        "min_fidelity": 0.95,
        "name": "HQ",
    }
    assert "8 kbit/s each way" in sms.out
    assert "bellweave watch ord_1" in sms.err


@pytest.mark.parametrize(
    ("words", "kind", "member", "value"),
    [
        (
            ["point-to-point", "A", "B", "--rate", "8 kbit/s"],
            "point_to_point_vpn",
            "rate_bytes_per_s",
            1000.0,
        ),
        (["keys", "A", "B", "--rate", "2 kbit/s"], "key", "key_rate_bps", 2000.0),
        (["pairs", "A", "B", "C", "--rate", "10 pairs/s"], "entanglement", "pair_rate_hz", 10.0),
    ],
)
def test_each_kind_has_its_own_rate(sms: Any, words: list[str], kind: str, member: str, value: float) -> None:
    assert sms.run("order", *words) == 0
    assert (sent(sms)["kind"], sent(sms)[member]) == (kind, value)


@pytest.mark.parametrize(
    "words",
    [
        ["full-mesh", "A", "B"],
        ["full-mesh", "A", "B", "--rate", "1 kb/s"],
        ["full-mesh", "A", "B", "--rate", "-1 KB/s"],
        ["full-mesh", "A", "B", "--rate", "1 KB/s", "--latency", "soon"],
        ["full-mesh", "A", "B", "--rate", "1 KB/s", "--level", "cosmic"],
        ["full-mesh", "A", "B", "--rate", "1 KB/s", "--fidelity", "2"],
        ["point-to-point", "A", "--rate", "1 KB/s"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_asks_nobody(sms: Any, words: list[str]) -> None:
    assert sms.run("order", *words) == 2
    assert sms.requests == []
    assert sms.run("order", *words, "--json") == 2
    document = json.loads(sms.err)
    assert (document["title"], sms.out, sms.requests) == ("Wrong command line", "", [])


def test_ids_do_not_break_in_a_narrow_terminal(sms: Any) -> None:
    order_id, service_id = (f"{prefix}_0192f0c1d2e37abc8def0123456789ab" for prefix in ("ord", "svc"))
    shown = StringIO()
    tools = Toolbox({}, sms.home, out=Console(file=shown, width=80))
    tools.show(None, lambda: orders_table([{**ORDER, "id": order_id, "service_id": service_id}]))
    assert order_id in shown.getvalue()
    assert service_id in shown.getvalue()


def test_without_a_terminal_the_width_is_that_of_columns(bench: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert Toolbox({}, bench.home).out.width == 100
    monkeypatch.delenv("COLUMNS")
    assert Toolbox({}, bench.home).out.width == 160


def test_an_order_whose_answer_is_lost_is_sent_again_under_the_same_key(sms: Any) -> None:
    sms.answers["POST sms.main/orders"] = [httpx.ReadError("lost"), httpx.Response(202, json=ORDER)]
    assert sms.json("order", "full-mesh", "A", "B", "--rate", "1 KB/s")["id"] == "ord_1"
    keys = {request.headers["Idempotency-Key"] for request in sms.requests}
    assert (len(sms.requests), len(keys)) == (2, 1)


def test_a_refusal_is_told_with_its_reasons_and_what_to_do(sms: Any, refusal: Any) -> None:
    exceeded = refusal(
        403, "quota-exceeded", "6 more links, but 2 of 50 are left", links_used=48, links_limit=50
    )
    sms.answers["POST sms.main/orders"] = exceeded
    assert sms.run("order", "full-mesh", "A", "B", "--rate", "1 KB/s") == 1
    assert "6 more links, but 2 of 50 are left" in sms.err
    assert "48 of 50 used" in sms.err
    assert "→ terminate a service" in sms.err
    assert sms.out == ""


def test_with_json_errors_are_problem_documents_on_stderr(sms: Any, refusal: Any) -> None:
    sms.answers["POST sms.main/orders"] = refusal(422, "invalid", "no site Atlantis", where="/sites/1")
    assert sms.run("order", "full-mesh", "A", "B", "--rate", "1 KB/s", "--json") == 1
    document = json.loads(sms.err)
    assert (document["status"], document["where"], sms.out) == (422, "/sites/1", "")


def test_an_order_is_shown_with_its_steps_and_why_it_was_refused(sms: Any) -> None:
    refusals = [
        {
            "a": "Alice",
            "b": "Bob",
            "constraint": "key-rate",
            "where": "f-1",
            "reason": "too slow",
            "would_fit": {"key_rate_bps": 900.0},
        }
    ]
    told = [
        {
            "at": "2025-11-24T10:00:01+00:00",
            "step": "refused",
            "text": "No [placement]. Bob is full.",
            "data": {},
        }
    ]
    problem = {"title": "Infeasible", "detail": "cannot be placed", "refusals": refusals}
    sms.answers["GET sms.main/orders/ord_1"] = {
        **ORDER,
        "state": "refused",
        "problem": problem,
        "progress": told,
    }
    assert sms.run("order", "show", "ord_1") == 0
    lines = [line.strip() for line in sms.out.splitlines()]
    assert any(line.endswith("No [placement].") for line in lines)
    assert "Bob is full." in lines
    assert "Alice – Bob: key-rate at f-1: too slow (would fit: key_rate_bps 900)" in sms.err


def test_lists_are_read_page_by_page(sms: Any) -> None:
    pages = {None: (["ord_1"], "c1"), "c1": (["ord_2"], None)}

    def page(request: httpx.Request) -> httpx.Response:
        ids, following = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": [{**ORDER, "id": one} for one in ids], "next": following})

    sms.answers["GET sms.main/orders"] = page
    assert [one["id"] for one in sms.json("orders")["items"]] == ["ord_1", "ord_2"]


def test_somebody_elses_order_is_not_found(sms: Any) -> None:
    assert sms.run("order", "show", "ord_9") == 1


def test_a_service_that_does_not_answer_is_unreachable(sms: Any) -> None:
    sms.answers["GET sms.main/orders"] = httpx.ConnectError("connection refused")
    assert sms.run("orders", "--json") == 3
    assert "connection refused" in json.loads(sms.err)["detail"]
