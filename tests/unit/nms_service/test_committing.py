"""The NMS in the middle of a commit: what it tells its EMSs, answers, and leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from nms.domain.plan import PlanState
from qcommit.machine import Phase
from qmodel.contracts.commit import Outcome, Verb, Vote
from qmodel.contracts.nms import LinkStateChanged, RemoveLinks
from qmodel.errors import Invalid
from qmodel.links import LinkState
from qmodel.nodeconfig import NodeConfig

ALL = [Vote.VALIDATED, Vote.PROVISIONED, Vote.CONFIRMED]


async def remove(bench: Any, change_id: str, *link_ids: str) -> Any:
    return await bench.places.remove(
        RemoveLinks(request_id=change_id, change_id=change_id, link_ids=link_ids)
    )


async def test_a_commit_puts_links_in_force(bench: Any, make_link: Any) -> None:
    (placement,) = (await bench.place("chg_1", make_link("l1", "alice", "charlie"))).placements
    assert await bench.commit("chg_1") == ALL
    assert bench.states() == {"l1": LinkState.STABILIZING}
    assert not bench.state.holds
    assert not bench.state.claims
    assert {name: ppm for name, ppm in bench.state.used.items() if ppm} == bench.state.shares["l1"]
    (told,) = bench.state.events
    assert isinstance(told, LinkStateChanged)
    assert (told.state, told.placement) == (LinkState.STABILIZING, placement)
    (revision,) = bench.state.revisions
    assert set(revision[1]) == set(placement.elements)


async def test_the_answer_shows_every_ems_with_its_time(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1", "alice", "charlie"))
    tell_ems = bench.peers.tell_ems

    async def slow(*told: Any) -> Any:
        begun_s = bench.real_s
        await asyncio.sleep(0)
        bench.real_s = begun_s + 2.0
        return await tell_ems(*told)

    bench.peers.tell_ems = slow
    reply = await bench.verb("chg_1", Verb.VALIDATE)
    assert [report.member for report in reply.members] == ["ems.north", "ems.west"]
    assert all(report.vote is Vote.VALIDATED and report.elapsed_s == 2.0 for report in reply.members)


async def test_targets_are_whole_nodes(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.commit("chg_1")
    await bench.place("chg_2", make_link("l2"))
    await bench.commit("chg_2")
    target = bench.peers.targets["chg_2", "alice-qn"]
    assert {circuit.link_id for circuit in target.circuits} == {"l1", "l2"}


async def test_a_removal_empties_nodes_and_gives_capacity_back(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.commit("chg_1")
    reply = await remove(bench, "chg_2", "l1")
    assert set(reply.elements) == {"alice-qn", "bob-qn"}
    assert await bench.commit("chg_2") == ALL
    assert bench.peers.targets["chg_2", "alice-qn"] == NodeConfig()
    assert bench.states() == {"l1": LinkState.RELEASED}
    assert bench.nothing_is_left()
    assert bench.state.events[-1].state is LinkState.RELEASED


@pytest.mark.parametrize("verb", [Verb.VALIDATE, Verb.PROVISION])
async def test_a_refusal_leaves_nothing(bench: Any, make_link: Any, verb: Verb) -> None:
    await bench.place("chg_1", make_link("l1", "alice", "charlie"))
    bench.peers.script["ems.west", verb] = Vote.REFUSED
    replies = [await bench.verb("chg_1", Verb.VALIDATE)]
    if verb is Verb.PROVISION:
        replies.append(await bench.verb("chg_1", Verb.PROVISION))
    assert replies[-1].vote is Vote.REFUSED
    assert replies[-1].detail == "ems.west says refused"
    assert ("ems.north", Verb.ABORT) in bench.peers.told
    assert bench.nothing_is_left()
    assert bench.states() == {"l1": LinkState.RELEASED}
    assert bench.state.plans["chg_1"].state is PlanState.ABORTED
    assert bench.state.events == []


async def test_an_error_of_an_ems_is_a_refusal(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    bench.peers.script["ems.north", Verb.VALIDATE] = Invalid("port q1 is not a quantum port", where="q1")
    reply = await bench.verb("chg_1", Verb.VALIDATE)
    assert (reply.vote, reply.detail) == (Vote.REFUSED, "port q1 is not a quantum port")
    assert bench.nothing_is_left()


async def test_the_parent_may_call_it_off(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.verb("chg_1", Verb.VALIDATE)
    await bench.verb("chg_1", Verb.PROVISION)
    assert (await bench.verb("chg_1", Verb.ABORT)).vote is Vote.ABORTED
    assert bench.nothing_is_left()


async def test_abort_before_any_verb_drops_what_is_held(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    assert (await bench.verb("chg_1", Verb.ABORT)).vote is Vote.ABORTED
    assert bench.nothing_is_left()


async def test_a_second_change_at_the_same_element_is_busy(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.place("chg_2", make_link("l2", "bob", "charlie"))
    await bench.verb("chg_1", Verb.VALIDATE)
    busy = await bench.verb("chg_2", Verb.VALIDATE)
    assert busy.vote is Vote.BUSY
    assert busy.where == "ems.north/bob-qn"
    await bench.verb("chg_1", Verb.ABORT)
    assert await bench.commit("chg_2") == ALL


async def test_an_unknown_member_keeps_claims_until_it_is_carried_forward(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1", "alice", "charlie"))
    bench.peers.script["ems.west", Verb.CONFIRM] = Vote.UNKNOWN
    assert await bench.commit("chg_1") == [Vote.VALIDATED, Vote.PROVISIONED, Vote.UNKNOWN]
    assert bench.states() == {"l1": LinkState.STABILIZING}
    assert set(bench.state.claims) == {"ems.west/charlie-qn"}
    assert ("commit", "chg_1", 5.0) in bench.state.wakes
    assert await bench.commits.carry("chg_1") == 5.0
    del bench.peers.script["ems.west", Verb.CONFIRM]
    assert await bench.commits.carry("chg_1") is None
    assert not bench.state.claims
    assert [report.vote for report in bench.state.reports["chg_1"]] == [Vote.CONFIRMED, Vote.CONFIRMED]


async def test_a_removal_keeps_capacity_while_a_member_is_unknown(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.commit("chg_1")
    used = dict(bench.state.used)
    await remove(bench, "chg_2", "l1")
    bench.peers.script["ems.north", Verb.CONFIRM] = Vote.UNKNOWN
    await bench.commit("chg_2")
    assert bench.state.used == used
    del bench.peers.script["ems.north", Verb.CONFIRM]
    await bench.commits.carry("chg_2")
    assert bench.nothing_is_left()


async def test_an_ems_in_doubt_hears_what_the_row_says(bench: Any, make_link: Any) -> None:
    assert await bench.commits.outcome("chg_1") is Outcome.ABORT
    await bench.place("chg_1", make_link("l1"))
    await bench.verb("chg_1", Verb.VALIDATE)
    assert await bench.commits.outcome("chg_1") is Outcome.UNDECIDED
    await bench.verb("chg_1", Verb.PROVISION)
    await bench.verb("chg_1", Verb.CONFIRM)
    assert await bench.commits.outcome("chg_1") is Outcome.COMMIT


@pytest.mark.parametrize(
    ("verbs", "outcome", "state"),
    [
        ((Verb.VALIDATE,), Outcome.ABORT, LinkState.RELEASED),
        ((Verb.VALIDATE, Verb.PROVISION), Outcome.ABORT, LinkState.RELEASED),
        ((Verb.VALIDATE, Verb.PROVISION), Outcome.COMMIT, LinkState.STABILIZING),
    ],
)
async def test_a_new_process_asks_the_parent_and_ends_the_change(
    bench: Any, make_link: Any, verbs: tuple[Verb, ...], outcome: Outcome, state: LinkState
) -> None:
    await bench.place("chg_1", make_link("l1"))
    for verb in verbs:
        await bench.verb("chg_1", verb)
    successor = type(bench)(bench.store)
    successor.peers.parent = outcome
    await successor.commits.resume_all()
    assert ("commit", "chg_1", 0.0) in successor.state.wakes
    await successor.commits.carry("chg_1")
    assert successor.states() == {"l1": state}
    assert not successor.state.claims
    assert successor.state.changes["chg_1"][0].phase in (Phase.ABORTED, Phase.COMMITTED)


async def test_nothing_held_is_refused(bench: Any) -> None:
    reply = await bench.verb("chg_9", Verb.VALIDATE)
    assert reply.vote is Vote.REFUSED
    assert (await bench.verb("chg_9", Verb.PROVISION)).vote is Vote.REFUSED
    assert (await bench.verb("chg_9", Verb.ABORT)).vote is Vote.ABORTED
