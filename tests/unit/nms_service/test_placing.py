"""Holding placements: all or nothing, once per change, given back when nobody commits."""

from __future__ import annotations

from typing import Any

import pytest

from nms.domain.plan import PlanState
from qmodel.contracts.commit import Verb, Vote
from qmodel.contracts.nms import OfferBorders, RemoveLinks
from qmodel.errors import Conflict, Infeasible, Invalid, NotFound
from qmodel.links import LinkState
from qmodel.security import SecurityLevel


async def test_describes_its_sites(bench: Any) -> None:
    reply = await bench.places.describe()
    assert (reply.operator, reply.revision) == ("north", 1)
    assert [site.site for site in reply.sites] == ["Alice", "Bob", "Charlie"]
    assert reply.borders == ()


async def test_holds_every_link_with_its_capacity(bench: Any, make_link: Any) -> None:
    reply = await bench.place("chg_1", make_link("l1"), make_link("l2", "bob", "charlie"))
    assert [placement.link_id for placement in reply.placements] == ["l1", "l2"]
    assert bench.states() == {"l1": LinkState.HELD, "l2": LinkState.HELD}
    assert bench.state.used == bench.state.holds["chg_1"]
    assert bench.peers.told == []


async def test_asked_again_gives_the_same_answer_and_takes_nothing_more(bench: Any, make_link: Any) -> None:
    first = await bench.place("chg_1", make_link("l1"))
    used = dict(bench.state.used)
    bench.real_s += 30
    assert await bench.place("chg_1", make_link("l1")) == first
    assert bench.state.used == used
    assert bench.state.plans["chg_1"].expires_at.timestamp() == bench.real_s + 60


async def test_a_change_id_stands_for_one_request(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    with pytest.raises(Conflict):
        await bench.place("chg_1", make_link("l2"))
    with pytest.raises(Conflict):
        await bench.place("chg_2", make_link("l1"))
    assert list(bench.state.links) == ["l1"]


async def test_what_cannot_be_placed_leaves_nothing(bench: Any, make_link: Any) -> None:
    greedy = make_link("l2", key_rate_bps=1e12)
    with pytest.raises(Infeasible) as caught:
        await bench.place("chg_1", make_link("l1"), greedy)
    assert [refusal["link_id"] for refusal in caught.value.facts["refusals"]] == ["l2"]
    assert bench.nothing_is_left()
    assert bench.state.links == {}


async def test_strange_requests_are_refused(bench: Any, make_link: Any) -> None:
    with pytest.raises(NotFound):
        await bench.place("chg_1", make_link("l1", b="nowhere"))
    with pytest.raises(Invalid):
        await bench.place("chg_1")
    with pytest.raises(Invalid):
        await bench.place("chg_1", make_link("l1"), make_link("l1"))
    assert bench.nothing_is_left()


async def test_dropping_gives_back_and_ends_the_change(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.settler.drop("chg_1")
    await bench.settler.drop("chg_1")
    await bench.settler.drop("chg_unknown")
    assert bench.nothing_is_left()
    assert bench.states() == {"l1": LinkState.RELEASED}
    with pytest.raises(Conflict):
        await bench.place("chg_1", make_link("l1"))
    await bench.place("chg_2", make_link("l1"))


async def test_a_hold_expires_and_can_be_made_again(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    bench.real_s += 40
    assert await bench.places.expire("chg_1") == pytest.approx(20)
    bench.real_s += 21
    assert await bench.places.expire("chg_1") is None
    assert bench.nothing_is_left()
    assert (await bench.verb("chg_1", Verb.VALIDATE)).vote is Vote.REFUSED
    await bench.place("chg_1", make_link("l1"))
    assert bench.state.plans["chg_1"].state is PlanState.HELD


async def test_an_open_commit_does_not_expire(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1"))
    await bench.verb("chg_1", Verb.VALIDATE)
    bench.real_s += 3600
    assert await bench.places.expire("chg_1") is None
    await bench.settler.drop("chg_1")
    assert bench.states() == {"l1": LinkState.COMMITTING}


async def test_new_links_avoid_what_is_dark(bench: Any, make_link: Any) -> None:
    for port in ("q1", "q3"):
        await bench.alarm("alice-qn", port)
    (placement,) = (await bench.place("chg_1", make_link("l1"))).placements
    assert placement.nodes == ("alice", "charlie", "bob")
    assert bench.state.links["l1"].request.avoid == ()


async def test_removal_of_what_never_was_is_not_found(bench: Any) -> None:
    ask = RemoveLinks(request_id="r", change_id="chg_1", link_ids=("l9",))
    with pytest.raises(NotFound):
        await bench.places.remove(ask)


async def test_no_borders_no_offers(bench: Any) -> None:
    ask = OfferBorders(request_id="r", node="alice", security_level=SecurityLevel.SECRET, max_latency_s=1.0)
    assert (await bench.places.offers(ask)).offers == ()
