"""Constructs an EMS: the only place where its parts meet."""

from __future__ import annotations

import time
from importlib.resources import files

from ems import worker
from ems.adapters.fleet import Fleet
from ems.adapters.netconf.adapter import NetconfAdapter
from ems.adapters.netconf.exchange import Limits
from ems.adapters.schemas import SchemaBook
from ems.adapters.vault import FernetVault
from ems.api import datastores as datastore_api
from ems.api import devices as device_api
from ems.settings import EmsSettings
from ems.store import DatastoreStore, EmsStore
from ems.usecases.audit import Audit
from ems.usecases.busy import Busy
from ems.usecases.commit import DeviceCommit
from ems.usecases.datastores import Datastores
from ems.usecases.device import Devices
from ems.usecases.observe import Observer
from qcommit.machine import LIMITS, Level
from qkit.service import Kit, Service, run


async def build(kit: Kit[EmsSettings]) -> Service:
    settings = kit.settings
    vault = FernetVault.from_settings(settings.credentials_key, settings.state_dir)
    store = EmsStore(kit.db_worker, vault, kit.clock.now)
    schemas = SchemaBook(settings.state_dir and settings.state_dir / "yang")
    limits = Limits(login_s=settings.login_limit_s, rpc_s=settings.rpc_limit_s)
    adapter = NetconfAdapter(schemas, limits)
    fleet = Fleet(adapter, store, at_once=settings.devices_at_once)

    busy = Busy()
    revisions = DatastoreStore(kit.db_worker, store)

    def moved(element: str, ended: bool) -> None:
        roster.moved(element, ended)

    datastores = Datastores(revisions, store, fleet, busy, now=kit.clock.now, moved=moved)

    def observer(element: str) -> Observer:
        return Observer(
            element,
            fleet,
            store,
            store,
            Audit(element, datastores, every_s=settings.audit_s),
            now=kit.clock.now,
            poll_s=settings.poll_s,
            silence_s=settings.unreachable_after_s,
        )

    roster = worker.Roster(store, observer)

    commit = DeviceCommit(
        store,
        fleet,
        worker.NmsLine(kit.bus),
        busy,
        now_s=time.time,
        epoch=lambda: kit.lease.epoch,
        limits=LIMITS[Level.LEAF],
        moved=moved,
    )
    worker.serve(kit.bus, commit)

    return Service(
        "Bellweave EMS",
        routers=[
            device_api.router(Devices(store, adapter, fleet), store, kit.db_api, roster.notify),
            datastore_api.router(datastores, revisions),
        ],
        background=[lambda: worker.tend(commit), lambda: worker.resume(commit), roster.run],
        on_stop=[commit.desk.close, fleet.close],
    )


def main() -> None:
    run(EmsSettings(), build, migrations=files("ems") / "migrations")
