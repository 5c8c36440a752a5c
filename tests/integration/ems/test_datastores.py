"""Drift on real parts: an emulated element over NETCONF, changed by somebody else, and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
from cryptography.fernet import Fernet
from lxml import etree

from ems.adapters.fleet import Fleet
from ems.adapters.netconf.adapter import NetconfAdapter
from ems.adapters.vault import FernetVault
from ems.domain.device import DeviceAddress, Login
from ems.domain.drift import Comparison, Policy
from ems.domain.snapshot import Snapshot
from ems.store import DatastoreStore, EmsStore
from ems.usecases.audit import Audit
from ems.usecases.busy import Busy
from ems.usecases.datastores import Datastores
from ems.usecases.device import Devices, NewDevice
from ems.usecases.observe import Observer
from emulator.network import Network
from qcommit.machine import Change, Level, Member, Phase
from qkit.database import Database
from qkit.migrations import RoleUrls, migrate
from qmodel.contracts.commit import Vote
from qmodel.contracts.ems import DriftState
from qmodel.errors import Conflict, Invalid, NotFound
from qmodel.nodeconfig import Circuit, NodeConfig, Role
from qmodel.yang import HARDWARE_NS, QUANTUM_NODE_NS
from qyang.edit import edit

NAME = "ne-a"
PATH = "/ietf-hardware:hardware/component[name='d1']/bellweave-quantum-node:quantum/attenuation-db"
WANTED = NodeConfig(
    circuits=(Circuit(link_id="lnk_x", role=Role.ENDPOINT, ports=("q1",), detector="d1", pair_rate_hz=5.0),)
)
CIRCUIT = f"""<config><quantum-node xmlns="{QUANTUM_NODE_NS}"><circuit><link-id>lnk_x</link-id>
<role>endpoint</role><a-port>q1</a-port><detector>d1</detector><pair-rate-hz>5.0</pair-rate-hz></circuit>
</quantum-node></config>"""


def dimmed(attenuation_db: str) -> str:
    return f"""<config><hardware xmlns="{HARDWARE_NS}"><component><name>d1</name>
<quantum xmlns="{QUANTUM_NODE_NS}"><attenuation-db>{attenuation_db}</attenuation-db></quantum></component>
</hardware></config>"""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await holds():
            return
        await asyncio.sleep(0.04)
    raise AssertionError("what was waited for did not happen")


class Site:
    """An EMS's parts over one database, and hands at the device that are not the EMS's."""

    def __init__(self, network: Network, db: Database, adapter: NetconfAdapter) -> None:
        self.network, self.db = network, db
        self.devices = EmsStore(db, FernetVault(Fernet.generate_key()), lambda: datetime.now(UTC))
        self.store = DatastoreStore(db, self.devices)
        self.fleet = Fleet(adapter, self.devices, at_once=4)
        self.busy = Busy()
        self.datastores = Datastores(
            self.store, self.devices, self.fleet, self.busy, now=lambda: datetime.now(UTC)
        )
        self.adding = Devices(self.devices, adapter, self.fleet)

    async def somebody_else_edits(self, config: str) -> None:
        stores = self.network.elements[NAME].stores
        stores.set_candidate(edit(stores.schema, stores.running, etree.fromstring(config)), 999)
        await stores.commit(999)

    async def subscribed(self) -> bool:
        return any(each.subscription for each in self.network.elements[NAME].device.sessions.values())

    async def ended(self) -> bool:
        """Some drift was found, and none is open."""
        found = [drift.state for drift in await self.store.drifts(NAME, True, 2**62, 10)]
        return bool(found) and DriftState.OPEN not in found

    async def somebody_waits(self) -> bool:
        """A transaction waits for another."""
        return bool(await self.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        async with self.db.transaction() as conn:
            return await (await conn.execute(statement.encode())).fetchall()

    async def told(self) -> list[tuple[str, list[str]]]:
        found = await self.rows("SELECT data FROM kit.outbox WHERE topic LIKE '%drift' ORDER BY id")
        return [(row["data"]["state"], row["data"]["difference"]) for row in found]


@pytest.fixture
async def site(
    network: Network,
    urls: RoleUrls,
    adapter: NetconfAdapter,
    address_of: Callable[[str], DeviceAddress],
    login: Login,
) -> AsyncIterator[Site]:
    await migrate(urls.owner, own=files("ems") / "migrations")
    db = await Database.open(urls.worker)
    made = Site(network, db, adapter)
    at = address_of(NAME)
    await made.adding.add(NewDevice(NAME, at.host, at.port, login, at.host_key))
    yield made
    await made.fleet.close()
    await db.close()


async def test_a_device_is_taken_in_as_it_is_found(site: Site) -> None:
    found = await site.datastores.compare(NAME)
    assert (found.difference, found.revision, found.policy) == ((), 1, Policy.ALARM)
    intended = await site.datastores.revision(NAME, "intended")
    running = await site.datastores.revision(NAME, "running")
    assert (intended.cause, intended.digest) == ("learned", running.digest)
    assert await site.told() == []


async def test_an_out_of_band_change_becomes_drift_with_its_leaf_an_event_and_an_alarm(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0"))
    (only,) = (await site.datastores.compare(NAME)).difference
    assert (only.path, only.before, only.after) == (PATH, None, "3.0")
    await site.datastores.compare(NAME)  # seen again, told once
    assert await site.told() == [("open", [f"+ {PATH} = 3.0"])]
    (alarm,) = await site.rows("SELECT * FROM alarm WHERE cleared_at IS NULL")
    assert (alarm["alarm_type"], PATH in alarm["text"]) == ("drift", True)
    (drift,) = await site.store.drifts(NAME, False, 2**62, 10)
    assert drift.difference == (only,)


async def test_a_dry_run_of_either_way_says_what_would_change_and_changes_nothing(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0"))
    for synchronize in (site.datastores.sync_to, site.datastores.sync_from):
        assert [each.path for each in (await synchronize(NAME, "olga", dry_run=True)).difference] == [PATH]
    assert [each.path for each in (await site.datastores.compare(NAME)).difference] == [PATH]
    assert (await site.datastores.revision(NAME, "intended")).revision == 1


async def test_sync_to_drives_the_device_back_and_ends_the_drift(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0"))
    await site.datastores.compare(NAME)
    undone = await site.datastores.sync_to(NAME, "olga")
    assert [each.path for each in undone.difference] == [PATH]
    assert (await site.datastores.compare(NAME)).difference == ()
    (drift,) = await site.store.drifts(NAME, True, 2**62, 10)
    assert (drift.state, drift.ended_by) == ("overwritten", "olga")
    assert [state for state, _ in await site.told()] == ["open", "overwritten"]
    assert await site.rows("SELECT 1 FROM alarm WHERE cleared_at IS NULL") == []


async def test_sync_from_takes_over_what_runs_as_a_revision_of_its_own(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0"))
    assert (await site.datastores.sync_from(NAME, "olga")).difference == ()
    newest = await site.datastores.revision(NAME, "intended")
    assert (newest.revision, newest.cause, newest.who) == (2, "sync-from", "olga")
    assert newest.content is not None
    assert newest.content.leaves[PATH] == "3.0"
    first = await site.datastores.revision(NAME, "intended@1")
    assert first.content is not None
    assert PATH not in first.content.leaves


async def test_circuits_are_never_taken_over_from_a_device(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(CIRCUIT)
    left = await site.datastores.sync_from(NAME, "olga")
    assert any("lnk_x" in each.path for each in left.difference)
    assert (await site.datastores.revision(NAME, "intended")).revision == 1
    await site.datastores.sync_to(NAME, "olga")
    assert (await site.datastores.compare(NAME)).difference == ()


async def test_what_is_taken_over_is_shown_without_the_circuits_that_stay(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(CIRCUIT)
    await site.somebody_else_edits(dimmed("3.0"))
    shown = await site.datastores.sync_from(NAME, "olga", dry_run=True)
    assert [each.path for each in shown.difference] == [PATH]


async def committed(site: Site, change_id: str) -> None:
    """What the store is told when a network-wide change ends well; the device is not touched."""
    planned = Change(change_id, Level.LEAF, 1, (Member(NAME),), parent="nms.x", phase=Phase.PROVISIONING)
    await site.devices.insert_change(planned, {NAME: WANTED}, {NAME: Snapshot()})
    ended = replace(planned, phase=Phase.COMMITTED, members=(Member(NAME, Vote.CONFIRMED),))
    await site.devices.save_change(ended, {NAME: WANTED})


async def test_a_device_is_taken_in_with_the_circuits_that_the_nms_wants(site: Site) -> None:
    await committed(site, "chg_1")
    found = await site.datastores.compare(NAME)
    assert any("lnk_x" in each.path and each.after is None for each in found.difference)


async def test_a_change_that_ends_while_something_else_is_intended_is_not_forgotten(site: Site) -> None:
    await site.datastores.compare(NAME)
    async with site.db.transaction() as conn:  # taking over what runs, just before it is committed
        await conn.execute("SELECT 1 FROM device WHERE name = %s FOR UPDATE", (NAME,))
        await conn.execute(
            "INSERT INTO revision (element, datastore, revision, digest, cause, who)"
            " SELECT element, datastore, 2, digest, 'sync-from', 'olga' FROM revision"
            " WHERE datastore = 'intended'"
        )
        ending = asyncio.create_task(committed(site, "chg_1"))
        await until(site.somebody_waits)
    await ending
    newest = await site.datastores.revision(NAME, "intended")
    assert (newest.revision, newest.change_id) == (3, "chg_1")
    assert newest.content is not None
    assert any("lnk_x" in path for path in newest.content.leaves)


async def test_a_device_that_a_change_works_on_is_left_alone(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0"))
    site.busy.take([NAME], "chg_1")
    for verb in (site.datastores.compare(NAME), site.datastores.sync_to(NAME, "olga")):
        with pytest.raises(Conflict, match="chg_1"):
            await verb
    assert await site.told() == []
    site.busy.give_back("chg_1")
    assert len((await site.datastores.compare(NAME)).difference) == 1


async def test_what_was_changed_back_by_somebody_else_is_told_as_gone(site: Site) -> None:
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0"))
    await site.datastores.compare(NAME)
    await site.somebody_else_edits(dimmed("3.0").replace("<attenuation-db>", '<attenuation-db xmlns:nc="urn:'
        'ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove">'))  # fmt: skip
    await site.datastores.compare(NAME)
    assert [state for state, _ in await site.told()] == ["open", "gone"]


@pytest.mark.parametrize(
    ("policy", "state"), [(Policy.OVERWRITE, "overwritten"), (Policy.IMPORT, "imported")]
)
async def test_a_watched_device_is_treated_by_its_policy_when_it_tells_of_a_change(
    site: Site, policy: Policy, state: str
) -> None:
    await site.datastores.compare(NAME)
    await site.store.set_policy(NAME, policy)
    audit = Audit(NAME, site.datastores, every_s=3600)
    now = lambda: datetime.now(UTC)  # noqa: E731
    observer = Observer(NAME, site.fleet, site.devices, site.devices, audit, now=now, poll_s=60, silence_s=60)
    watching = asyncio.create_task(observer.run())
    try:
        await until(site.subscribed)
        await site.somebody_else_edits(dimmed("3.0"))
        await until(site.ended)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    (drift,) = await site.store.drifts(NAME, True, 2**62, 10)
    assert (drift.state, drift.ended_by) == (state, "policy")
    assert (await site.datastores.compare(NAME)).difference == ()


async def test_names_that_mean_nothing_are_refused(site: Site) -> None:
    await site.datastores.compare(NAME)
    for name in ("startup", "intended@x", "intended@1@2"):
        with pytest.raises(Invalid):
            await site.datastores.revision(NAME, name)
    for name in ("intended@9", "running@99999999999999"):
        with pytest.raises(NotFound):
            await site.datastores.revision(NAME, name)
    with pytest.raises(NotFound):
        await site.datastores.compare("nobody")
    assert isinstance(await site.datastores.compare(NAME), Comparison)
