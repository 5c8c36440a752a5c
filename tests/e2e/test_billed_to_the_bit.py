"""What the devices released is what the tenant is billed, also what came just before the end."""

from __future__ import annotations

from typing import Any

from tests.e2e.devices import Devices
from tests.e2e.ground import Ground, wait_for

LINK = {
    "kind": "point_to_point_vpn",
    "sites": ["Alice", "Bob"],
    "security_level": "top_secret",
    "max_latency_s": 1.0,
    "rate_bytes_per_s": 1000,
}


def test_every_bit_that_a_link_released_is_billed_and_no_bit_twice(ground: Ground, devices: Devices) -> None:
    order = ground.order(LINK)
    assert order["state"] == "completed", order["problem"]
    service_id = order["service_id"]
    wait_for("some usage", lambda: _billed(ground, service_id))
    ground.end(service_id)
    link_id = service_id.replace("svc_", "lnk_") + "-0"
    released = devices.released(link_id)
    assert released > 0
    wait_for("the last bits", lambda: sum(_bits(ground, service_id)) == released)
    periods = [(usage["period_start"], usage["period_end"]) for usage in _billed(ground, service_id)]
    assert all(start < end for start, end in periods)


def _billed(ground: Ground, service_id: str) -> list[dict[str, Any]]:
    return ground.items("bms.main", "/usage", "billing", service_id=service_id)


def _bits(ground: Ground, service_id: str) -> list[int]:
    return [usage["quantity"] for usage in _billed(ground, service_id)]
