"""A site is unknown only after every operator's NMS has been heard, and heard anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qmodel.contracts.nms import DescribeReply, SiteView
from qmodel.errors import Invalid, NotFound, Unavailable
from qmodel.security import SecurityLevel
from sms.ports import KnownSites
from sms.usecases.sites import Sites


class Operators:
    """NMSs with a topology each, those in `bare` without."""

    instances = ("north", "south")

    def __init__(self) -> None:
        self.bare = {"north", "south"}

    async def describe(self, instance: str) -> DescribeReply:
        if instance in self.bare:
            raise NotFound("no topology yet")
        view = SiteView(site=instance.title(), node=instance, clearance=SecurityLevel.TOP_SECRET)
        return DescribeReply(operator=instance, revision=1, sites=(view,), borders=())


class Rows:
    """Rows whose writing lets others run."""

    def __init__(self) -> None:
        self.saving: asyncio.Event = asyncio.Event()
        self.go_on: asyncio.Event = asyncio.Event()

    async def load(self) -> list[KnownSites]:
        return []

    async def save(self, known: KnownSites) -> None:
        self.saving.set()
        await self.go_on.wait()


def directory(operators: Any, rows: Any, now: list[float]) -> Sites:
    return Sites(operators, rows, lambda: now[0])


async def test_who_asks_while_sites_are_written_knows_all_of_them() -> None:
    operators, rows = Operators(), Rows()
    operators.bare = set()
    sites = directory(operators, rows, [0.0])
    refreshing = asyncio.create_task(sites.refresh())
    await rows.saving.wait()
    asked = asyncio.create_task(sites.find(["North", "South"]))
    rows.go_on.set()
    assert [place.operator for place in await asked] == ["north", "south"]
    await refreshing


async def test_an_operator_without_a_topology_is_soon_asked_again() -> None:
    operators, rows, now = Operators(), Rows(), [0.0]
    rows.go_on.set()
    sites = directory(operators, rows, now)
    with pytest.raises(Unavailable, match="no answer from north, south"):
        await sites.find(["North", "South"])
    operators.bare = set()
    now[0] += 0.2
    assert [place.operator for place in await sites.find(["North", "South"])] == ["north", "south"]


async def test_a_site_that_nobody_has_is_unknown_once_all_are_heard() -> None:
    operators, rows = Operators(), Rows()
    operators.bare = set()
    rows.go_on.set()
    sites = directory(operators, rows, [0.0])
    with pytest.raises(Invalid) as refused:
        await sites.find(["North", "Nowhere"])
    assert refused.value.where == "/sites/1"
