"""A whole SMS over the fakes of `fakes`."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.sms.fakes import (
    IMPATIENT,
    TOP,
    FakeNetworks,
    FakePlanner,
    FakeQuotas,
    FakeSiteRows,
    FakeStore,
    Killed,
    State,
)

from qmodel.clock import DomainClock
from qmodel.contracts.nms import LinkAlarm, LinkStateChanged, LinkUsage
from qmodel.errors import Unavailable
from qmodel.links import LinkState
from sms.domain.ask import Ask, OrderKind
from sms.domain.service import Service
from sms.usecases import reports
from sms.usecases.commit import Commits
from sms.usecases.intake import Intake
from sms.usecases.order import OrderLimits, Orders
from sms.usecases.service import Services, Termination
from sms.usecases.sites import Sites


class World:
    """An SMS over two operators, north (Alice, Bob) and south (Charlie, Dave). `restart` is a new process on
    the same rows."""

    def __init__(self) -> None:
        self.real_s = 1_000_000.0
        self.clock = DomainClock(origin_s=1_000_000.0, scale=60.0, real_now_s=lambda: self.real_s)
        self.store = FakeStore()
        self.networks = FakeNetworks(self.clock, {"north": ("Alice", "Bob"), "south": ("Charlie", "Dave")})
        self.quotas = FakeQuotas()
        self.site_rows = FakeSiteRows()
        self.epoch = 0
        self.limits = OrderLimits(place_s=120.0, attempts=3)
        self.restart()

    def restart(self) -> None:
        self.epoch += 1
        self.store.dies_at = None
        self.sites = Sites(self.networks, self.site_rows, lambda: self.real_s)
        self.planner = FakePlanner(self.sites)
        self.commits = Commits(
            self.store, self.store, self.networks, self.sites, lambda: self.epoch, self.clock, IMPATIENT
        )
        self.orders = Orders(
            self.store,
            self.networks,
            self.quotas,
            self.sites,
            self.planner,
            self.commits,
            self.clock,
            self.limits,
        )
        self.services = Services(self.store, self.networks, self.quotas, self.sites, self.commits, self.clock)
        self.intake = Intake(self.sites, self.clock, self.limits)

    @property
    def state(self) -> State:
        return self.store.state

    async def dies(self, work: Coroutine[Any, Any, float | None], *, at: int, after_commit: bool) -> bool:
        """Do `work` in a process that is killed at its commit number `at`, if it has as many; then go on in a
        new process."""
        self.store.dies_at, self.store.dies_after_commit = self.store.commits + at, after_commit
        try:
            await work
        except Killed:
            return True
        finally:
            await self.commits.close()
            self.restart()
            await self.sites.load()
        return False

    async def order(self, *names: str, order_id: str = "ord_1") -> str:
        ask = Ask(OrderKind.FULL_MESH_VPN, names or ("Alice", "Charlie"), TOP, 1.0, rate_bytes_per_s=1000.0)
        ask = await self.intake.check(ask)
        async with self.store.begin() as unit:
            await self.intake.receive(unit, order_id, "acme", ask, "a mesh")
        return order_id

    async def hear(self, link_id: str, operator: str, state: LinkState, **more: Any) -> None:
        event = LinkStateChanged(operator=operator, link_id=link_id, state=state, at=self.clock.now(), **more)
        async with self.store.begin() as unit:
            await reports.link_state_changed(unit, event)
        await self.services.follow_operator(operator)

    async def all_up(self) -> None:
        for link in list(self.state.links.values()):
            for segment in link.segments:
                await self.hear(link.link_id, segment.operator, LinkState.UP)

    async def alarm(self, link_id: str, operator: str, severity: str, cause: str) -> None:
        event = LinkAlarm(
            operator=operator,
            link_id=link_id,
            severity=severity,
            text="no light",
            root_cause=cause,
            at=self.clock.now(),
        )
        async with self.store.begin() as unit:
            await reports.link_alarm(unit, event)
        await self.services.follow_operator(operator)

    async def use(self, link_id: str, usage_id: str, quantity: int) -> None:
        event = LinkUsage(
            operator="north",
            link_id=link_id,
            usage_id=usage_id,
            unit="key-bits",
            quantity=quantity,
            period_start=datetime(2026, 1, 1, tzinfo=UTC),
            period_end=datetime(2026, 1, 2, tzinfo=UTC),
        )
        async with self.store.begin() as unit:
            await reports.link_usage(unit, event)

    async def terminate(self, service_id: str) -> Service:
        async with self.store.begin() as unit:
            return await Termination(self.clock).ask(unit, service_id, lambda version: None)

    def pass_time(self, real_s: float) -> None:
        self.real_s += real_s

    def steps(self) -> list[str]:
        return [note.step for note in self.state.notes if note.topic == "order"]

    def nothing_left(self) -> bool:
        """No trace of an order in the network, the quota or the claims."""
        return not (
            any(self.networks.committed.values())
            or self.networks.held
            or self.quotas.reserved
            or self.state.claims
            or self.state.line
        )


def unavailable() -> Unavailable:
    return Unavailable("nobody answers")


@pytest.fixture
def new_world() -> type[World]:
    return World


@pytest.fixture
def world() -> World:
    return World()
