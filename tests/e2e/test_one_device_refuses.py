"""All or nothing: whatever one device does before the decision, the order ends and nothing has changed.

Each case orders a mesh over both operators, so that every device takes part, while another service runs over
the same devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e import account
from tests.e2e.devices import Devices
from tests.e2e.ground import Ground

MESH = {
    "kind": "full_mesh_vpn",
    "sites": ["Alice", "Bob", "Charlie", "Dave"],
    "security_level": "top_secret",
    "rate_bytes_per_s": 1000,
}
NORTH, SOUTH, SATELLITE = "alice-qn", "charlie-qn", "sat-qn"
REFUSALS = [
    (element, phase, "rpc-error")
    for phase in ("lock", "edit-config", "validate", "commit-confirmed", "get-config")
    for element in (NORTH, SOUTH)
]
OTHER_MISCHIEF = [
    (SOUTH, "commit-confirmed", "hang"),
    (SATELLITE, "edit-config", "drop"),
    (SOUTH, "edit-config", "lie"),
    (NORTH, "commit-confirmed", "lie"),
    (SATELLITE, "get-config", "lie"),
]


@pytest.fixture(scope="module")
def neighbour(stack: Ground) -> Iterator[str]:
    """A service that shares devices with every order here; its id."""
    body = {**MESH, "kind": "point_to_point_vpn", "sites": ["Alice", "Charlie"], "rate_bytes_per_s": 100}
    order = stack.order(body, "globex-admin")
    assert order["state"] == "completed", order["problem"]
    yield order["service_id"]
    stack.end(order["service_id"], "globex-admin")


@pytest.mark.parametrize(("element", "phase", "action"), [*REFUSALS, *OTHER_MISCHIEF])
def test_a_device_that_fails_before_the_decision_changes_nothing_anywhere(
    ground: Ground, devices: Devices, neighbour: str, element: str, phase: str, action: str
) -> None:
    before = account.take(ground, devices)
    assert neighbour in before.services
    assert _link_of(neighbour) in "".join(before.running[e] for e in (NORTH, SOUTH, SATELLITE))

    ground.fault(element, on=phase, action=action)
    order = ground.order(MESH)

    assert order["state"] in ("refused", "failed")
    assert element in _text(order["problem"])
    assert order["service_id"] is None
    ground.clear_faults()
    assert account.take(ground, devices) == before
    devices.lock_all()


def test_a_device_that_did_it_but_whose_reply_is_lost_does_not_stop_the_order(
    ground: Ground, devices: Devices
) -> None:
    ground.fault(NORTH, on="commit-confirmed", action="lose-reply", count=1)
    order = ground.order(MESH)
    assert order["state"] == "completed", order["problem"]
    assert ground.faults_left(NORTH) == []
    assert devices.carried() == account.carried_by_intent(ground)
    ground.end(order["service_id"])


def _link_of(service_id: str) -> str:
    return service_id.replace("svc_", "lnk_") + "-0"


def _text(problem: dict[str, Any]) -> str:
    return f"{problem['detail']} {problem.get('where')}"
