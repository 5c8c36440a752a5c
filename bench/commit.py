"""What a network-wide commit costs over N devices, against the round trips that it cannot do without.

Ours: the root (this process, with the production desk, runner and rows) over one NMS over two EMSs over N
emulated NETCONF devices, each its own process but for the devices. Floor: the same RPCs in the same three
flights over bare SSH channels, all devices in parallel on the same emulators, plus what is serial by
nature: 6 bus hops (SMS to NMS to EMS, three flights) and 9 durable writes (three at each level).
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from ncclient import manager

from bellweave_local.state import ElementStatus, Status
from bench.floor import BareSession, bus_hop_s, durable_write_s
from bench.ground import pairs_topology, settings_of, stack
from bench.result import Context, Result
from ems.adapters.netconf import operations
from ems.adapters.netconf.quantum_node import FILTER, write_edit
from ems.domain.quantum_node import snapshot_of
from ems.domain.snapshot import Snapshot, change
from qcommit.desk import Desk
from qcommit.machine import LIMITS, Change, Heard, Level, Member
from qcommit.runner import Runner
from qkit import commitlog
from qkit.bus import Bus
from qkit.database import Database
from qmodel.contracts.commit import CommitAtNms, Outcome, Verb, Vote
from qmodel.contracts.nms import PlaceLinks, RemoveLinks
from qmodel.ids import new_id
from qmodel.links import LinkRequest
from qmodel.nodeconfig import Circuit, NodeConfig, Role
from qmodel.security import SecurityLevel

NAME = "commit"
DEVICES = (4, 16, 64)
ROUNDS = 7
HOPS, WRITES = 6, 9
DEPLOYMENT = {
    "instances": [
        {"name": "sms.main", "peers": ["nms.bench"]},
        {"name": "nms.bench", "peers": ["ems.one", "ems.two"]},
        {"name": "ems.one", "settings": {"BELLWEAVE_POLL_S": "30"}},
        {"name": "ems.two", "settings": {"BELLWEAVE_POLL_S": "30"}},
    ],
    "clock_scale": 1,
}
_READ = operations.get_config("running", FILTER)


class Root:
    """The SMS's place in the tree, with nothing else of it."""

    def __init__(self, bus: Bus, db: Database) -> None:
        self._bus = bus
        self._db = db
        self.desk = Desk(Runner(self, self, time.time, LIMITS[Level.ROOT]), self._load, lambda: 1)

    async def save(self, change: Change) -> None:
        async with self._db.transaction() as conn:
            await commitlog.save(conn, change)

    async def _load(self, change_id: str) -> Change | None:
        return None

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        request = CommitAtNms(
            request_id=new_id("req"),
            change_id=change.change_id,
            epoch=change.epoch,
            verb=verb,
            coordinator="sms.main",
        )
        reply = await self._bus.request(member, request, timeout_s=30.0)
        return Heard(member, verb, reply.vote, reply.expires_at_s, reply.detail, reply.where)

    async def ask_parent(self, change: Change) -> Outcome:
        return Outcome.UNDECIDED

    async def commit_s(self, change_id: str, elements: list[str]) -> float:
        """Seconds from the planned row to the end of the change, which must be confirmed."""
        change = Change(change_id, Level.ROOT, 1, (Member("bench"),))
        begun = time.perf_counter()
        async with self._db.transaction() as conn:
            await commitlog.insert(conn, change, [f"bench/{e}" for e in elements], {})
        ended, vote = await self.desk.begin(change)
        elapsed_s = time.perf_counter() - begun
        if vote is not Vote.CONFIRMED:
            raise RuntimeError(f"the commit ended {vote}: {ended.refusal if ended else None}")
        return elapsed_s


def run(context: Context) -> list[Result]:
    most = max(DEVICES)
    context.say(f"starting a stack with {most} emulated devices on two EMSs")
    with stack(DEPLOYMENT, {"bench": pairs_topology("bench", most // 2, ("one", "two"))}) as status:
        return asyncio.run(_measure(context, status))


async def _measure(context: Context, status: Status) -> list[Result]:
    settings = settings_of(status, "sms.main")
    admin = next(user for user in status.bus_users if user.name == "admin")
    hop_s = await bus_hop_s(settings.nats_url, admin.name, admin.password)
    write_s = await durable_write_s(status.databases["sms.main"].owner)
    context.say(f"bare bus hop {1e3 * hop_s:.2f} ms, bare durable write {1e3 * write_s:.2f} ms")
    bus = await Bus.connect(settings)
    db = await Database.open(settings.database_worker_url.get_secret_value())
    results: list[Result] = []
    try:
        root = Root(bus, db)
        for devices in DEVICES:
            chosen = _elements(status, devices)
            ours_s = await _ours(bus, root, devices)
            flights_s = await _bare(chosen)
            floor_s = flights_s + HOPS * hop_s + WRITES * write_s
            ncclient_s = await asyncio.to_thread(_by_ncclient, chosen)
            conditions = (
                f"median of {ROUNDS}; floor: bare flights {1e3 * flights_s:.1f} ms + {HOPS} hops"
                f" + {WRITES} writes; ncclient in threads {1e3 * ncclient_s:.0f} ms"
            )
            results.append(
                Result(f"{NAME}/{devices}", 1e3 * ours_s, "ms", "floor", 1e3 * floor_s, conditions)
            )
            context.say(f"{devices} devices: {1e3 * ours_s:.1f} ms, floor {1e3 * floor_s:.1f} ms")
    finally:
        await bus.close()
        await db.close()
    return results


def _elements(status: Status, devices: int) -> list[ElementStatus]:
    names = {f"{end}{i}-qn" for i in range(devices // 2) for end in "ab"}
    return [element for element in status.elements if element.name in names]


async def _ours(bus: Bus, root: Root, devices: int) -> float:
    """Median seconds to commit one link per pair of devices; each round takes its links away again."""
    times = []
    for _ in range(ROUNDS + 1):
        change_id = new_id("chg")
        links = tuple(
            LinkRequest(
                link_id=f"{change_id}.{i}",
                a=f"a{i}",
                b=f"b{i}",
                security_level=SecurityLevel.TOP_SECRET,
                key_rate_bps=1000.0,
                min_fidelity=0.9,
                max_latency_s=1.0,
            )
            for i in range(devices // 2)
        )
        request = PlaceLinks(request_id=new_id("req"), change_id=change_id, links=links)
        placed = await bus.request("bench", request, timeout_s=30.0)
        elements = sorted({e for placement in placed.placements for e in placement.elements})
        times.append(await root.commit_s(change_id, elements))
        undo_id = new_id("chg")
        ids = tuple(link.link_id for link in links)
        removal = RemoveLinks(request_id=new_id("req"), change_id=undo_id, link_ids=ids)
        await bus.request("bench", removal, timeout_s=30.0)
        await root.commit_s(undo_id, elements)
    return median(times[1:])  # the first round opens sessions


def edits(*, transit: bool = False) -> tuple[bytes, bytes]:
    """An edit of one circuit as a commit sends it, and the one that takes it away; of a node that passes
    photons on, or of an end."""
    circuit = Circuit(
        link_id="bench-floor",
        role=Role.SWITCH if transit else Role.ENDPOINT,
        ports=("q1", "q2") if transit else ("q1",),
        detector=None if transit else "det-1",
        pair_rate_hz=1e4,
    )
    target, nothing = snapshot_of(NodeConfig(circuits=(circuit,))), Snapshot()
    return (
        operations.edit_candidate(write_edit(change(nothing, target))),
        operations.edit_candidate(write_edit(change(target, nothing))),
    )


def flights(edit: bytes, persist: str) -> tuple[tuple[bytes, ...], ...]:
    return (
        (operations.LOCK, operations.DISCARD, edit, operations.VALIDATE, _READ),
        (operations.commit_confirmed(persist, 60), _READ),
        (operations.commit_confirming(persist), _READ, operations.UNLOCK),
    )


async def _bare(elements: list[ElementStatus]) -> float:
    """Median seconds of the three flights on all devices at once, each flight ending before the next."""
    sessions = await asyncio.gather(*map(BareSession.open, elements))
    try:
        times = []
        for round_number in range(ROUNDS):
            for edit in edits():
                begun = time.perf_counter()
                for flight in flights(edit, f"floor.{round_number}"):
                    await asyncio.gather(*(session.flight(flight) for session in sessions))
                times.append(time.perf_counter() - begun)
        return median(times)
    finally:
        await asyncio.gather(*(session.close() for session in sessions))


def _by_ncclient(elements: list[ElementStatus]) -> float:
    """Seconds of the same work by ncclient, a thread per device, sessions opened before."""
    connections = [
        manager.connect(
            host=element.host,
            port=element.port,
            username=element.user,
            key_filename=element.private_key,
            hostkey_verify=False,
            allow_agent=False,
            look_for_keys=False,
            timeout=30,
        )
        for element in elements
    ]
    try:
        with ThreadPoolExecutor(len(connections)) as pool:
            begun = time.perf_counter()
            list(pool.map(_commit_by_ncclient, connections))
            return time.perf_counter() - begun
    finally:
        for connection in connections:
            connection.close_session()


def _commit_by_ncclient(connection: manager.Manager) -> None:
    make, undo = (_config_of(edit) for edit in edits())
    wanted = ("subtree", FILTER.decode())
    with connection.locked("candidate"):
        connection.discard_changes()
        connection.edit_config(make, target="candidate")
        connection.validate("candidate")
        connection.get_config("running", filter=wanted)
        connection.commit(confirmed=True, timeout="60", persist="nc")
        connection.get_config("running", filter=wanted)
        connection.commit(persist_id="nc")
        connection.get_config("running", filter=wanted)
    connection.edit_config(undo, target="candidate")
    connection.commit()


def _config_of(edit: bytes) -> str:
    inner = edit.decode().partition("<config>")[2].partition("</config>")[0]
    return f'<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{inner}</config>'
