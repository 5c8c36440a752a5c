"""Constructs an NMS: the only place where its parts meet. `main` is what the process runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from nms.adapters.peers import BusPeers
from nms.api import router
from nms.ports import ALIGN_LOOP, COMMIT_LOOP, HEAL_LOOP, HOLD_LOOP, LINK_LOOP
from nms.settings import NmsSettings
from nms.store import PgStore, Reads
from nms.usecases.alarm import Alarms
from nms.usecases.commit import Commits
from nms.usecases.heal import Healing
from nms.usecases.link import Links
from nms.usecases.place import Places
from nms.usecases.settle import Settler
from nms.usecases.topology import Networks, Topologies
from nms.usecases.usage import Usages
from nms.worker import Events, Listeners, Requests, keep_time
from qcommit.machine import LIMITS, Level
from qkit.bus import Bus
from qkit.service import Kit, Service, run
from qmodel.contracts.commit import Verb
from qmodel.ids import new_id


@dataclass(frozen=True)
class Cases:
    """The use cases of one process."""

    networks: Networks
    places: Places
    settler: Settler
    commits: Commits
    links: Links
    healing: Healing


def build_cases(settings: NmsSettings, store: PgStore, bus: Bus, epoch: Callable[[], int]) -> Cases:
    """The use cases on the worker's store and the bus."""
    clock = settings.clock
    networks = Networks(settings.operator)
    settler = Settler(
        store,
        networks,
        clock,
        fresh_within_s=settings.fresh_within_s,
        heal_retry_s=settings.heal_retry_s,
    )
    commits = Commits(
        store,
        BusPeers(bus, ems_limits_s(settings)),
        networks,
        settler,
        now_s=clock.real_now_s,
        epoch=epoch,
        limits=LIMITS[Level.MIDDLE],
        carry_s=settings.carry_s,
        confirm_timeout_s=settings.confirm_timeout_s,
    )
    links = Links(
        store,
        networks,
        clock,
        fresh_within_s=settings.fresh_within_s,
        hold_off_s=settings.hold_off_s,
        acquisition_s=settings.acquisition_domain_s,
        patience=settings.settle_patience,
        tolerance=settings.fidelity_tolerance,
    )
    healing = Healing(
        store,
        networks,
        clock,
        commits,
        links,
        retry_s=settings.heal_retry_s,
        hold_s=settings.hold_s,
        new_id=new_id,
    )
    places = Places(store, networks, clock, hold_s=settings.hold_s, tries=settings.place_tries)
    return Cases(networks, places, settler, commits, links, healing)


def ems_limits_s(settings: NmsSettings) -> dict[Verb, float]:
    """How long one answer of an EMS is waited for, by verb."""
    return {
        Verb.VALIDATE: settings.ems_validate_s,
        Verb.PROVISION: settings.ems_provision_s,
        Verb.CONFIRM: settings.ems_settle_s,
        Verb.ABORT: settings.ems_settle_s,
    }


async def build(kit: Kit[NmsSettings]) -> Service:
    """Put an NMS together on what `kit` gives; nothing runs yet."""
    store = PgStore(kit.db_worker)
    cases = build_cases(kit.settings, store, kit.bus, lambda: kit.lease.epoch)
    Requests(cases.places, cases.commits, cases.settler).serve(kit.bus)
    alarms = Alarms(cases.networks, hold_off_s=kit.settings.hold_off_s)
    handlers = Events(store, cases.links, alarms, Usages(cases.networks)).handlers()
    listeners = Listeners(store, kit.settings.operator, lambda source: kit.consumer(source, handlers))
    await cases.commits.resume_all()
    return Service(
        f"Bellweave NMS {kit.settings.operator}",
        routers=[router(Topologies(PgStore(kit.db_api), kit.settings.operator), Reads(kit.db_api))],
        loops=[
            kit.loop(COMMIT_LOOP, cases.commits.carry),
            kit.loop(HOLD_LOOP, cases.places.expire),
            kit.loop(LINK_LOOP, cases.links.act),
            kit.loop(HEAL_LOOP, cases.healing.act, concurrency=1),
            kit.loop(ALIGN_LOOP, cases.healing.align, concurrency=2),
        ],
        background=[listeners.run, lambda: keep_time(cases.commits.desk)],
        on_stop=[cases.commits.desk.close],
    )


def main() -> None:
    run(NmsSettings(), build, migrations=files("nms") / "migrations")
