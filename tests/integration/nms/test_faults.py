"""Faults and usage on the real bus: alarms in, root causes and healed links out, usage once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from qmodel.contracts.commit import Verb, Vote
from qmodel.contracts.ems import ElementReadiness, UsageCounted


async def bring_up(rig: Any, *links: Any) -> None:
    await rig.place("chg_1", *links)
    await rig.commit("chg_1")
    await rig.north.ready()
    await rig.west.ready()
    await rig.until_states(**{link.link_id: "up" for link in links})


async def cut(rig: Any, *, cleared: bool = False) -> None:
    """Both fibres between alice and bob, seen from both ends."""
    await rig.north.dark("alice-qn", "q1", "q3", cleared=cleared)
    await rig.north.dark("bob-qn", "q1", "q3", cleared=cleared)


async def test_cut_links_move_to_another_path_and_come_up(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1"), make_link("l2", "alice", "charlie"))
    await cut(rig)
    await rig.until_states(l1="stabilizing")
    (row,) = await rig.rows("SELECT placement, reason FROM link WHERE link_id = 'l1'")
    assert row["placement"]["nodes"] == ["alice", "charlie", "bob"]
    assert row["reason"].startswith("healed around ")
    assert await rig.states() == {"l1": "stabilizing", "l2": "up"}
    (raised,) = await rig.told("link-alarm")
    assert (raised["link_id"], raised["severity"]) == ("l1", "critical")
    assert await rig.rows("SELECT * FROM kit.commit_claim") == []
    await rig.check_capacity()
    (change,) = await rig.rows("SELECT * FROM network_revision WHERE who = 'healing'")
    assert "charlie-qn" in change["targets"]

    await rig.north.ready()
    await rig.west.ready()
    await rig.until_states(l1="up")
    assert [alarm["severity"] for alarm in await rig.told("link-alarm")] == ["critical", "cleared"]
    moved = [said for said in await rig.told("link") if said["placement"] and said["reason"] == row["reason"]]
    assert [said["link_id"] for said in moved] == ["l1"]


async def test_healing_goes_on_after_a_refusal(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1"))
    rig.west.script[Verb.PROVISION] = Vote.REFUSED
    await cut(rig)
    await rig.until(lambda: _aborted(rig))
    rig.west.script.clear()
    await rig.until_states(l1="stabilizing")
    await rig.check_capacity()


async def _aborted(rig: Any) -> bool:
    return bool(await rig.rows("SELECT * FROM change WHERE kind = 'heal' AND state = 'aborted'"))


async def test_a_restart_during_healing_leaves_a_healed_link(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1"))
    rig.west.silent.add(Verb.PROVISION)
    await cut(rig)
    await rig.until(lambda: _told(rig, Verb.PROVISION))
    rig.west.silent.clear()
    await rig.restart()
    await rig.until_states(l1="stabilizing")
    (row,) = await rig.rows("SELECT placement FROM link WHERE link_id = 'l1'")
    assert row["placement"]["nodes"] == ["alice", "charlie", "bob"]
    await rig.check_capacity()


async def _told(rig: Any, verb: Verb) -> bool:
    return verb in rig.west.told


async def test_without_another_path_a_link_waits_for_the_repair(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1", "alice", "bob", avoid=("charlie",)))
    await cut(rig)
    await rig.until(lambda: _says(rig, "no other path"))
    assert await rig.states() == {"l1": "down"}
    await cut(rig, cleared=True)
    await rig.north.ready()
    await rig.until_states(l1="up")


async def _says(rig: Any, words: str) -> bool:
    (row,) = await rig.rows("SELECT reason FROM link")
    return words in row["reason"]


async def test_a_lost_element_report_takes_a_link_down_and_back(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1"))
    await rig.north.ready(False)
    await rig.until_states(l1="down")

    async def alarmed(times: int) -> bool:
        return len(await rig.told("link-alarm")) == times

    await rig.until(lambda: alarmed(1))
    await rig.north.ready()
    await rig.until_states(l1="up")
    await rig.until(lambda: alarmed(2))
    (raised, cleared) = await rig.told("link-alarm")
    assert (raised["root_cause"], cleared["severity"]) == ("link/l1", "cleared")


async def test_usage_is_passed_on_once(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1"))
    for begin, end in ((0, 1000), (1000, 2500), (0, 1000), (2000, 3000)):
        await rig.north.emit(
            UsageCounted(
                element="alice-qn",
                link_id="l1",
                unit="key-bits",
                boot_id="boot-1",
                from_count=begin,
                to_count=end,
                period_start=datetime(2026, 1, 1, tzinfo=UTC),
                period_end=datetime(2026, 1, 2, tzinfo=UTC),
            )
        )
    await rig.north.emit(ElementReadiness(element="alice-qn", reachable=False))

    async def away() -> bool:
        return bool(await rig.rows("SELECT * FROM element WHERE NOT reachable"))

    await rig.until(away)
    assert [said["quantity"] for said in await rig.told("link-usage")] == [1000, 1500, 500]


async def test_strange_events_become_dead_letters(rig: Any, make_link: Any) -> None:
    await bring_up(rig, make_link("l1"))
    await rig.west.emit(ElementReadiness(element="alice-qn", reachable=False))

    async def buried() -> bool:
        return [row["kind"] for row in await rig.rows("SELECT kind FROM kit.dead_letter")] == ["forbidden"]

    await rig.until(buried)
    assert await rig.states() == {"l1": "up"}
