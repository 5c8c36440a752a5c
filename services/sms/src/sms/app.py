"""Constructs the SMS: the only place where its parts meet. `main` is what the process runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.resources import files

from qcommit.machine import LIMITS, Level
from qkit.service import Kit, Service, run
from sms.adapters.peers import BusNetworks, BusQuotas
from sms.api import Doors, router
from sms.api.feed import Feed
from sms.ports import HEARD_LOOP, ORDER_LOOP, SERVICE_LOOP, SETTLE_LOOP
from sms.settings import SmsSettings
from sms.store import SiteTable, SqlReads, Store
from sms.usecases.commit import Commits
from sms.usecases.intake import Intake
from sms.usecases.order import OrderLimits, Orders
from sms.usecases.planning import SitePlanner
from sms.usecases.service import Services, Termination
from sms.usecases.sites import Sites
from sms.worker import Events, Requests, keep_sites, keep_time


@dataclass(frozen=True)
class Cases:
    """The use cases of one process."""

    sites: Sites
    commits: Commits
    orders: Orders
    services: Services
    limits: OrderLimits


def build_cases(kit: Kit[SmsSettings], store: Store) -> Cases:
    """The use cases on the worker's store and the bus."""
    settings, clock = kit.settings, kit.clock
    networks = BusNetworks(kit.bus, settings.nms_instances, settings.name)
    quotas = BusQuotas(kit.bus, settings.bms_instance)
    sites = Sites(networks, SiteTable(kit.db_worker), time.monotonic, ttl_s=settings.sites_ttl_s)
    commits = Commits(
        store,
        store,
        networks,
        sites,
        epoch=lambda: kit.lease.epoch,
        clock=clock,
        limits=LIMITS[Level.ROOT],
        confirm_timeout_s=settings.confirm_timeout_s,
    )
    limits = OrderLimits(place_s=settings.order_limit_s, attempts=settings.order_attempts)
    planner = SitePlanner(networks, sites)
    orders = Orders(store, networks, quotas, sites, planner, commits, clock, limits)
    services = Services(store, networks, quotas, sites, commits, clock)
    return Cases(sites, commits, orders, services, limits)


async def build(kit: Kit[SmsSettings]) -> Service:
    """Put the SMS together on what `kit` gives; nothing runs yet."""
    settings = kit.settings
    feed = Feed(settings.max_streams)
    store = Store(kit.db_worker, told=feed.changed)
    cases = build_cases(kit, store)
    await cases.sites.load()
    Requests(cases.commits).serve(kit.bus)
    doors = Doors(
        db=kit.db_api,
        store=store,
        reads=SqlReads(kit.db_api),
        intake=Intake(cases.sites, kit.clock, cases.limits),
        termination=Termination(kit.clock),
        sites=cases.sites,
        feed=feed,
        clock=kit.clock,
    )
    return Service(
        "Bellweave SMS",
        routers=[router(doors)],
        loops=[
            kit.loop(ORDER_LOOP, cases.orders.reconcile, concurrency=settings.order_concurrency),
            kit.loop(SERVICE_LOOP, cases.services.reconcile),
            kit.loop(HEARD_LOOP, cases.services.follow_operator),
            kit.loop(SETTLE_LOOP, cases.commits.settle),
        ],
        consumers=[
            kit.consumer(f"nms.{instance}", Events(store, cases.sites, instance).handlers())
            for instance in settings.nms_instances
        ],
        background=[lambda: keep_time(cases.commits), lambda: keep_sites(cases.sites)],
        on_stop=[cases.commits.close],
    )


def main() -> None:
    run(SmsSettings(), build, migrations=files("sms") / "migrations")
