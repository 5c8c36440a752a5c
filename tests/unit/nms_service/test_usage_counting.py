"""Usage goes up once per count, whoever tells it how often."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from qmodel.contracts.ems import UsageCounted
from qmodel.errors import Invalid, NotFound


def span(begin: int, end: int, **more: Any) -> UsageCounted:
    values = {
        "element": "alice-qn",
        "link_id": "l1",
        "unit": "key-bits",
        "boot_id": "boot-1",
        "from_count": begin,
        "to_count": end,
        "period_start": datetime(2026, 1, 1, tzinfo=UTC),
        "period_end": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return UsageCounted.model_validate(values | more)


async def count(bench: Any, *events: UsageCounted) -> list[int]:
    before = len(bench.state.events)
    for event in events:
        await bench.store.run(lambda unit, event=event: bench.usages.counted(unit, "ems.north", event))
    return [event.quantity for event in bench.state.events[before:]]


@pytest.fixture
async def running(bench: Any, make_link: Any) -> Any:
    await bench.place("chg_1", make_link("l1"))
    await bench.commit("chg_1")
    return bench


async def test_each_span_counts_once(running: Any) -> None:
    assert await count(running, span(0, 100), span(100, 250), span(0, 100)) == [100, 150]


async def test_order_does_not_matter(running: Any) -> None:
    assert await count(running, span(100, 250), span(0, 100)) == [150, 100]


async def test_an_overlap_counts_only_what_is_new(running: Any) -> None:
    assert await count(running, span(0, 100), span(50, 130)) == [100, 30]


async def test_a_new_boot_counts_from_zero(running: Any) -> None:
    assert await count(running, span(0, 100), span(0, 100, boot_id="boot-2")) == [100, 100]


async def test_ids_are_the_same_for_the_same_span(running: Any) -> None:
    await count(running, span(0, 100))
    first = running.state.events[-1].usage_id
    other = type(running)(running.store)
    other.state.counted.clear()
    await count(other, span(0, 100))
    assert other.state.events[-1].usage_id == first


async def test_nonsense_is_refused(running: Any) -> None:
    with pytest.raises(Invalid):
        await count(running, span(100, 0))
    with pytest.raises(NotFound):
        await count(running, span(0, 100, link_id="l9"))
