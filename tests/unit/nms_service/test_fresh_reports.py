"""A report from before a commit counts once newer ones have had their time."""

from __future__ import annotations

from typing import Any

from qmodel.links import LinkState

FRESH_WITHIN_S = 5.0


async def test_an_early_report_counts_as_soon_as_its_time_is_over(bench: Any, make_link: Any) -> None:
    bench.links._fresh_within_s = FRESH_WITHIN_S
    await bench.place("chg_1", make_link("l1", "alice", "bob"))
    for element in ("alice-qn", "bob-qn", "charlie-qn"):
        await bench.ready(element, "l1")
    bench.real_s += 1.0
    await bench.commit("chg_1")

    wait_s = await bench.links.act("l1")
    assert _state(bench) is LinkState.STABILIZING
    assert 0 < wait_s <= FRESH_WITHIN_S

    bench.real_s += wait_s
    await bench.links.act("l1")
    assert _state(bench) is LinkState.UP


def _state(bench: Any) -> LinkState:
    state: LinkState = bench.state.links["l1"].state
    return state
