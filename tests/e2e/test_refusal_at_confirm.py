"""After the decision there is only forward: a device that will not confirm is brought there, or it is set
apart, shown to the operator, and brought there later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e import account
from tests.e2e.devices import Devices
from tests.e2e.ground import Ground, wait_for

LINK = {
    "kind": "point_to_point_vpn",
    "sites": ["Bob", "Dave"],
    "security_level": "secret",
    "rate_bytes_per_s": 200,
}
DEVICE, EMS = "dave-qn", "ems.south"


@pytest.fixture
def order(ground: Ground) -> Iterator[Callable[[], str]]:
    """Places the order; its service is taken down after the test."""
    placed: list[str] = []

    def place() -> str:
        placed.append(ground.place(LINK))
        return placed[-1]

    yield place
    ground.clear_faults()
    for order_id in placed:
        service_id = ground.until(order_id)["service_id"]
        if service_id:
            ground.end(service_id)


def test_a_device_that_refuses_to_confirm_once_gets_the_change_all_the_same(
    ground: Ground, devices: Devices, order: Callable[[], str]
) -> None:
    ground.fault(DEVICE, on="confirm", action="rpc-error", count=1)

    ended = ground.until(order())

    assert ended["state"] == "completed", ended["problem"]
    assert ground.faults_left(DEVICE) == []
    assert devices.carried() == account.carried_by_intent(ground)
    devices.lock_all()


def test_a_device_that_will_not_confirm_is_quarantined_alarmed_and_carried_forward(
    ground: Ground, devices: Devices, order: Callable[[], str]
) -> None:
    before = account.take(ground, devices)
    for operation in ("confirm", "commit"):  # the plain one is tried when the confirm window is over
        ground.fault(DEVICE, on=operation, action="rpc-error")
    order_id = order()

    wait_for("the quarantine", lambda: _device(ground)["state"] == "quarantined")
    assert ground.until(order_id, ("stabilizing",))["state"] == "stabilizing"
    assert "unknown after change" in _device(ground)["problem"]
    assert _alarms(ground)
    assert ground.items("nms.south", "/changes")[0]["settled"] is False
    assert account.take_claims(ground) != before.claims

    ground.clear_faults()
    ended = ground.until(order_id)

    assert ended["state"] == "completed", ended["problem"]
    wait_for("the end of the quarantine", lambda: _device(ground)["state"] == "managed")
    wait_for("the end of its alarm", lambda: not _alarms(ground))
    wait_for("every level to settle", lambda: account.take_claims(ground) == before.claims)
    assert devices.carried() == account.carried_by_intent(ground)
    devices.lock_all()


def _device(ground: Ground) -> dict[str, Any]:
    return ground.get(EMS, f"/devices/{DEVICE}")


def _alarms(ground: Ground) -> list[dict[str, Any]]:
    return [a for a in ground.items(EMS, "/alarms", element=DEVICE) if a["alarm_type"] == "quarantined"]
