"""An NMS on a real PostgreSQL and a real NATS, with EMSs and an SMS that answer as a test tells them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from bellweave_local.servers import NatsServer, PostgresServer
from nms.app import build
from nms.settings import NmsSettings
from nms.store import PgStore
from nms.usecases.topology import Topologies
from qkit.bus import Bus
from qkit.database import Database
from qkit.events import Relay
from qkit.events.envelope import build as envelope
from qkit.migrations import RoleUrls, migrate, prepare_database
from qkit.service import Kit, Service, open_kit
from qkit.settings import ServiceSettings
from qkit.streams import ensure_streams
from qkit.tasks import end
from qmodel.contracts import Event
from qmodel.contracts.commit import (
    CommitAtEms,
    CommitAtNms,
    CommitReply,
    MemberReport,
    Outcome,
    OutcomeAtSms,
    OutcomeReply,
    Verb,
    Vote,
)
from qmodel.contracts.ems import Alarm, AlarmChanged, ElementReadiness, PerceivedSeverity
from qmodel.contracts.nms import PlaceLinks, PlaceReply
from qmodel.ids import new_id
from qmodel.links import LinkRequest
from qmodel.nodeconfig import NodeConfig
from qmodel.security import SecurityLevel

TRIANGLE = (Path(__file__).parents[2] / "unit" / "nms_service" / "triangle.yaml").read_text()
WIRING = {"sms.main": ["nms.north"], "nms.north": ["ems.north", "ems.west"]}
YES = {
    Verb.VALIDATE: Vote.VALIDATED,
    Verb.PROVISION: Vote.PROVISIONED,
    Verb.CONFIRM: Vote.CONFIRMED,
    Verb.ABORT: Vote.ABORTED,
}


class FakeEms:
    """An EMS on the real bus. It keeps what its elements run, votes as `script` says, and never answers a
    verb in `silent`."""

    def __init__(self, bus: Bus) -> None:
        self.name = bus.name
        self.bus = bus
        self.running: dict[str, NodeConfig] = {}
        self.staged: dict[str, dict[str, NodeConfig]] = {}
        self.script: dict[Verb, Vote] = {}
        self.silent: set[Verb] = set()
        self.told: list[Verb] = []
        self._sequence = 0
        bus.serve(CommitAtEms, self._commit)

    async def _commit(self, ask: CommitAtEms) -> CommitReply:
        self.told.append(ask.verb)
        if ask.verb in self.silent:
            await asyncio.sleep(3600)
        vote = self.script.get(ask.verb, YES[ask.verb])
        if ask.verb is Verb.VALIDATE:
            self.staged[ask.change_id] = dict(ask.targets)
        if vote is Vote.CONFIRMED:
            self.running |= self.staged.get(ask.change_id, {})
        elements = sorted(self.staged.get(ask.change_id, {}))
        return CommitReply(
            change_id=ask.change_id,
            vote=vote,
            detail=None if vote is YES[ask.verb] else f"{elements[0]} says no",
            where=None if vote is YES[ask.verb] else elements[0],
            members=tuple(MemberReport(member=element, vote=vote) for element in elements),
        )

    async def emit(self, event: Event) -> None:
        """Publish as the relay of an EMS would."""
        self._sequence += 1
        row = {
            "topic": event.topic,
            "type": event.cloudevents_type(),
            "data": event.model_dump_json(),
            "traceparent": None,
            "emitted_at": datetime.now(UTC),
            "sequence": self._sequence,
        }
        subject = f"evt.{self.name}.{event.topic}"
        await self.bus.jetstream().publish(subject, envelope(self.name, "abc123", row))

    async def ready(self, ready: bool = True) -> None:
        """Every element reports every circuit that it runs."""
        for element, config in self.running.items():
            circuits = [{"link_id": c.link_id, "ready": ready} for c in config.circuits]
            said = {"element": element, "reachable": True, "circuits": circuits}
            await self.emit(ElementReadiness.model_validate(said))

    async def dark(self, element: str, *ports: str, cleared: bool = False) -> None:
        severity = PerceivedSeverity.CLEARED if cleared else PerceivedSeverity.CRITICAL
        for port in ports:
            alarm = Alarm(
                element=element,
                resource=f"port/{port}",
                alarm_type="loss-of-signal",
                severity=severity,
                text="no reference light",
                raised_at=datetime.now(UTC),
            )
            await self.emit(AlarmChanged(alarm=alarm))


@dataclass
class Process:
    """One life of the NMS process: all that `qkit.service` would run but the door, until it is killed."""

    kit: Kit[NmsSettings]
    service: Service
    stack: AsyncExitStack
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def kill(self) -> None:
        """End as if by SIGKILL: what is under way is not finished."""
        async with self.stack:
            await end(self.tasks)
            await self.kit.bus.stop_serving(0.0)
            for last in self.service.on_stop:
                await last()


class Rig:
    """The NMS under test and its neighbours. `admin` is a pool of the database's owner, to look with."""

    def __init__(
        self, urls: RoleUrls, nats_url: str, admin: Database, sms: Bus, emss: dict[str, FakeEms]
    ) -> None:
        self.urls = urls
        self.nats_url = nats_url
        self.admin = admin
        self.sms = sms
        self.emss = emss
        self.outcomes: dict[str, Outcome] = {}
        self.process: Process | None = None
        sms.serve(OutcomeAtSms, self._outcome)

    @property
    def north(self) -> FakeEms:
        return self.emss["ems.north"]

    @property
    def west(self) -> FakeEms:
        return self.emss["ems.west"]

    async def _outcome(self, ask: OutcomeAtSms) -> OutcomeReply:
        outcome = self.outcomes.get(ask.change_id, Outcome.UNDECIDED)
        return OutcomeReply(change_id=ask.change_id, outcome=outcome)

    # The process.

    async def start(self) -> Process:
        settings = NmsSettings(
            instance="north",
            database_url=self.urls.owner,
            database_api_url=self.urls.api,
            database_worker_url=self.urls.worker,
            nats_url=self.nats_url,
            nats_user="tests",
            nats_password="tests",
            oidc_issuer="https://issuer.invalid",
            hold_off_s=0.1,
            heal_retry_s=0.3,
            carry_s=0.2,
            fresh_within_s=0.2,
            ems_validate_s=1.0,
            ems_provision_s=1.0,
            ems_settle_s=1.0,
        )
        stack = AsyncExitStack()
        kit = await open_kit(settings, stack, asyncio.Event())
        relay = Relay(kit.db_worker, kit.bus, kit.wakeups)
        relay.serve_replays()
        service = await build(kit)
        await kit.bus.start()
        self.process = Process(kit, service, stack)
        endless = [kit.lease.run, kit.wakeups.run, relay.run, *(loop.run for loop in service.loops)]
        self.process.tasks = [asyncio.ensure_future(run()) for run in (*endless, *service.background)]
        return self.process

    async def import_topology(self, text: str = TRIANGLE) -> None:
        assert self.process is not None
        await Topologies(PgStore(self.process.kit.db_api), "north").import_text(text, "operator")

    async def restart(self) -> None:
        assert self.process is not None
        await self.process.kill()
        await self.start()

    # What the SMS does.

    async def place(self, change_id: str, *links: LinkRequest) -> PlaceReply:
        ask = PlaceLinks(request_id=new_id("req"), change_id=change_id, links=links)
        return await self.sms.request("north", ask)

    async def verb(self, change_id: str, verb: Verb, *, timeout_s: float = 20.0) -> CommitReply:
        ask = CommitAtNms(
            request_id=new_id("req"), change_id=change_id, epoch=1, verb=verb, coordinator="sms.main"
        )
        return await self.sms.request("north", ask, timeout_s=timeout_s)

    async def commit(self, change_id: str) -> list[Vote]:
        verbs = (Verb.VALIDATE, Verb.PROVISION, Verb.CONFIRM)
        return [(await self.verb(change_id, verb)).vote for verb in verbs]

    # Looking.

    async def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        async with self.admin.transaction() as conn:
            return await (await conn.execute(statement.encode(), values)).fetchall()

    async def states(self) -> dict[str, str]:
        return {
            row["link_id"]: row["state"] for row in await self.rows("SELECT * FROM link ORDER BY link_id")
        }

    async def told(self, topic: str) -> list[dict[str, Any]]:
        found = await self.rows("SELECT data FROM kit.outbox WHERE topic = %s ORDER BY id", topic)
        return [row["data"] for row in found]

    async def until(self, holds: Callable[[], Awaitable[bool]], limit_s: float = 20.0) -> None:
        """Wait until `holds`; the limit only bounds a test that fails."""
        async with asyncio.timeout(limit_s):
            while not await holds():  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)

    async def until_states(self, **states: str) -> None:
        async def reached() -> bool:
            now = await self.states()
            return all(now.get(link_id) == state for link_id, state in states.items())

        await self.until(reached)

    async def check_capacity(self) -> None:
        """What is booked is exactly what links in force and held changes take, and never more than all."""
        wrong = await self.rows(
            "SELECT u.resource FROM resource_use u WHERE used_ppm <>"
            " coalesce((SELECT sum(share_ppm) FROM link_share l WHERE l.resource = u.resource), 0)"
            " + coalesce((SELECT sum(share_ppm) FROM change_share c WHERE c.resource = u.resource), 0)"
            " OR used_ppm NOT BETWEEN 0 AND 1000000"
        )
        assert wrong == []

    async def check_nothing_left(self) -> None:
        await self.check_capacity()
        assert await self.rows("SELECT * FROM resource_use WHERE used_ppm <> 0") == []
        assert await self.rows("SELECT * FROM kit.commit_claim") == []


def _neighbour(name: str, nats_url: str) -> ServiceSettings:
    service, _, instance = name.partition(".")
    nowhere = "postgresql://nowhere"
    return ServiceSettings(
        service=service,
        instance=instance,
        database_url=nowhere,
        database_api_url=nowhere,
        database_worker_url=nowhere,
        nats_url=nats_url,
        nats_user="tests",
        nats_password="tests",
        oidc_issuer="https://issuer.invalid",
    )


@pytest.fixture
async def urls(postgres_server: PostgresServer) -> AsyncIterator[RoleUrls]:
    name = f"nms_{secrets.token_hex(6)}"
    passwords = {role: secrets.token_hex(8) for role in ("owner", "api", "worker")}
    yield await _prepare(postgres_server, name, passwords)
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in passwords:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_{role}")))


async def _prepare(server: PostgresServer, name: str, passwords: dict[str, str]) -> RoleUrls:
    urls = await prepare_database(server.url(), name, passwords)
    await migrate(urls.owner, own=files("nms") / "migrations")
    return urls


@pytest.fixture
async def rig(urls: RoleUrls, nats_server: NatsServer) -> AsyncIterator[Rig]:
    """A started NMS with the triangle as its topology."""
    await ensure_streams(nats_server.url, "tests", "tests", WIRING)
    async with AsyncExitStack() as stack:
        buses = {}
        for name in ("sms.main", "ems.north", "ems.west"):
            buses[name] = await Bus.connect(_neighbour(name, nats_server.url))
            stack.push_async_callback(buses[name].client.close)
        emss = {name: FakeEms(bus) for name, bus in buses.items() if name.startswith("ems.")}
        admin = await Database.open(urls.owner)
        stack.push_async_callback(admin.close)
        rig = Rig(urls, nats_server.url, admin, buses["sms.main"], emss)
        for bus in buses.values():
            await bus.start()
            stack.push_async_callback(bus.stop_serving, 0.0)
        await rig.start()
        await rig.import_topology()
        try:
            yield rig
        finally:
            assert rig.process is not None
            await rig.process.kill()


@pytest.fixture
def make_link() -> Callable[..., LinkRequest]:
    def make(link_id: str, a: str = "alice", b: str = "bob", **more: Any) -> LinkRequest:
        values: dict[str, Any] = {
            "security_level": SecurityLevel.TOP_SECRET,
            "key_rate_bps": 1000.0,
            "min_fidelity": 0.9,
            "max_latency_s": 1.0,
        }
        return LinkRequest(link_id=link_id, a=a, b=b, **(values | more))

    return make
