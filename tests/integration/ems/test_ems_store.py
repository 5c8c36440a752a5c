"""The EMS's rows on a real PostgreSQL: devices and logins, changes, reports and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
from cryptography.fernet import Fernet

from ems.adapters.vault import FernetVault
from ems.domain.device import DeviceAddress, Login, Profile, Traits
from ems.domain.managed import ManagedDevice, ManagedState
from ems.domain.observation import ActiveAlarm, Operational, UsageCounter
from ems.domain.report import Report, Told, of_reading
from ems.domain.snapshot import Snapshot
from ems.store import EmsStore
from qcommit.machine import Change, Level, Member, Phase
from qkit.database import Database
from qkit.migrations import RoleUrls, migrate
from qmodel.contracts.commit import Vote
from qmodel.contracts.ems import CircuitReadiness, PerceivedSeverity
from qmodel.errors import Conflict, NotFound
from qmodel.nodeconfig import Circuit, NodeConfig, Role

PORTS = {"a": 830, "b": 1830}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOGIN = Login("admin", private_key="-----BEGIN PRECIOUS KEY-----")
TARGET = NodeConfig(
    circuits=(Circuit(link_id="lnk_1", role=Role.ENDPOINT, ports=("q1",), detector="d", pair_rate_hz=1.0),)
)
ALARM = ActiveAlarm("port/q1", "loss-of-signal", PerceivedSeverity.CRITICAL, "dark", NOW)


@pytest.fixture
async def db(urls: RoleUrls) -> AsyncIterator[Database]:
    await migrate(urls.owner, own=files("ems") / "migrations")
    pool = await Database.open(urls.worker)
    yield pool
    await pool.close()


@pytest.fixture
async def store(db: Database) -> EmsStore:
    made = EmsStore(db, FernetVault(Fernet.generate_key()), lambda: NOW)
    for name in ("a", "b"):
        await made.add_device(device(name, port=PORTS[name]), LOGIN)
    return made


def device(name: str, port: int = 830) -> ManagedDevice:
    return ManagedDevice(
        name=name,
        address=DeviceAddress("127.0.0.1", port, "ssh-ed25519 AAAA"),
        user="admin",
        state=ManagedState.MANAGED,
        profile=Profile(frozenset({"urn:x"}), ()),
        traits=Traits(),
    )


def planned(change_id: str, *votes: Vote | None, phase: Phase = Phase.PROVISIONING) -> Change:
    members = tuple(Member(name, vote) for name, vote in zip("ab", votes or (None, None), strict=True))
    return Change(change_id, Level.LEAF, 1, members, parent="nms.north", phase=phase)


async def insert(store: EmsStore, change_id: str, *elements: str) -> None:
    targets = dict.fromkeys(elements or ("a", "b"), TARGET)
    await store.insert_change(planned(change_id), targets, dict.fromkeys(targets, Snapshot()))


async def rows(db: Database, statement: str) -> list[dict[str, Any]]:
    async with db.transaction() as conn:
        return await (await conn.execute(statement.encode())).fetchall()


async def test_a_login_comes_back_and_its_secret_is_in_no_row(store: EmsStore, db: Database) -> None:
    access = await store.access("a")
    assert access.login == LOGIN
    assert "PRECIOUS" not in str(await rows(db, "SELECT * FROM device")) + str(
        bytes((await rows(db, "SELECT login FROM device"))[0]["login"])
    )


async def test_a_name_belongs_to_one_address(store: EmsStore) -> None:
    again = await store.add_device(device("a"), LOGIN)
    assert again.version == 2
    with pytest.raises(Conflict):
        await store.add_device(device("a", port=831), LOGIN)
    with pytest.raises(NotFound):
        await store.device("nobody")


async def test_a_device_has_one_name_however_many_are_tried_at_once(store: EmsStore) -> None:
    with pytest.raises(Conflict, match="already the device a"):
        await store.add_device(device("alias"), LOGIN)
    names = ("c", "d", "e")
    tried = [store.add_device(device(name, port=2830), LOGIN) for name in names]
    ended = await asyncio.gather(*tried, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in ended) == 2
    assert len(await store.device_names()) == 3


async def test_elements_have_one_change_and_a_refused_one_leaves_nothing(
    store: EmsStore, db: Database
) -> None:
    await insert(store, "chg_1", "a")
    with pytest.raises(Conflict):
        await insert(store, "chg_2", "a", "b")
    assert await store.stored_change("chg_2") is None
    assert await store.claimed("chg_2", ["a", "b"]) == {"a": "chg_1"}


async def test_a_change_comes_back_with_its_targets_and_what_was_before(store: EmsStore) -> None:
    await insert(store, "chg_1")
    stored = await store.stored_change("chg_1")
    assert stored is not None
    assert (stored.change, stored.targets["a"], stored.before["b"]) == (planned("chg_1"), TARGET, Snapshot())
    assert await store.unfinished_changes() == ["chg_1"]


async def test_committed_targets_are_intended_and_free_for_the_next_change(store: EmsStore) -> None:
    await insert(store, "chg_1")
    done = planned("chg_1", Vote.CONFIRMED, Vote.CONFIRMED, phase=Phase.COMMITTED)
    await store.save_change(done, dict.fromkeys("ab", TARGET))
    await store.save_change(done, dict.fromkeys("ab", TARGET))
    assert await store.intended("a") == TARGET
    assert await store.unfinished_changes() == []
    with pytest.raises(Conflict, match="links"):
        await store.remove_device("a")
    await insert(store, "chg_2")


async def test_a_member_of_unknown_state_is_quarantined_alarmed_and_held_until_it_is_known(
    store: EmsStore,
) -> None:
    await insert(store, "chg_1")
    lost = planned("chg_1", Vote.CONFIRMED, Vote.UNKNOWN, phase=Phase.COMMITTED)
    await store.save_change(lost, dict.fromkeys("ab", TARGET))
    assert list(await store.unmanaged(["a", "b"])) == ["b"]
    assert await store.claimed("chg_2", ["a", "b"]) == {"b": "chg_1"}
    await store.set_state("b", ManagedState.UNREACHABLE, "silent")
    assert (await store.device("b")).state is ManagedState.QUARANTINED, "silence does not end a quarantine"
    (alarm,) = await store.alarms(element="b", all_states=False, before=2**62, limit=10)
    assert alarm["alarm_type"] == "quarantined"
    found = replace(lost, members=tuple(replace(m, vote=Vote.CONFIRMED) for m in lost.members))
    await store.save_change(found, dict.fromkeys("ab", TARGET))
    assert await store.unmanaged(["a", "b"]) == {}
    assert await store.claimed("chg_2", ["a", "b"]) == {}
    assert await store.alarms(element="b", all_states=False, before=2**62, limit=10) == []


async def test_what_is_new_is_told_once_and_told_anew_after_a_change(store: EmsStore, db: Database) -> None:
    def decide(told: Told) -> Report:
        ready = CircuitReadiness(link_id="lnk_1", ready=True)
        counter = UsageCounter("lnk_1", "key-bits", "boot", 500, True)
        seen = Operational((ready,), (counter,), (ALARM,), {}, {"port/q1/signal": 0.0})
        return of_reading("a", told, seen, NOW, NOW, with_alarms=True, with_samples=False)

    async def topics() -> list[str]:
        return sorted(row["topic"] for row in await rows(db, "SELECT topic FROM kit.outbox"))

    await store.record("a", decide)
    await store.record("a", decide)
    assert await topics() == ["alarm", "readiness", "usage"]
    await insert(store, "chg_1", "a")
    done = replace(planned("chg_1"), members=(Member("a", Vote.CONFIRMED),), phase=Phase.COMMITTED)
    await store.save_change(done, {"a": TARGET})
    await store.record("a", decide)
    assert await topics() == ["alarm", "readiness", "readiness", "usage"]
