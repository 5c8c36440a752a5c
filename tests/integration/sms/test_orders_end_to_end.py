"""Orders on a real database and bus, from the tenant's POST to an active service and back to nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from qmodel.contracts.commit import CommitReply, Verb, Vote
from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.nms import LinkAlarm, LinkUsage
from qmodel.errors import Infeasible, QuotaExceeded
from qmodel.links import LinkState

pytestmark = pytest.mark.timeout(60)
STEPS = [
    "quota", "placing", "placed", "validate", "provision", "decide", "confirm", "stabilizing", "active",
]  # fmt: skip


async def test_a_mesh_across_two_operators_becomes_active_and_tells_how(rig: Any) -> None:
    order_id = await rig.order()
    row = await rig.until_order(order_id, "completed")
    async with rig.client() as client:
        order = (await client.get(f"/orders/{order_id}")).json()
        assert [entry["step"] for entry in order["progress"]] == STEPS
        service = (await client.get(f"/services/{row['service_id']}")).json()
        assert (service["state"], len(service["links"])) == ("active", 6)
        links = (await client.get(f"/services/{service['id']}/links")).json()["items"]
        across = next(link for link in links if {link["a"], link["b"]} == {"Alice", "Charlie"})
        assert [segment["operator"] for segment in across["segments"]] == ["north", "south"]
        assert 0.9 <= across["fidelity"] < 0.985
        assert across["key_rate_bps"] > 16_000
        assert across["latency_s"] == pytest.approx(0.008)
        history = (await client.get(f"/services/{service['id']}/history")).json()["items"]
        assert [item["state"] for item in history] == ["stabilizing", "active"]
    confirm = next(entry for entry in order["progress"] if entry["step"] == "confirm")
    assert {member["member"] for member in confirm["data"]["members"]} == {"nms.north", "nms.south"}
    async with rig.client(None, "operator") as client:
        placed = next(entry for entry in order["progress"] if entry["step"] == "placed")
        change = (await client.get(f"/changes/{placed['data']['change_id']}")).json()
        assert (change["phase"], change["level"]) == ("committed", "root")
        assert change["timeline"][0]["phase"] == "planned"
        leaves = [
            leaf["member"] for m in change["members"] for ems in m["members"] for leaf in ems["members"]
        ]
        assert "relay-qn" in leaves
    states = [event["state"] for event in await rig.told("service")]
    assert states == ["stabilizing", "active"]


async def test_the_order_stream_tells_every_step_and_ends(rig: Any) -> None:
    order_id = await rig.order()
    async with rig.client() as client:
        text = (await client.get(f"/orders/{order_id}/events")).text
        assert text.index("event: progress") < text.index('"state": "completed"')
        assert text.rstrip().splitlines()[-2] == "event: state"
        last = [line for line in text.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")
        rest = (await client.get(f"/orders/{order_id}/events", headers={"Last-Event-ID": last})).text
        assert "event: progress" not in rest
        assert "completed" in rest


async def test_no_feasible_placement_is_refused_with_reasons_and_leaves_nothing(rig: Any) -> None:
    refusal = {
        "link_id": "?",
        "a": "charlie",
        "b": "dave",
        "constraint": "key-rate",
        "where": "q9",
        "reason": "at most 900 bit/s",
        "would_fit": {"key_rate_bps": 900.0},
    }
    rig.south.errors["place"] = Infeasible("no path", refusals=[refusal])
    order_id = await rig.order()
    row = await rig.until_order(order_id, "refused")
    assert row["problem"]["refusals"][0]["would_fit"] == {"key_rate_bps": 900.0}
    assert row["problem"]["type"] == "urn:bellweave:problem:infeasible"
    assert await rig.rows("SELECT * FROM services") == []
    assert await rig.rows("SELECT * FROM segments") == []
    await rig.check_nothing_left()


async def test_quota_exceeded_is_refused(rig: Any) -> None:
    rig.bms.error = QuotaExceeded("50 links at most", links_limit=50)
    row = await rig.until_order(await rig.order(), "refused")
    assert row["problem"]["links_limit"] == 50
    await rig.check_nothing_left()


@pytest.mark.parametrize("verb", [Verb.VALIDATE, Verb.PROVISION])
async def test_a_device_that_refuses_leaves_nothing(rig: Any, verb: Verb) -> None:
    rig.south.votes[verb] = CommitReply(
        change_id="x", vote=Vote.REFUSED, detail="invalid port", where="dave-qn"
    )
    row = await rig.until_order(await rig.order(), "refused")
    assert row["problem"]["where"] == "dave-qn"
    assert row["problem"]["members"][0]["detail"] == "invalid port"
    await rig.check_nothing_left()


async def test_a_fault_degrades_and_healing_restores(rig: Any) -> None:
    order_id = await rig.order(sites=["Alice", "Bob"])
    service_id = (await rig.until_order(order_id, "completed"))["service_id"]
    link_id = (await rig.rows("SELECT link_id FROM links"))[0]["link_id"]
    alarm = LinkAlarm(
        operator="north",
        link_id=link_id,
        severity=PerceivedSeverity.CRITICAL,
        text="no light",
        root_cause="fibre f1 is cut",
        at=datetime.now(UTC),
    )
    await rig.north.emit(alarm)
    await rig.until_service(service_id, "degraded")
    await rig.north.say(LinkState.DOWN, link_id, reason="no light")
    async with rig.client() as client:
        link = (await client.get(f"/links/{link_id}")).json()
        assert link["alarm"]["root_cause"] == "fibre f1 is cut"
    elsewhere = rig.north.placement(rig.north.links[link_id], nodes=("alice", "detour", "bob"))
    await rig.north.say(LinkState.UP, link_id, placement=elsewhere)
    await rig.until_service(service_id, "active")
    async with rig.client() as client:
        link = (await client.get(f"/links/{link_id}")).json()
        assert link["segments"][0]["placement"]["nodes"] == ["alice", "detour", "bob"]
        assert link["alarm"] is None
    states = [event["state"] for event in await rig.told("service")]
    assert states == ["stabilizing", "active", "degraded", "active"]


async def test_usage_is_passed_on_exactly_once(rig: Any) -> None:
    await rig.until_order(await rig.order(sites=["Alice", "Bob"]), "completed")
    link_id = (await rig.rows("SELECT link_id FROM links"))[0]["link_id"]

    def usage(usage_id: str, quantity: int) -> LinkUsage:
        return LinkUsage(
            operator="north",
            link_id=link_id,
            usage_id=usage_id,
            unit="key-bits",
            quantity=quantity,
            period_start=datetime(2026, 1, 1, tzinfo=UTC),
            period_end=datetime(2026, 1, 2, tzinfo=UTC),
        )

    await rig.north.emit(usage("u1", 100))
    await rig.north.publish_again(usage("u1", 100))
    await rig.north.emit(usage("u1", 100))
    await rig.north.emit(usage("u2", 11))

    async def both() -> bool:
        return [event["usage_id"] for event in await rig.told("usage")] == ["u1", "u2"]

    await rig.until(both)
    async with rig.client() as client:
        order = (await client.get("/services")).json()["items"][0]
        used = (await client.get(f"/services/{order['id']}/usage")).json()
    assert (used["unit"], used["quantity"]) == ("key-bits", 111)


async def test_usage_of_a_link_nobody_knows_becomes_a_dead_letter(rig: Any) -> None:
    await rig.until_order(await rig.order(sites=["Alice", "Bob"]), "completed")
    usage = LinkUsage(
        operator="north",
        link_id="lnk_none",
        usage_id="u9",
        unit="pairs",
        quantity=1,
        period_start=datetime(2026, 1, 1, tzinfo=UTC),
        period_end=datetime(2026, 1, 2, tzinfo=UTC),
    )
    await rig.north.emit(usage)

    async def buried() -> bool:
        return len(await rig.rows("SELECT * FROM kit.dead_letter WHERE kind = 'not-found'")) == 1

    await rig.until(buried)


async def test_termination_takes_everything_down(rig: Any) -> None:
    service_id = (await rig.until_order(await rig.order(), "completed"))["service_id"]
    async with rig.client() as client:
        answer = await client.delete(f"/services/{service_id}")
        assert (answer.status_code, answer.json()["state"]) == (202, "terminating")
    await rig.until_service(service_id, "terminated")
    await rig.check_nothing_left()
    async with rig.client() as client:
        assert (await client.delete(f"/services/{service_id}")).status_code == 202
        links = (await client.get(f"/services/{service_id}/links")).json()["items"]
        assert {link["state"] for link in links} == {"released"}


async def test_orders_for_the_same_elements_all_complete(rig: Any) -> None:
    orders = [await rig.order(sites=["Alice", "Bob", "Charlie"]) for _ in range(6)]
    for order_id in orders:
        await rig.until_order(order_id, "completed")
    assert await rig.rows("SELECT * FROM kit.commit_claim") == []
    assert len(rig.north.committed) == 18


@pytest.mark.parametrize("verb", [Verb.VALIDATE, Verb.PROVISION, Verb.CONFIRM])
async def test_killed_in_the_middle_of_a_commit_the_next_process_finishes(rig: Any, verb: Verb) -> None:
    rig.south.silent.add(verb)
    order_id = await rig.order(sites=["Alice", "Charlie"])
    phase = {Verb.CONFIRM: "confirming"}.get(verb, "planned")

    async def stuck() -> bool:
        rows = await rig.rows("SELECT phase FROM kit.commit_change")
        return bool(rows) and rows[0]["phase"] == phase

    await rig.until(stuck)
    await asyncio.sleep(0.1)
    await rig.process.kill()
    rig.south.silent.clear()
    await rig.start()
    row = await rig.until_order(order_id, "completed")
    assert row["attempt"] == (1 if verb is Verb.CONFIRM else 2)
    assert len(rig.north.committed) == len(rig.south.committed) == 1
    assert await rig.rows("SELECT * FROM kit.commit_claim") == []


async def test_a_cancelled_order_is_undone(rig: Any) -> None:
    rig.north.comes_up = False
    order_id = await rig.order(sites=["Alice", "Bob"])
    await rig.until_order(order_id, "stabilizing")
    async with rig.client() as client:
        assert (await client.delete(f"/orders/{order_id}")).status_code == 202
    row = await rig.until_order(order_id, "cancelled")
    assert row["problem"]["title"] == "Cancelled"
    await rig.check_nothing_left()
    async with rig.client() as client:
        assert (await client.delete(f"/orders/{order_id}")).status_code == 409
