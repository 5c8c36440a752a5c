"""Orders per second end to end: a tenant's four-site mesh from the door of the SMS to the committed network.

Ours: eight orders at once, each for six links over five elements of its own, through BMS, SMS, NMS and EMS to
emulated NETCONF devices; an order counts when its commit has ended. Floor: what each order cannot do without,
bare and eight at once on the same servers: 12 durable writes (the order, the quota, the placement, and three
at each level of the commit), 8 bus hops, and three flights of RPCs to its five devices.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import nats
import psycopg
from nats.aio.client import Client

from bellweave_local.demo.doors import Doors
from bellweave_local.state import ElementStatus, Status
from bench.commit import edits, flights
from bench.floor import BareSession, echo
from bench.ground import stack
from bench.result import Context, Result
from qmodel.ids import new_id

NAME = "orders"
CLUSTERS = 8
SITES = 4
ROUNDS = 3
DEPLOYMENT = {
    "instances": [
        {"name": "bms.main"},
        {"name": "sms.main", "peers": ["bms.main", "nms.bench"]},
        {"name": "nms.bench", "peers": ["ems.one", "ems.two"]},
        {"name": "ems.one", "settings": {"BELLWEAVE_POLL_S": "5"}},
        {"name": "ems.two", "settings": {"BELLWEAVE_POLL_S": "5"}},
    ],
    "clock_scale": 60,
}


def run(context: Context) -> list[Result]:
    context.say(f"starting a stack with {CLUSTERS} clusters of {SITES} sites")
    with stack(DEPLOYMENT, {"bench": _clusters()}) as status:
        doors = Doors(status)
        try:
            _orders_per_s(doors)  # to warm up
            ours = [_orders_per_s(doors) for _ in range(ROUNDS)]
            floor = asyncio.run(_floor_per_s(status))
        finally:
            doors.close()
        context.say(f"{median(ours):.1f} orders/s, floor {floor:.1f}")
    conditions = (
        f"median of {ROUNDS} rounds of {CLUSTERS} orders at once, four-site mesh on five elements;"
        " floor: 12 writes, 8 bus hops, three flights to five devices per order"
    )
    return [Result(NAME, median(ours), "orders/s", "floor", floor, conditions)]


def _clusters() -> dict[str, Any]:
    """Stars: a hub with sources, and four sites around it."""
    nodes: list[dict[str, Any]] = []
    fibres: list[dict[str, Any]] = []
    timing: list[dict[str, Any]] = []
    for c in range(CLUSTERS):
        ems = ("one", "two")[c % 2]
        hub = f"h{c}"
        source = {"trial_rate_hz": 1e10, "pairs_per_pulse": 0.005, "werner": 0.998, "warm_up_s": 0}
        nodes.append(
            {
                "id": hub,
                "operator": "bench",
                "element": f"{hub}-qn",
                "ems": ems,
                "sources": [{"id": f"src-{i}", **source} for i in range(6)],
            }
        )
        for s in range(SITES):
            site = f"s{c}-{s}"
            nodes.append(
                {
                    "id": site,
                    "operator": "bench",
                    "site": site,
                    "element": f"{site}-qn",
                    "ems": ems,
                    "detectors": [{"id": f"det-{i}"} for i in range(3)],
                }
            )
            ends = {"a": {"node": hub, "port": f"q{s}"}, "b": {"node": site, "port": "q1"}}
            fibres.append({"id": f"f-{site}", **ends, "length_km": 5.0})
            ends = {"a": {"node": hub, "port": f"t{s}"}, "b": {"node": site, "port": "t1"}}
            timing.append({"id": f"t-{site}", **ends, "length_km": 5.0})
    return {
        "bellweave_topology": 1,
        "operator": "bench",
        "nodes": nodes,
        "quantum_links": fibres,
        "timing_links": timing,
    }


def _orders_per_s(doors: Doors) -> float:
    """Orders all clusters at once and takes them down again; only the ordering is timed."""
    with ThreadPoolExecutor(CLUSTERS) as pool:
        begun = time.perf_counter()
        services = list(pool.map(lambda cluster: _order(doors, cluster), range(CLUSTERS)))
        elapsed_s = time.perf_counter() - begun
        list(pool.map(lambda service: _terminate(doors, service), services))
    return CLUSTERS / elapsed_s


def _order(doors: Doors, cluster: int) -> str:
    body = {
        "kind": "full_mesh_vpn",
        "sites": [f"s{cluster}-{s}" for s in range(SITES)],
        "security_level": "top_secret",
        "max_latency_s": 1.0,
        "rate_bytes_per_s": 100,
    }
    order = doors.orders.post("/orders", body, key=new_id("bench"))
    for kind, data in doors.orders.follow(f"/orders/{order['id']}/events"):
        if kind == "state" and data["state"] in ("refused", "failed"):
            raise RuntimeError(f"the order was {data['state']}: {data['problem']}")
        if kind == "state" and data["state"] in ("stabilizing", "completed"):
            return str(data["service_id"])
    raise RuntimeError("the order never ended")


def _terminate(doors: Doors, service_id: str) -> None:
    doors.orders.delete(f"/services/{service_id}")
    deadline_s = time.monotonic() + 60.0
    while time.monotonic() < deadline_s:
        if doors.orders.get(f"/services/{service_id}")["state"] == "terminated":
            return
        time.sleep(0.1)
    raise RuntimeError("the service was not terminated")


async def _floor_per_s(status: Status) -> float:
    admin = next(user for user in status.bus_users if user.name == "admin")
    url = str(status.process("nats").address)
    callee = await nats.connect(url, user=admin.name, password=admin.password)
    owner = status.databases["sms.main"].owner
    async with await psycopg.AsyncConnection.connect(owner, autocommit=True) as conn:
        await conn.execute("CREATE TABLE bench_order (id bigint GENERATED ALWAYS AS IDENTITY, body text)")
    try:
        await echo(callee, "bench.order")
        bare = await asyncio.gather(
            *(_Bare.open(url, admin.password, owner, _elements(status, c)) for c in range(CLUSTERS))
        )
        await asyncio.gather(*(one.order() for one in bare))
        begun = time.perf_counter()
        for _ in range(ROUNDS):
            await asyncio.gather(*(one.order() for one in bare))
        elapsed_s = time.perf_counter() - begun
        await asyncio.gather(*(one.close() for one in bare))
        return ROUNDS * CLUSTERS / elapsed_s
    finally:
        await callee.close()


def _elements(status: Status, cluster: int) -> list[ElementStatus]:
    names = {f"s{cluster}-{s}-qn" for s in range(SITES)} | {f"h{cluster}-qn"}
    return [element for element in status.elements if element.name in names]


class _Bare:
    """One order's list of operations, on its own connections."""

    def __init__(
        self, bus: Client, conn: psycopg.AsyncConnection[Any], sessions: list[tuple[str, BareSession]]
    ) -> None:
        self._bus = bus
        self._conn = conn
        self._sessions = sessions
        self._rounds = 0

    @classmethod
    async def open(cls, url: str, password: str, owner: str, elements: list[ElementStatus]) -> _Bare:
        bus = await nats.connect(url, user="admin", password=password)
        conn = await psycopg.AsyncConnection.connect(owner, autocommit=True)
        sessions = await asyncio.gather(*map(BareSession.open, elements))
        names = [element.name for element in elements]
        return cls(bus, conn, list(zip(names, sessions, strict=True)))

    async def order(self) -> None:
        """Every second round takes away what the one before has made."""
        self._rounds += 1
        await self._write(3)
        await self._hop(2)
        for number in range(3):
            await self._hop(2)
            await asyncio.gather(*(self._fly(name, session, number) for name, session in self._sessions))
            await self._write(3)

    async def _fly(self, name: str, session: BareSession, number: int) -> None:
        make, undo = edits(transit=name.startswith("h"))
        edit = make if self._rounds % 2 else undo
        await session.flight(flights(edit, f"floor.{self._rounds}")[number])

    async def close(self) -> None:
        await self._bus.close()
        await self._conn.close()
        await asyncio.gather(*(session.close() for _, session in self._sessions))

    async def _write(self, times: int) -> None:
        for _ in range(times):
            await self._conn.execute("INSERT INTO bench_order (body) VALUES (%s)", ("x" * 1000,))

    async def _hop(self, times: int) -> None:
        for _ in range(times):
            await self._bus.request("bench.order", b"x" * 500, timeout=5)
