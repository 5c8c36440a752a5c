"""Operators' commands: topologies, devices, alarms, and how the stack stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

DEVICE = {
    "name": "lab-1",
    "host": "192.0.2.10",
    "port": 830,
    "user": "admin",
    "host_key": "ssh-ed25519 AAAA",
    "state": "managed",
    "problem": None,
    "manageable": True,
    "capabilities": [],
    "modules": [{"name": "ietf-interfaces", "revision": "2018-02-20"}],
    "components": [],
    "ports": ["q1"],
    "traits": {},
    "version": 1,
}
EXAMPLES = Path(__file__).parents[3] / "deploy" / "local" / "topologies"


@pytest.fixture
def operator(bench: Any) -> Any:
    bench.log_in("operator")
    return bench


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    path.write_text("PRIVATE")
    return path


def test_a_device_is_added_with_its_key_at_the_ems_named(operator: Any, key: Path) -> None:
    operator.answers["POST ems.south/devices"] = lambda _: httpx.Response(201, json=DEVICE)
    words = ["device", "add", "lab-1", "192.0.2.10", "830", "--user", "admin", "--key", str(key)]
    assert operator.run(*words, "--ems", "south", "--trust-on-first-use") == 0
    assert json.loads(operator.requests[-1].content) == {
        "name": "lab-1",
        "host": "192.0.2.10",
        "port": 830,
        "user": "admin",
        "private_key": "PRIVATE",
        "trust_on_first_use": True,
    }
    assert "PRIVATE" not in operator.out + operator.err
    assert "ietf-interfaces" in operator.out


def test_a_device_is_trusted_by_its_key_or_explicitly_at_first_sight(operator: Any, key: Path) -> None:
    words = ["device", "add", "lab-1", "h", "830", "--user", "admin", "--key", str(key), "--ems", "north"]
    assert operator.run(*words) == 2
    assert operator.run(*words, "--trust-on-first-use", "--host-key", "ssh-ed25519 A") == 2
    assert operator.requests == []


def test_with_several_ems_one_must_be_named(operator: Any, key: Path) -> None:
    words = ["device", "add", "x", "h", "830", "--user", "u", "--key", str(key), "--trust-on-first-use"]
    assert operator.run(*words) == 3
    assert "north, south" in operator.err


def test_devices_of_every_ems_are_listed_together(operator: Any) -> None:
    for ems in ("north", "south"):
        page = {"items": [{**DEVICE, "name": f"{ems}-1"}], "next": None}
        operator.answers[f"GET ems.{ems}/devices"] = page
    assert operator.run("devices") == 0
    assert "north-1" in operator.out
    assert [one["ems"] for one in operator.json("devices")["items"]] == ["ems.north", "ems.south"]


def test_a_device_is_found_at_whichever_ems_manages_it(operator: Any) -> None:
    operator.answers["GET ems.south/devices/lab-1"] = DEVICE
    assert operator.json("device", "show", "lab-1")["ems"] == "ems.south"
    assert operator.run("device", "show", "lab-2") == 1


def test_a_device_whose_removal_was_not_answered_counts_as_removed(operator: Any, refusal: Any) -> None:
    gone = refusal(404, "not-found", "no device lab-1")
    operator.answers["DELETE ems.south/devices/lab-1"] = [httpx.ReadError("lost"), gone]
    assert operator.json("device", "remove", "lab-1", "--ems", "south")["removed"]
    assert operator.run("device", "remove", "lab-2", "--ems", "south") == 1


def test_a_topology_goes_to_its_operators_nms(operator: Any) -> None:
    done = {"revision": 2, "operator": "north", "nodes": 9, "quantum_links": 8}
    operator.answers["PUT nms.north/topology"] = done
    assert operator.run("topology", "import", str(EXAMPLES / "north.yaml"), "--operator", "north") == 0
    assert operator.requests[-1].headers["content-type"] == "application/yaml"
    operator.run("topology", "import", str(EXAMPLES / "north.yaml"), "--revision", "1")
    assert operator.requests[-1].headers["if-match"] == '"1"'


def test_another_operators_topology_is_not_sent(operator: Any) -> None:
    assert operator.run("topology", "import", str(EXAMPLES / "north.yaml"), "--operator", "south") == 1
    assert operator.requests == []


def test_a_broken_topology_is_refused_here_saying_where(operator: Any, tmp_path: Path) -> None:
    broken = tmp_path / "t.yaml"
    broken.write_text("bellweave_topology: 1\noperator: north\nnodes: 7\n")
    assert operator.run("topology", "import", str(broken)) == 1
    assert "nodes" in operator.err
    assert operator.requests == []


def test_an_operator_sees_alarms_of_links_and_of_devices_once(operator: Any) -> None:
    link = {
        "id": "a1",
        "link_id": "lnk_1",
        "severity": "critical",
        "text": "link lost",
        "root_cause": "f-1",
        "alarm_type": "link-down",
        "raised_at": "2025-11-24T10:00:00Z",
        "cleared_at": None,
    }
    device = {
        **link,
        "element": "alice-qn",
        "resource": "port/q1",
        "alarm_type": "loss-of-signal",
        "text": "no light",
        "link_id": None,
    }
    for name, alarms in (
        ("nms.north", [link, device]),
        ("nms.south", []),
        ("ems.north", [device]),
        ("ems.south", []),
    ):
        operator.answers[f"GET {name}/alarms"] = {"items": alarms, "next": None}
    assert operator.run("alarms") == 0
    assert "alice-qn port/q1" in operator.out
    assert [one["by"] for one in operator.json("alarms", "--all")["items"]] == ["nms.north", "ems.north"]
    assert operator.requests[-1].url.params["state"] == "all"


def test_a_tenant_sees_the_alarms_of_its_links(bench: Any) -> None:
    bench.log_in("tenant", tenant="acme")
    alarm = {"severity": "critical", "text": "fibre cut", "root_cause": "f-1", "at": "2025-11-24T10:00:00Z"}
    links = [{"id": "lnk_1", "alarm": alarm}, {"id": "lnk_2", "alarm": None}]
    bench.answers["GET sms.main/links"] = {"items": links, "next": None}
    assert [one["link_id"] for one in bench.json("alarms")["items"]] == ["lnk_1"]


def test_the_role_that_is_missing_is_told(operator: Any, refusal: Any) -> None:
    operator.answers["GET bms.main/invoices"] = refusal(403, "forbidden", "this needs the role billing")
    assert operator.run("invoice", "list") == 1
    assert "log in as somebody who may" in operator.err


def test_status_asks_every_service_and_fails_when_one_is_not_ready(bench: Any) -> None:
    for name in ("sms.main", "bms.main", "nms.north", "nms.south", "ems.north"):
        bench.answers[f"GET {name}/readyz"] = {"status": "ready", "faults": {}}
    fault = {"status": "not ready", "faults": {"bus": "the bus cannot be reached"}}
    bench.answers["GET ems.south/readyz"] = httpx.Response(503, json=fault)
    assert bench.run("status") == 1
    assert "bus: the bus cannot be reached" in bench.out
    assert bench.run("status", "--json") == 1
    document = json.loads(bench.out)
    assert document["readiness"]["sms.main"]["status"] == "ready"
    assert document["issuer"]["users"][0]["password"] == "s3cret"


def test_a_stack_whose_supervisor_is_gone_is_told_as_stopped(bench: Any) -> None:
    assert bench.run("status", "--json") == 1
    assert json.loads(bench.out)["phase"] == "stopped"


def test_no_stack_at_all_is_unreachable_and_says_how_to_start_one(bench: Any, tmp_path: Path) -> None:
    (tmp_path / ".bellweave" / "status.json").unlink()
    assert bench.run("status") == 3
    assert "make up" in bench.err


def test_services_elsewhere_are_named_by_the_environment(bench: Any, tmp_path: Path) -> None:
    (tmp_path / ".bellweave" / "status.json").unlink()
    bench.log_in("operator")
    bench.environment["BELLWEAVE_NMS_NORTH_URL"] = "http://127.0.0.1:1003"
    bench.answers["GET nms.north/topology"] = {"revision": 1, "topology": {}}
    assert bench.json("topology", "show", "--operator", "north")["revision"] == 1
    bench.environment["BELLWEAVE_NMS_NORTH_URL"] = "http://192.0.2.1:1003"
    assert bench.run("topology", "show", "--operator", "north") == 1
    assert "unencrypted" in bench.err


LEAF = {"path": "/m:c/x", "before": "1", "after": "2"}
COMPARISON = {
    "element": "lab-1", "in_sync": False, "intended_revision": 3, "policy": "alarm", "difference": [LEAF],
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["check-sync"], {}),
        (["sync-to"], {"dry_run": False}),
        (["sync-to", "--dry-run"], {"dry_run": True}),
        (["sync-from", "--dry-run"], {"dry_run": True}),
    ],
)
def test_a_device_is_compared_and_synchronized_and_every_leaf_is_shown(
    operator: Any, words: list[str], body: dict[str, Any]
) -> None:
    operator.answers[f"POST ems.south/devices/lab-1/{words[0]}"] = COMPARISON
    verb, *options = words
    assert operator.run("device", verb, "lab-1", "--ems", "south", *options) == 0
    assert "/m:c/x" in operator.out
    assert json.loads(operator.requests[-1].content) == body
    assert operator.json("device", verb, "lab-1", "--ems", "south", *options) == COMPARISON


def test_what_is_done_about_drift_is_said_and_shown(operator: Any) -> None:
    answer = {"element": "lab-1", "policy": "overwrite"}
    for method in ("GET", "PUT"):
        operator.answers[f"{method} ems.south/devices/lab-1/drift-policy"] = answer
    assert operator.json("device", "drift-policy", "lab-1", "overwrite", "--ems", "south") == answer
    assert json.loads(operator.requests[-1].content) == {"policy": "overwrite"}
    assert operator.json("device", "drift-policy", "lab-1", "--ems", "south") == answer
    assert operator.run("device", "drift-policy", "lab-1", "ignore", "--ems", "south") == 2


def test_drift_of_every_ems_is_listed_together(operator: Any) -> None:
    found = {"id": 1, "element": "lab-1", "state": "open", "found_at": "2026-01-01T00:00:00Z",
             "ended_at": None, "ended_by": None, "difference": [LEAF]}  # fmt: skip
    for ems in ("north", "south"):
        operator.answers[f"GET ems.{ems}/drifts"] = {"items": [found], "next": None}
    assert operator.run("drift") == 0
    assert operator.out.count("/m:c/x: 1 → 2") == 2
    assert len(operator.json("drift")["items"]) == 2


def test_revisions_are_listed_and_any_two_compared(operator: Any) -> None:
    listed = {"name": "intended@2", "revision": 2, "cause": "sync-from", "who": "olga", "change_id": None,
              "at": "2026-01-01T00:00:00Z"}  # fmt: skip
    base = "GET ems.south/devices/lab-1"
    operator.answers[f"{base}/datastores/intended/revisions"] = {"items": [listed], "next": None}
    operator.answers[f"{base}/difference"] = {"before": "intended@1", "after": "intended@2",
                                              "difference": [LEAF]}  # fmt: skip
    operator.answers[f"{base}/datastores/intended@2"] = {**listed, "leaves": {"/m:c/x": "2"}}
    assert operator.run("device", "revisions", "lab-1", "--ems", "south") == 0
    assert "sync-from" in operator.out
    assert operator.run("device", "difference", "lab-1", "intended@1", "intended@2", "--ems", "south") == 0
    assert "/m:c/x" in operator.out
    assert dict(operator.requests[-1].url.params) == {"before": "intended@1", "after": "intended@2"}
    operator.answers[f"{base}/difference"]["difference"] = [{"path": "/m:c/e", "before": None, "after": ""}]
    assert operator.run("device", "difference", "lab-1", "--ems", "south") == 0
    assert "there" in operator.out
    assert operator.run("device", "datastore", "lab-1", "intended@2", "--ems", "south") == 0
    assert "/m:c/x" in operator.out
