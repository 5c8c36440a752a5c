"""The use cases of one NMS on fakes, and requests to try them with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.nms_service.fakes import EPOCH, TRIANGLE, FakePeers, FakeStore, State

from nms.usecases.alarm import Alarms
from nms.usecases.commit import Commits
from nms.usecases.heal import Healing
from nms.usecases.link import Links
from nms.usecases.place import Places
from nms.usecases.settle import Settler
from nms.usecases.topology import Networks, Topologies
from nms.usecases.usage import Usages
from qcommit.machine import Limits
from qmodel.clock import DomainClock
from qmodel.contracts.commit import CommitAtNms, CommitReply, Verb, Vote
from qmodel.contracts.ems import Alarm, AlarmChanged, ElementReadiness, PerceivedSeverity
from qmodel.contracts.nms import PlaceLinks
from qmodel.ids import new_id
from qmodel.links import LinkRequest, LinkState
from qmodel.security import SecurityLevel


class Bench:
    """The use cases of one NMS on fakes. `real_s` is the real time, which stands still unless moved."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()
        self.peers = FakePeers()
        self.real_s = 1_000_000.0
        clock = DomainClock(0.0, 1.0, lambda: self.real_s)
        self.clock = clock
        networks = Networks("north")
        self.topologies = Topologies(self.store, "north")
        self.settler = Settler(self.store, networks, clock, fresh_within_s=0.0, heal_retry_s=10.0)
        self.commits = Commits(
            self.store,
            self.peers,
            networks,
            self.settler,
            now_s=lambda: self.real_s,
            epoch=lambda: EPOCH,
            limits=Limits(first_retry_s=0.0, last_retry_s=0.0),
            carry_s=5.0,
            confirm_timeout_s=60.0,
        )
        self.links = Links(
            self.store,
            networks,
            clock,
            fresh_within_s=0.0,
            hold_off_s=0.5,
            acquisition_s=30.0,
            patience=3.0,
            tolerance=0.01,
        )
        self.healing = Healing(
            self.store, networks, clock, self.commits, self.links, retry_s=10.0, hold_s=60.0, new_id=new_id
        )
        self.places = Places(self.store, networks, clock, hold_s=60.0, tries=3)
        self.alarms = Alarms(networks, hold_off_s=0.5)
        self.usages = Usages(networks)

    @property
    def state(self) -> State:
        return self.store.state

    async def start(self) -> Bench:
        await self.topologies.import_text(TRIANGLE.read_text(), "operator")
        return self

    async def verb(self, change_id: str, verb: Verb) -> CommitReply:
        ask = CommitAtNms(
            request_id=f"{change_id}.{verb}", change_id=change_id, epoch=1, verb=verb, coordinator="sms.main"
        )
        return await self.commits.handle(ask)

    async def commit(self, change_id: str) -> list[Vote]:
        """Validate, provision, confirm, as the SMS would; the votes."""
        verbs = (Verb.VALIDATE, Verb.PROVISION, Verb.CONFIRM)
        return [(await self.verb(change_id, verb)).vote for verb in verbs]

    async def place(self, change_id: str, *links: LinkRequest) -> Any:
        ask = PlaceLinks(request_id=change_id, change_id=change_id, links=links)
        return await self.places.place(ask)

    async def ready(self, element: str, *link_ids: str, ready: bool = True) -> None:
        """The element reports these links, and nothing else."""
        circuits = tuple({"link_id": link_id, "ready": ready, "reason": "test"} for link_id in link_ids)
        ems = "ems.west" if element == "charlie-qn" else "ems.north"
        await self.hear(ems, {"element": element, "reachable": True, "circuits": circuits})

    async def hear(self, ems: str, said: dict[str, Any]) -> None:
        event = ElementReadiness.model_validate(said)
        heard_at = datetime.fromtimestamp(self.real_s, UTC)
        await self.store.run(lambda unit: self.links.reported(unit, ems, event, heard_at))

    async def all_ready(self) -> None:
        rows = [row for row in self.state.links.values() if row.in_force]
        for element in ("alice-qn", "bob-qn", "charlie-qn"):
            await self.ready(element, *(row.link_id for row in rows if element in row.parts))

    async def alarm(self, element: str, port: str, *, cleared: bool = False) -> None:
        severity = PerceivedSeverity.CLEARED if cleared else PerceivedSeverity.CRITICAL
        alarm = Alarm(
            element=element,
            resource=f"port/{port}",
            alarm_type="loss-of-signal",
            severity=severity,
            text="no light",
            raised_at=self.clock.now(),
        )
        ems = "ems.west" if element == "charlie-qn" else "ems.north"
        heard_at = datetime.fromtimestamp(self.real_s, UTC)
        await self.store.run(lambda unit: self.alarms.changed(unit, ems, AlarmChanged(alarm=alarm), heard_at))

    def states(self) -> dict[str, LinkState]:
        return {link_id: row.state for link_id, row in self.state.links.items()}

    def nothing_is_left(self) -> bool:
        """No capacity taken, no claim held."""
        return not any(self.state.used.values()) and not self.state.holds and not self.state.claims


def link(link_id: str, a: str = "alice", b: str = "bob", **more: Any) -> LinkRequest:
    values: dict[str, Any] = {
        "security_level": SecurityLevel.TOP_SECRET,
        "key_rate_bps": 1000.0,
        "min_fidelity": 0.9,
        "max_latency_s": 1.0,
    }
    return LinkRequest(link_id=link_id, a=a, b=b, **(values | more))


@pytest.fixture
def make_link() -> Callable[..., LinkRequest]:
    return link


@pytest.fixture
async def bench() -> Bench:
    return await Bench().start()
