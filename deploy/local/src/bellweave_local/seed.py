"""Makes a fresh stack know its devices, networks and customers, through its public doors.

`bellweave-local up` calls it once everything is ready. Everything is asked for in a form that may be
repeated: what is there already stays as it is. It uses the local issuer's users; with an issuer elsewhere it
uses the tokens in BELLWEAVE_OPERATOR_TOKEN and BELLWEAVE_BILLING_TOKEN, and without them it leaves the stack
alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bellweave_local.state import ElementStatus, Status
from qmodel.errors import Internal, Unauthenticated, Unavailable
from qmodel.topology_file import load_topology

REQUEST_LIMIT_S = 60.0
DEVICES_AT_ONCE = 4  # simultaneous logins beyond a few are refused by ordinary SSH servers
PLAN = {
    "name": "quantum-standard",
    "currency": "EUR",
    "prices": [
        {"unit": "key-bits", "price_per": "1000", "amount": "0.02"},
        {"unit": "pairs", "price_per": "1000", "amount": "0.05"},
    ],
    "monthly_fee": "10.00",
}
CUSTOMERS = {"acme": "Acme Corporation", "globex": "Globex Corporation"}
QUOTA = {"links": 50, "key_rate_bps": 1_000_000}


@dataclass(frozen=True)
class Door:
    """One service's REST API, entered with one role's token."""

    client: httpx.Client
    base: str
    token: str

    def send(self, method: str, path: str, *, ok: tuple[int, ...] = (), **body: Any) -> httpx.Response:
        """Raises Internal with the problem document for an answer that is neither a success nor in `ok`,
        Unavailable without an answer."""
        headers = {"Authorization": f"Bearer {self.token}", **body.pop("headers", {})}
        answer = ask(self.client, method, f"{self.base}{path}", headers=headers, **body)
        if not answer.is_success and answer.status_code not in ok:
            raise Internal(f"{method} {self.base}{path}: {answer.status_code} {answer.text[:2000]}")
        return answer


def ask(client: httpx.Client, method: str, url: str, **body: Any) -> httpx.Response:
    """Raises Unavailable without an answer."""
    try:
        return client.request(method, url, **body)
    except httpx.TransportError as error:
        raise Unavailable(f"{method} {url}: no answer") from error


def seed(status: Status, transport: httpx.BaseTransport | None = None) -> Iterator[str]:
    """Yields a line for each thing done. Raises BellweaveError when one is refused."""
    with httpx.Client(timeout=REQUEST_LIMIT_S, transport=transport) as client:
        operator = token(client, status, "operator", "BELLWEAVE_OPERATOR_TOKEN")
        billing = token(client, status, "billing", "BELLWEAVE_BILLING_TOKEN")
        if operator is None or billing is None:
            yield "not seeded: the issuer is elsewhere and no tokens are given"
            return
        doors = {name: Door(client, base, operator) for name, base in status.apis.items()}
        yield from seed_devices(doors, status)
        yield from seed_topologies(doors, status)
        for name, base in status.apis.items():
            if name.startswith("bms."):
                yield from seed_customers(Door(client, base, billing))


def token(client: httpx.Client, status: Status, user: str, variable: str) -> str | None:
    """A token for one of the local issuer's users, or the one in the environment variable."""
    if variable in os.environ or status.issuer is None:
        return os.environ.get(variable)
    account = next(one for one in status.issuer.users if one.name == user)
    form = {
        "grant_type": "password",
        "client_id": status.issuer.client_id,
        "username": account.name,
        "password": account.password,
    }
    answer = ask(client, "POST", status.issuer.token_endpoint, data=form)
    if answer.status_code != httpx.codes.OK:
        raise Unauthenticated(f"the local issuer refused {user}: {answer.text[:500]}")
    return str(answer.json()["access_token"])


def seed_devices(doors: Mapping[str, Door], status: Status) -> Iterator[str]:
    """Each emulated device to its EMS."""

    def add(element: ElementStatus) -> str | None:
        ems = f"ems.{(element.ems or '').removeprefix('ems.')}"
        if ems not in doors:
            return None
        device = {
            "name": element.name,
            "host": element.host,
            "port": element.port,
            "user": element.user,
            "private_key": Path(element.private_key).read_text(),
            "host_key": element.host_key,
        }
        doors[ems].send("POST", "/devices", json=device, ok=(httpx.codes.CONFLICT,))
        return ems

    with ThreadPoolExecutor(DEVICES_AT_ONCE) as pool:
        added = [ems for ems in pool.map(add, status.elements) if ems is not None]
    for ems in sorted(set(added)):
        yield f"{ems}: {added.count(ems)} devices"


def seed_topologies(doors: Mapping[str, Door], status: Status) -> Iterator[str]:
    """Each declared network to its operator's NMS, which is named after the operator and has none yet."""
    for path in map(Path, status.topologies):
        topology = load_topology(path)
        door = doors.get(f"nms.{topology.operator}")
        if door is not None:
            headers = {"Content-Type": "application/yaml", "If-Match": '"0"'}  # 0: before the first one
            there = (httpx.codes.PRECONDITION_FAILED,)
            answer = door.send("PUT", "/topology", content=path.read_bytes(), headers=headers, ok=there)
            if answer.is_success:
                counts = f"{len(topology.nodes)} nodes, {len(topology.quantum_links)} links"
                yield f"nms.{topology.operator}: {counts}"
            else:
                yield f"nms.{topology.operator}: keeps the network that it has"


def seed_customers(door: Door) -> Iterator[str]:
    """What is there in other words stays as it is."""
    there = (httpx.codes.CONFLICT,)
    door.send("POST", "/plans", json=PLAN, ok=there)
    for tenant, name in CUSTOMERS.items():
        door.send("POST", "/customers", json={"tenant": tenant, "name": name}, ok=there)
        contract = {"tenant": tenant, "plan": PLAN["name"], "quota": QUOTA}
        door.send("POST", "/contracts", json=contract, ok=there)
    yield f"bms: customers {', '.join(CUSTOMERS)} on plan {PLAN['name']}"
