"""From a dark fibre to links on other paths, and the alarms that come and go with it."""

from __future__ import annotations

from typing import Any

import pytest

from qmodel.contracts.commit import Verb, Vote
from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.nms import LinkAlarm, LinkStateChanged
from qmodel.errors import Unavailable
from qmodel.links import LinkState


async def up(bench: Any, *links: Any) -> None:
    await bench.place("chg_up", *links)
    await bench.commit("chg_up")
    await bench.all_ready()
    assert set(bench.states().values()) == {LinkState.UP}
    bench.state.events.clear()


async def cut_conduit(bench: Any) -> None:
    """Both fibres between alice and bob, seen from both ends."""
    bench.real_s += 1
    for port in ("q1", "q3"):
        await bench.alarm("alice-qn", port)
        await bench.alarm("bob-qn", port)


def alarms(bench: Any) -> list[LinkAlarm]:
    return [event for event in bench.state.events if isinstance(event, LinkAlarm)]


def states(bench: Any) -> list[LinkState]:
    return [event.state for event in bench.state.events if isinstance(event, LinkStateChanged)]


async def test_a_link_comes_up_when_all_its_elements_are_ready(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.commit("chg_1")
    await bench.ready("alice-qn", "l1")
    assert bench.states() == {"l1": LinkState.STABILIZING}
    await bench.ready("bob-qn", "l1")
    assert bench.states() == {"l1": LinkState.UP}
    assert states(bench) == [LinkState.STABILIZING, LinkState.UP]


async def test_symptoms_are_gathered_before_healing(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    await bench.alarm("alice-qn", "q1")
    assert bench.state.wakes[-1] == ("heal", "network", 0.5)


async def test_a_cut_conduit_is_healed_around(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"), make_link("l2"), make_link("l3", "alice", "charlie"))
    used_by_third = dict(bench.state.shares["l3"])
    await cut_conduit(bench)
    assert await bench.healing.act("network") is None
    assert {alarm.link_id for alarm in alarms(bench)} == {"l1", "l2"}
    assert {alarm.severity for alarm in alarms(bench)} == {PerceivedSeverity.CRITICAL}
    assert states(bench) == [LinkState.DOWN, LinkState.DOWN, LinkState.STABILIZING, LinkState.STABILIZING]
    for link_id in ("l1", "l2"):
        row = bench.state.links[link_id]
        assert row.placement.nodes == ("alice", "charlie", "bob")
        assert row.reason.startswith("healed around ")
        assert row.request.avoid == ()
    assert bench.state.shares["l3"] == used_by_third
    assert not bench.state.holds
    total = {
        name: sum(share.get(name, 0) for share in bench.state.shares.values()) for name in bench.state.used
    }
    assert bench.state.used == total


async def test_alarms_clear_when_the_links_are_up_again(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    await cut_conduit(bench)
    await bench.healing.act("network")
    bench.state.events.clear()
    bench.real_s += 1
    await bench.all_ready()
    assert bench.states() == {"l1": LinkState.UP}
    (cleared,) = alarms(bench)
    assert cleared.severity is PerceivedSeverity.CLEARED
    assert bench.state.link_alarms == {}


async def test_a_link_without_another_path_stays_down_and_says_why(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    await cut_conduit(bench)
    await bench.alarm("charlie-qn", "q1")
    assert await bench.healing.act("network") == 10.0
    row = bench.state.links["l1"]
    assert row.state is LinkState.DOWN
    assert "no other path" in row.reason
    assert bench.state.holds == {}
    for port in ("q1", "q3"):
        bench.real_s += 1
        await bench.alarm("alice-qn", port, cleared=True)
        await bench.alarm("bob-qn", port, cleared=True)
    await bench.all_ready()
    assert bench.states() == {"l1": LinkState.UP}
    assert await bench.healing.act("network") is None


async def test_a_refused_healing_leaves_everything_and_is_tried_again(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    used = {name: ppm for name, ppm in bench.state.used.items() if ppm}
    await cut_conduit(bench)
    bench.peers.script["ems.west", Verb.PROVISION] = Vote.REFUSED
    assert await bench.healing.act("network") == 10.0
    assert {name: ppm for name, ppm in bench.state.used.items() if ppm} == used
    assert not bench.state.claims
    assert bench.states() == {"l1": LinkState.DOWN}
    del bench.peers.script["ems.west", Verb.PROVISION]
    assert await bench.healing.act("network") is None
    assert bench.states() == {"l1": LinkState.STABILIZING}


async def test_healing_waits_for_a_change_that_has_the_element(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    await bench.place("chg_2", make_link("l2", "alice", "charlie"))
    await bench.verb("chg_2", Verb.VALIDATE)
    await cut_conduit(bench)
    assert await bench.healing.act("network") == 1.0
    assert bench.state.links["l1"].change_id is None
    await bench.verb("chg_2", Verb.ABORT)
    assert await bench.healing.act("network") is None


async def test_an_element_that_is_away_does_not_stop_healing(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1", "alice", "bob", avoid=("c-ab",)))
    assert bench.state.links["l1"].placement.nodes == ("alice", "charlie", "bob")
    bench.real_s += 1
    away = {"element": "charlie-qn", "reachable": False}
    await bench.hear("ems.west", away)
    assert bench.states() == {"l1": LinkState.UP}
    row = bench.state.links["l1"]
    bench.state.links["l1"] = type(row)(
        **{**vars(row), "request": row.request.model_copy(update={"avoid": ()})}
    )
    await bench.alarm("alice-qn", "q2")
    assert await bench.healing.act("network") is None
    assert bench.state.links["l1"].placement.nodes == ("alice", "bob")
    assert ("ems.west", Verb.VALIDATE) not in bench.peers.told[-6:]
    assert bench.state.stale == {"charlie-qn"}
    bench.real_s += 1
    await bench.ready("charlie-qn")
    assert ("align", "charlie-qn", 0.0) in bench.state.wakes
    assert await bench.healing.align("charlie-qn") is None
    assert bench.state.stale == set()
    assert bench.peers.told[-1] == ("ems.west", Verb.CONFIRM)


async def test_late_alarms_do_not_undo_newer_ones(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    bench.real_s += 10
    await bench.alarm("alice-qn", "q1", cleared=True)
    bench.real_s -= 5
    await bench.alarm("alice-qn", "q1")
    assert await bench.healing.act("network") is None
    assert bench.states() == {"l1": LinkState.UP}


async def test_a_dead_store_does_not_lose_the_plan(bench: Any, make_link: Any) -> None:
    await up(bench, make_link("l1"))
    await cut_conduit(bench)
    bench.store.save_error = Unavailable("the database cannot be reached")
    with pytest.raises(Unavailable):
        await bench.healing.act("network")
    bench.store.save_error = None
    (change_id,) = [c for c in bench.state.changes if c.startswith("heal_")]
    await bench.commits.carry(change_id)
    assert not bench.state.claims
    assert bench.states() == {"l1": LinkState.DOWN}
    assert await bench.healing.act("network") is None
    assert bench.states() == {"l1": LinkState.STABILIZING}
