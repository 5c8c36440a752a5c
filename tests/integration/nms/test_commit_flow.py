"""An NMS between an SMS and its EMSs on the real bus and database: commits, refusals, restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qmodel.contracts.commit import Outcome, OutcomeAtNms, Verb, Vote
from qmodel.contracts.nms import Describe, DropChange, RemoveLinks
from qmodel.errors import BellweaveError, Infeasible, TimedOut

ALL = [Vote.VALIDATED, Vote.PROVISIONED, Vote.CONFIRMED]
BEFORE_DECISION = [Verb.VALIDATE, Verb.PROVISION]


async def test_links_come_up_and_go_again(rig: Any, make_link: Any) -> None:
    described = await rig.sms.request("north", Describe(request_id="r1"))
    assert [site.site for site in described.sites] == ["Alice", "Bob", "Charlie"]
    await rig.place("chg_1", make_link("l1"), make_link("l2", "bob", "charlie"))
    assert await rig.commit("chg_1") == ALL
    assert set(rig.north.running) == {"alice-qn", "bob-qn"}
    assert await rig.states() == {"l1": "stabilizing", "l2": "stabilizing"}
    await rig.north.ready()
    await rig.west.ready()
    await rig.until_states(l1="up", l2="up")
    await rig.check_capacity()
    told = await rig.told("link")
    assert [said["state"] for said in told] == ["stabilizing", "stabilizing", "up", "up"]
    assert told[0]["placement"]["link_id"] == "l1"

    await rig.sms.request("north", RemoveLinks(request_id="r2", change_id="chg_2", link_ids=("l1", "l2")))
    assert await rig.commit("chg_2") == ALL
    assert await rig.states() == {"l1": "released", "l2": "released"}
    assert all(not config.circuits for config in rig.north.running.values())
    await rig.check_nothing_left()
    assert len(await rig.rows("SELECT * FROM network_revision")) == 2


async def test_the_reply_names_ems_and_device(rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1", "alice", "charlie"))
    reply = await rig.verb("chg_1", Verb.VALIDATE)
    assert [report.member for report in reply.members] == [
        "ems.north",
        "ems.north/alice-qn",
        "ems.west",
        "ems.west/charlie-qn",
    ]


@pytest.mark.parametrize("verb", BEFORE_DECISION)
async def test_a_refusing_ems_leaves_everything_released(rig: Any, make_link: Any, verb: Verb) -> None:
    await rig.place("chg_1", make_link("l1", "alice", "charlie"))
    rig.west.script[verb] = Vote.REFUSED
    replies = [await rig.verb("chg_1", Verb.VALIDATE)]
    if verb is Verb.PROVISION:
        replies.append(await rig.verb("chg_1", Verb.PROVISION))
    assert replies[-1].vote is Vote.REFUSED
    assert (replies[-1].detail, replies[-1].where) == ("charlie-qn says no", "ems.west/charlie-qn")
    assert rig.north.told[-1] is Verb.ABORT
    assert rig.north.running == {}
    assert await rig.states() == {"l1": "released"}
    await rig.check_nothing_left()


@pytest.mark.parametrize("verb", BEFORE_DECISION)
async def test_the_sms_may_abort_after_any_vote(rig: Any, make_link: Any, verb: Verb) -> None:
    await rig.place("chg_1", make_link("l1"))
    await rig.verb("chg_1", Verb.VALIDATE)
    if verb is Verb.PROVISION:
        await rig.verb("chg_1", Verb.PROVISION)
    assert (await rig.verb("chg_1", Verb.ABORT)).vote is Vote.ABORTED
    assert (await rig.verb("chg_1", Verb.ABORT)).vote is Vote.ABORTED
    await rig.check_nothing_left()


async def test_an_ems_of_unknown_state_is_carried_forward(rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1", "alice", "charlie"))
    rig.west.script[Verb.CONFIRM] = Vote.UNKNOWN
    assert await rig.commit("chg_1") == [Vote.VALIDATED, Vote.PROVISIONED, Vote.UNKNOWN]
    claims = await rig.rows("SELECT resource FROM kit.commit_claim")
    assert [row["resource"] for row in claims] == ["ems.west/charlie-qn"]
    rig.west.script.clear()

    async def settled() -> bool:
        return not await rig.rows("SELECT * FROM kit.commit_claim")

    await rig.until(settled)
    assert "charlie-qn" in rig.west.running
    (change,) = await rig.rows("SELECT report FROM change")
    assert {report["vote"] for report in change["report"]} == {"confirmed"}


@pytest.mark.parametrize(
    ("verbs", "outcome"),
    [
        ([Verb.VALIDATE], Outcome.ABORT),
        ([Verb.VALIDATE, Verb.PROVISION], Outcome.ABORT),
        ([Verb.VALIDATE, Verb.PROVISION], Outcome.COMMIT),
    ],
)
async def test_a_restart_resumes_what_was_open(
    rig: Any, make_link: Any, verbs: list[Verb], outcome: Outcome
) -> None:
    await rig.place("chg_1", make_link("l1", "alice", "charlie"))
    for verb in verbs:
        await rig.verb("chg_1", verb)
    rig.outcomes["chg_1"] = outcome
    await rig.restart()
    await rig.until_states(l1="stabilizing" if outcome is Outcome.COMMIT else "released")
    assert set(rig.west.running) == ({"charlie-qn"} if outcome is Outcome.COMMIT else set())
    asked = await rig.north.bus.request("north", OutcomeAtNms(request_id="r", change_id="chg_1"))
    assert asked.outcome is outcome
    await rig.check_capacity()
    assert await rig.rows("SELECT * FROM kit.commit_claim") == []


@pytest.mark.parametrize("verb", [Verb.VALIDATE, Verb.PROVISION, Verb.CONFIRM, Verb.ABORT])
async def test_a_restart_while_an_ems_is_silent_ends_the_change(rig: Any, make_link: Any, verb: Verb) -> None:
    await rig.place("chg_1", make_link("l1", "alice", "charlie"))
    rig.west.silent.add(verb)
    before = {
        Verb.VALIDATE: [],
        Verb.PROVISION: [Verb.VALIDATE],
        Verb.CONFIRM: [Verb.VALIDATE, Verb.PROVISION],
        Verb.ABORT: [Verb.VALIDATE, Verb.PROVISION],
    }[verb]
    for earlier in before:
        await rig.verb("chg_1", earlier)
    asked = asyncio.create_task(rig.verb("chg_1", verb, timeout_s=3.0))
    await rig.until(lambda: _told(rig, verb))
    rig.outcomes["chg_1"] = Outcome.COMMIT if verb is Verb.CONFIRM else Outcome.ABORT
    rig.west.silent.clear()
    await rig.restart()
    await rig.until_states(l1="stabilizing" if verb is Verb.CONFIRM else "released")
    with pytest.raises(BellweaveError):
        await asked
    await rig.check_capacity()

    async def unclaimed() -> bool:
        return not await rig.rows("SELECT * FROM kit.commit_claim")

    await rig.until(unclaimed)


async def _told(rig: Any, verb: Verb) -> bool:
    return verb in rig.west.told


async def test_a_silent_ems_is_no_yes(rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1"))
    rig.north.silent.add(Verb.VALIDATE)
    with pytest.raises(TimedOut):
        await rig.verb("chg_1", Verb.VALIDATE, timeout_s=1.5)
    rig.north.silent.clear()
    assert (await rig.verb("chg_1", Verb.ABORT)).vote is Vote.ABORTED
    await rig.check_nothing_left()


async def test_concurrent_placements_never_overbook(rig: Any, make_link: Any) -> None:
    rate_bps = await _about_a_fifth_of_the_network(rig, make_link)
    asked = [rig.place(f"chg_{i}", make_link(f"l{i}", key_rate_bps=rate_bps)) for i in range(12)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    placed = [answer for answer in answers if not isinstance(answer, BaseException)]
    refused = [answer for answer in answers if isinstance(answer, BellweaveError)]
    assert placed
    assert refused
    assert len(placed) + len(refused) == 12
    await rig.check_capacity()
    held = await rig.rows("SELECT * FROM change WHERE state = 'held'")
    assert len(held) == len(placed)
    drops = [
        rig.sms.request("north", DropChange(request_id=f"d{i}", change_id=f"chg_{i}")) for i in range(12)
    ]
    await asyncio.gather(*drops)
    await rig.check_nothing_left()


async def _about_a_fifth_of_the_network(rig: Any, make_link: Any) -> float:
    """A key rate of which only a few links fit between alice and bob."""
    try:
        await rig.place("chg_probe", make_link("probe", key_rate_bps=1e9))
    except Infeasible as error:
        most_bps = error.facts["refusals"][0]["would_fit"].get("key_rate_bps", 50_000.0)
        return float(most_bps) / 2
    raise AssertionError("a gigabit of key per second should not fit")


async def test_changes_at_the_same_element_wait_for_each_other(rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1"))
    await rig.place("chg_2", make_link("l2", "bob", "charlie"))
    await rig.verb("chg_1", Verb.VALIDATE)
    assert (await rig.verb("chg_2", Verb.VALIDATE)).vote is Vote.BUSY
    await rig.verb("chg_1", Verb.ABORT)
    assert await rig.commit("chg_2") == ALL
