"""kill -9 of a service during an order: it completes or is cleanly refused, and devices do what is intended.

What was killed is started again by the supervisor; nobody repairs anything by hand.
"""

from __future__ import annotations

import pytest
from tests.e2e import account
from tests.e2e.devices import Devices
from tests.e2e.ground import Ground, wait_for

MESH = {
    "kind": "full_mesh_vpn",
    "sites": ["Alice", "Bob", "Charlie", "Dave"],
    "security_level": "top_secret",
    "rate_bytes_per_s": 1000,
}
STEPS = ("placing", "committing", "stabilizing")


@pytest.mark.parametrize(
    ("victims", "step"),
    [
        (("bms.main",), "placing"),
        (("sms.main",), "committing"),
        (("nms.north", "nms.south", "ems.north", "ems.space", "ems.south"), "committing"),
    ],
    ids=["placing", "deciding", "carrying-out"],
)
def test_an_order_survives_the_death_of_services_or_leaves_nothing(
    ground: Ground, devices: Devices, victims: tuple[str, ...], step: str
) -> None:
    before = account.take(ground, devices)
    order_id = ground.place(MESH)
    ground.until(order_id, STEPS[STEPS.index(step) :])

    killed = {victim: ground.kill(victim) for victim in victims}
    for victim, pid in killed.items():
        ground.back(victim, pid)
    order = ground.until(order_id)

    wait_for("all changes to settle", lambda: account.take_claims(ground) == before.claims)
    assert devices.carried() == account.carried_by_intent(ground)
    devices.lock_all()
    if order["state"] == "completed":
        links = ground.items("sms.main", f"/services/{order['service_id']}/links", "acme-admin")
        assert [link["state"] for link in links] == ["up"] * 6
        ground.end(order["service_id"])
    else:
        assert order["state"] in ("refused", "failed")
        assert order["problem"]["detail"]
    assert account.take(ground, devices) == before
