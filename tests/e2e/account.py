"""What an order may change, in one account: taken before and after, it says what was left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from tests.e2e.devices import Devices
from tests.e2e.ground import Ground

TENANTS = {"acme": "acme-admin", "globex": "globex-admin"}


@dataclass(frozen=True)
class Account:
    """Claims are (database, resource, change); links are those that an NMS has in force or holds."""

    running: dict[str, str]
    utilization: dict[str, float]
    quota: dict[str, dict[str, Any]]
    claims: list[tuple[str, str, str]]
    links: dict[str, str]
    services: dict[str, str]
    devices: dict[str, str]


def take(ground: Ground, devices: Devices) -> Account:
    """The account as it is now. The devices are read by NETCONF, everything else where its owner keeps it."""
    networks = [name for name in ground.status.apis if name.startswith("nms.")]
    managers = [name for name in ground.status.apis if name.startswith("ems.")]
    return Account(
        running=devices.running(),
        utilization={
            f"{nms}/{used['resource']}": used["used_share"]
            for nms in networks
            for used in ground.items(nms, "/utilization")
        },
        quota={tenant: _quota(ground, tenant) for tenant in TENANTS},
        claims=take_claims(ground),
        links={
            f"{nms}/{link['id']}": str(link["placement"])
            for nms in networks
            for link in ground.items(nms, "/links")
            if link["in_force"] or link["state"] != "released"
        },
        services={
            service["id"]: service["order_id"]
            for user in TENANTS.values()
            for service in ground.items("sms.main", "/services", user)
            if service["state"] not in ("terminated", "failed")
        },
        devices={
            device["name"]: device["state"] for ems in managers for device in ground.items(ems, "/devices")
        },
    )


def carried_by_intent(ground: Ground) -> dict[str, set[str]]:
    """The links of which each device should have circuits, by what the operators' NMSs say."""
    wanted: dict[str, set[str]] = {element.name: set() for element in ground.status.elements}
    for nms in (name for name in ground.status.apis if name.startswith("nms.")):
        for link in ground.items(nms, "/links"):
            for element in link["elements"] if link["in_force"] else ():
                wanted[element].add(link["id"])
    return wanted


def _quota(ground: Ground, tenant: str) -> dict[str, Any]:
    quota = ground.get("bms.main", f"/quota/{tenant}", "billing")
    return {name: value for name, value in quota.items() if name != "version"}


def take_claims(ground: Ground) -> list[tuple[str, str, str]]:
    """Nobody shows claims at a door: they are read where they lie."""
    found: list[tuple[str, str, str]] = []
    for instance, urls in ground.status.databases.items():
        with psycopg.connect(urls.owner) as conn:
            rows = conn.execute("SELECT resource, change_id FROM kit.commit_claim").fetchall()
        found += [(instance, resource, change_id) for resource, change_id in rows]
    return sorted(found)
