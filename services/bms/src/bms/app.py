"""Constructs the BMS: the only place where its parts meet. `main` is what the process runs."""

from __future__ import annotations

from importlib.resources import files

from bms.api import Doors, router
from bms.ports import RATING_LOOP
from bms.settings import BmsSettings
from bms.store import SqlReads, Store
from bms.usecases.usage import Rating
from bms.worker import Events, Requests
from qkit.service import Kit, Service, run


async def build(kit: Kit[BmsSettings]) -> Service:
    """Put the BMS together on what `kit` gives; nothing runs yet."""
    store = Store(kit.db_worker)
    Requests(store).serve(kit.bus)
    handlers = Events(store.on).handlers()
    return Service(
        "Bellweave BMS",
        routers=[router(Doors(kit.db_worker, store.on, SqlReads(kit.db_api), kit.clock))],
        loops=[kit.loop(RATING_LOOP, Rating(store).reconcile)],
        consumers=[kit.consumer(f"sms.{instance}", handlers) for instance in kit.settings.sms_instances],
    )


def main() -> None:
    run(BmsSettings(), build, migrations=files("bms") / "migrations")
