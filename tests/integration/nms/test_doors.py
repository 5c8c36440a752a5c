"""The NMS's REST API on a real database: who may call it, what it shows, how it refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from nms.api.watching import frames
from nms.store import Reads
from qkit.auth import Principal, Verifier
from qkit.http import Health, make_app
from qmodel.errors import Unauthenticated


class FixedVerifier:
    """Takes a token for the role that it names."""

    async def verify(self, token: str) -> Principal:
        if token == "nobody":
            raise Unauthenticated("the token has expired")
        return Principal("olga", None, frozenset({token}))


@pytest.fixture
async def door(rig: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(
        rig.process.kit.settings,
        title="test",
        verifier=cast(Verifier, FixedVerifier()),
        routers=rig.process.service.routers,
        health=Health(),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://nms/api/v1",
        headers={"Authorization": "Bearer operator"},
    ) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    ["/topology", "/links", "/links/l1", "/alarms", "/changes", "/revisions", "/elements", "/utilization"],
)
@pytest.mark.parametrize(("token", "status"), [("tenant", 403), ("billing", 403), ("nobody", 401)])
async def test_only_operators_come_in(door: httpx.AsyncClient, path: str, token: str, status: int) -> None:
    answer = await door.get(path, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_topology_is_imported_and_shown(door: httpx.AsyncClient) -> None:
    shown = await door.get("/topology")
    assert (shown.status_code, shown.headers["etag"]) == (200, '"1"')
    changed = shown.json()["topology"] | {"description": "changed"}
    stale = await door.put("/topology", json=changed, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    put = await door.put("/topology", json=changed, headers={"If-Match": '"1"'})
    assert put.json() == {"revision": 2, "operator": "north", "nodes": 3, "quantum_links": 4}
    assert put.headers["etag"] == '"2"'
    again = await door.put("/topology", json=changed)
    assert again.json()["revision"] == 2


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"nonsense: [", b"bellweave_topology: 1", b"{}"])
async def test_a_bad_topology_changes_nothing(door: httpx.AsyncClient, body: bytes) -> None:
    answer = await door.put("/topology", content=body)
    assert answer.status_code == 422
    assert answer.json()["where"] is not None
    assert (await door.get("/topology")).json()["revision"] == 1


async def test_links_and_what_they_take_are_shown(door: httpx.AsyncClient, rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1"), make_link("l2", "bob", "charlie"))
    await rig.commit("chg_1")
    first = (await door.get("/links", params={"limit": 1})).json()
    rest = (await door.get("/links", params={"limit": 1, "cursor": first["next"]})).json()
    assert [link["id"] for link in first["items"] + rest["items"]] == ["l1", "l2"]
    assert rest["next"] is None
    one = await door.get("/links/l1")
    assert one.json()["placement"]["link_id"] == "l1"
    assert one.json()["state"] == "stabilizing"
    assert one.headers["etag"] == f'"{one.json()["version"]}"'
    assert (await door.get("/links/l9")).status_code == 404
    used = (await door.get("/utilization")).json()["items"]
    assert used
    assert all(0 < resource["used_share"] <= 1 for resource in used)


async def test_revisions_and_changes_are_shown(door: httpx.AsyncClient, rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1", "alice", "charlie"))
    await rig.commit("chg_1")
    await rig.place("chg_2", make_link("l2"))
    (revision,) = (await door.get("/revisions")).json()["items"]
    assert (revision["change_id"], revision["who"], revision["kind"]) == ("chg_1", "sms", "place")
    assert revision["elements"] == ["alice-qn", "charlie-qn"]
    assert {member["vote"] for member in revision["members"]} == {"confirmed"}
    detail = (await door.get(f"/revisions/{revision['id']}")).json()
    assert detail["targets"]["alice-qn"]["circuits"][0]["link_id"] == "l1"
    changes = (await door.get("/changes")).json()["items"]
    assert [(change["id"], change["state"]) for change in changes] == [
        ("chg_2", "held"),
        ("chg_1", "committed"),
    ]
    assert (await door.get("/changes/chg_1")).json()["phase"] == "committed"
    assert (await door.get("/revisions/999")).status_code == 404
    assert (await door.get("/changes/chg_9")).status_code == 404


async def test_elements_and_alarms_are_shown(door: httpx.AsyncClient, rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1", avoid=("charlie",)))
    await rig.commit("chg_1")
    await rig.north.ready()
    await rig.until_states(l1="up")
    await rig.north.dark("alice-qn", "q1", "q3")
    await rig.until_states(l1="down")
    elements = (await door.get("/elements")).json()["items"]
    assert [(e["id"], e["ems"], e["reachable"]) for e in elements] == [
        ("alice-qn", "north", True),
        ("bob-qn", "north", True),
        ("charlie-qn", "west", None),
    ]
    assert elements[0]["readiness"][0]["link_id"] == "l1"
    first = (await door.get("/alarms", params={"limit": 2})).json()
    rest = (await door.get("/alarms", params={"limit": 2, "cursor": first["next"]})).json()
    alarms = first["items"] + rest["items"]
    assert sorted(alarm["kind"] for alarm in alarms) == ["device", "device", "link"]
    (of_link,) = [alarm for alarm in alarms if alarm["kind"] == "link"]
    assert of_link["link_id"] == "l1"
    assert of_link["root_cause"]
    assert (await door.get("/alarms", params={"state": "some"})).status_code == 422
    assert (await door.get("/alarms", params={"cursor": "bm9uc2Vuc2U"})).status_code == 422


@pytest.mark.parametrize("path", ["/links", "/alarms", "/changes", "/revisions", "/elements", "/utilization"])
async def test_a_forged_cursor_is_a_problem_and_no_failure(door: httpx.AsyncClient, path: str) -> None:
    far = {"t": "0001-01-01T00:00:00+23:59"}
    for key in ([], [None], [1.5], [{"t": 1}, "a"], [2**70], ["a", "b"], ["a", "b", "c"], [far, "\0"]):
        cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
        answer = await door.get(path, params={"cursor": cursor})
        assert answer.status_code in (400, 422), key
        assert answer.headers["content-type"] == "application/problem+json"


async def test_watchers_get_every_event_after_the_one_they_know(rig: Any, make_link: Any) -> None:
    await rig.place("chg_1", make_link("l1"))
    await rig.commit("chg_1")
    await rig.north.ready()
    await rig.until_states(l1="up")
    await rig.until(lambda: _numbered(rig, 2))
    reads = Reads(rig.process.kit.db_api)
    looks = iter([False, True])

    async def gone() -> bool:
        return next(looks)

    last = await reads.told_last()
    stream = [frame async for frame in frames(reads, gone, last - 1, poll_s=0.0)]
    assert stream[0] == ": watching\n\n"
    (event,) = stream[1:]
    head, name, data = event.strip().split("\n")
    assert (head, name) == (f"id: {last}", "event: link")
    assert '"state": "up"' in data


async def _numbered(rig: Any, count: int) -> bool:
    return bool(await rig.rows("SELECT FROM kit.outbox_source WHERE last_sequence >= %s", count))
