"""The fake store of the unit tests and the real one behave alike, so that the fake may stand for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.nms_service.fakes import TRIANGLE, FakeStore

from nms.domain.link import Standing
from nms.domain.network import Network
from nms.domain.placement import place
from nms.domain.plan import Kind, Move, Plan, PlanState
from nms.domain.usage import Usage
from nms.ports import OVERBOOKED, LinkAlarmRow, LinkRow, Store, Unit
from nms.store import PgStore
from qcommit.machine import Change, Level, Member, Phase
from qkit.database import Database
from qkit.migrations import RoleUrls
from qmodel.contracts.commit import Vote
from qmodel.contracts.ems import Alarm, ElementReadiness, PerceivedSeverity, UsageCounted
from qmodel.errors import Conflict
from qmodel.links import LinkState
from qmodel.topology_file import load_topology

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["fake", "real"])
async def store(request: pytest.FixtureRequest, urls: RoleUrls) -> AsyncIterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    db = await Database.open(urls.worker)
    yield PgStore(db)
    await db.close()


def plan(change_id: str, *moves: Move) -> Plan:
    return Plan(change_id, Kind.PLACE, "sms", "test", moves, NOW + timedelta(minutes=1))


@pytest.fixture
def row(make_link: Any) -> LinkRow:
    network = Network(load_topology(TRIANGLE))
    request = make_link("l1")
    (placement,) = place(network, Usage(), [request]).placements
    return LinkRow("l1", LinkState.HELD, request, placement, in_force=False, since=NOW)


async def test_a_topology_is_kept_as_revisions(store: Store) -> None:
    topology = load_topology(TRIANGLE)
    assert await store.run(lambda unit: unit.topology("share")) is None
    assert await store.run(lambda unit: unit.keep_topology(topology, "olga")) == 1
    changed = topology.model_copy(update={"description": "changed"})
    assert await store.run(lambda unit: unit.keep_topology(changed, "eve")) == 2
    kept = await store.run(lambda unit: unit.topology("update"))
    assert kept is not None
    assert (kept.revision, kept.topology, kept.imported_by) == (2, changed, "eve")


async def test_only_an_expired_plan_makes_room_for_its_namesake(store: Store, row: LinkRow) -> None:
    first = plan("c1", Move("l1", row.request, new=row.placement))

    async def work(unit: Unit) -> list[Any]:
        seen: list[Any] = [await unit.add_plan(first), await unit.add_plan(first)]
        seen.append(await unit.plan("c1", lock=True))
        await unit.end_plan("c1", PlanState.EXPIRED, "late", ())
        seen.append(await unit.add_plan(first))
        await unit.begin_plan("c1")
        await unit.end_plan("c1", PlanState.ABORTED, "no", ())
        seen.append(await unit.add_plan(first))
        ended = await unit.plan("c1")
        return [*seen, ended and (ended.state, ended.problem)]

    assert await store.run(work) == [True, False, first, True, False, (PlanState.ABORTED, "no")]


async def test_capacity_is_given_back_and_never_overbooked(store: Store, row: LinkRow) -> None:
    async def hold(unit: Unit) -> None:
        await unit.add_plan(plan("c1"))
        await unit.hold_shares("c1", {"a": 600_000, "b": 1})
        await unit.hold_shares("c1", {"a": 100_000})

    async def too_much(unit: Unit) -> None:
        await unit.add_plan(plan("c2"))
        await unit.hold_shares("c2", {"b": 5, "a": 300_001})

    async def to_the_link(unit: Unit) -> None:
        await unit.put_link(row)
        await unit.release_hold("c1")
        await unit.replace_link_shares("l1", {"a": 700_000})
        await unit.replace_link_shares("l1", {"b": 2})
        await unit.release_hold("c1")

    await store.run(hold)
    with pytest.raises(Conflict) as caught:
        await store.run(too_much)
    assert caught.value.facts["constraint"] == OVERBOOKED
    assert await store.run(lambda unit: unit.used_ppm()) == {"a": 700_000, "b": 1}
    assert await store.run(lambda unit: unit.plan("c2")) is None
    await store.run(to_the_link)
    assert await store.run(lambda unit: unit.used_ppm()) == {"b": 2}


async def test_claims_end_with_the_change_but_for_unknown_members(store: Store) -> None:
    change = Change("c1", Level.MIDDLE, 1, (Member("ems.a"), Member("ems.b")), parent="sms.main")
    lost = replace(
        change,
        phase=Phase.COMMITTED,
        members=(Member("ems.a", Vote.CONFIRMED), Member("ems.b", Vote.UNKNOWN)),
    )
    found = replace(lost, members=(Member("ems.a", Vote.CONFIRMED), Member("ems.b", Vote.CONFIRMED)))
    other = Change("c2", Level.ROOT, 1, (Member("ems.b"),))

    async def claim_other(unit: Unit, resource: str) -> bool:
        return await unit.open_change(other, [resource], {})

    async def opened(unit: Unit) -> bool:
        return await unit.open_change(change, ["ems.a/x", "ems.b/y"], {"k": 1})

    assert await store.run(opened) is True
    assert await store.run(opened) is False
    with pytest.raises(Conflict) as caught:
        await store.run(lambda unit: claim_other(unit, "ems.b/y"))
    assert (caught.value.where, caught.value.facts["holder"]) == ("ems.b/y", "c1")
    await store.run(lambda unit: unit.save_change(lost))
    with pytest.raises(Conflict):
        await store.run(lambda unit: claim_other(unit, "ems.b/y"))
    assert await store.run(lambda unit: unit.unfinished()) == ["c1"]
    await store.run(lambda unit: unit.save_change(found))
    assert await store.run(lambda unit: unit.change("c1")) == (found, {"k": 1})
    assert await store.run(lambda unit: claim_other(unit, "ems.b/y")) is True
    assert await store.run(lambda unit: unit.unfinished()) == ["c2"]


async def test_links_are_found_by_id_element_and_report(store: Store, row: LinkRow) -> None:
    running = replace(row, state=LinkState.UP, in_force=True, parts=("alice-qn",), version=2)

    async def work(unit: Unit) -> list[Any]:
        await unit.put_link(row)
        seen: list[Any] = [await unit.links(), await unit.links(["l1", "l9"], lock=True)]
        await unit.put_link(running)
        seen.append([await unit.links(), await unit.links_at("alice-qn"), await unit.links_at("bob-qn")])
        seen.append([await unit.links_touching(["bob-qn"]), await unit.links_touching(["dave-qn"])])
        await unit.set_standing("l1", Standing(LinkState.DOWN, "cut", 3.0), NOW + timedelta(1))
        (down,) = await unit.links()
        return [*seen, (down.state, down.reason, down.expected_in_s, down.since, down.version)]

    assert await store.run(work) == [
        [],
        [row],
        [[running], [running], []],
        [[running], []],
        (LinkState.DOWN, "cut", 3.0, NOW + timedelta(1), 3),
    ]


async def test_the_latest_report_of_an_element_counts(store: Store) -> None:
    def said(reachable: bool, *ready: bool) -> ElementReadiness:
        circuits = [{"link_id": f"l{number}", "ready": value} for number, value in enumerate(ready)]
        return ElementReadiness.model_validate(
            {"element": "alice-qn", "reachable": reachable, "circuits": circuits}
        )

    async def work(unit: Unit) -> list[Any]:
        at = [NOW + timedelta(seconds=second) for second in range(4)]
        seen: list[Any] = [await unit.take_readiness("ems.north", said(True, True, True), at[1])]
        seen.append(await unit.take_readiness("ems.north", said(True, False), at[0]))
        seen.append({e: r.circuit.ready for e, r in (await unit.reports("l1")).items()})
        await unit.take_readiness("ems.north", said(False), at[2])
        seen.append([await unit.unreachable(), len(await unit.reports("l0"))])
        await unit.set_stale(["alice-qn", "nobody-qn"], True)
        seen.append([await unit.stale("alice-qn")])
        await unit.set_stale(["alice-qn"], False)
        seen.append([await unit.stale("alice-qn"), await unit.stale("bob-qn")])
        await unit.take_readiness("ems.north", said(True, False), at[3])
        return [*seen, [await unit.unreachable(), await unit.reports("l1")]]

    assert await store.run(work) == [
        True,
        False,
        {"alice-qn": True},
        [frozenset({"alice-qn"}), 1],
        [True],
        [False, False],
        [frozenset(), {}],
    ]


async def test_alarms_follow_the_time_at_which_they_were_told(store: Store, row: LinkRow) -> None:
    def alarm(severity: PerceivedSeverity) -> Alarm:
        return Alarm(
            element="alice-qn",
            resource="port/q1",
            alarm_type="loss-of-signal",
            severity=severity,
            text="dark",
            raised_at=NOW,
        )

    raised, cleared = alarm(PerceivedSeverity.CRITICAL), alarm(PerceivedSeverity.CLEARED)

    async def work(unit: Unit) -> list[Any]:
        at = [NOW + timedelta(seconds=second) for second in range(5)]
        seen: list[Any] = [await unit.take_alarm("ems.north", cleared, at[2])]
        seen += [await unit.take_alarm("ems.north", raised, at[1]), await unit.active_alarms()]
        seen += [await unit.take_alarm("ems.north", raised, at[3]), await unit.active_alarms()]
        seen += [await unit.take_alarm("ems.north", cleared, at[4]), await unit.active_alarms()]
        return seen

    assert await store.run(work) == [True, False, [], True, [raised], True, []]
    first = LinkAlarmRow("l1", "critical", "quantum-link/q1", "dark", NOW)
    second = replace(first, root_cause="conduit/c1")

    async def on_links(unit: Unit) -> list[Any]:
        await unit.put_link(row)
        await unit.raise_link_alarm(first)
        await unit.raise_link_alarm(second)
        seen: list[Any] = [await unit.link_alarms(), await unit.clear_link_alarm("l1", NOW)]
        return [*seen, await unit.clear_link_alarm("l1", NOW), await unit.link_alarms()]

    assert await store.run(on_links) == [{"l1": second}, second, None, {}]


async def test_counts_are_new_once(store: Store) -> None:
    def span(begin: int, end: int, boot_id: str = "boot-1") -> UsageCounted:
        return UsageCounted(
            element="alice-qn",
            link_id="l1",
            unit="key-bits",
            boot_id=boot_id,
            from_count=begin,
            to_count=end,
            period_start=NOW,
            period_end=NOW,
        )

    spans = [span(0, 10), span(20, 30), span(5, 25), span(0, 30), span(7, 7), span(0, 10, "boot-2")]

    async def work(unit: Unit) -> list[int]:
        return [await unit.count_usage(each) for each in spans]

    assert await store.run(work) == [10, 10, 10, 0, 0, 10]
