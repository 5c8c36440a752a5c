"""The SMS's doors: who may come in, what bad input is told, and that asking twice does things once."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import pytest

from qkit.database import Database

pytestmark = pytest.mark.timeout(60)
GOOD: dict[str, Any] = {
    "kind": "full_mesh_vpn",
    "sites": ["Alice", "Bob"],
    "security_level": "Top Secret",
    "max_latency_s": 1.0,
    "rate_bytes_per_s": 1000,
}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"sites": ["Alice", "Zed"]}, "/sites/1"),
        ({"sites": ["Alice"]}, "/sites"),
        ({"sites": ["Alice", "Bob", "ALICE"]}, "/sites/2"),
        ({"sites": [f"site {i}" for i in range(200)]}, "/sites"),
        ({"rate_bytes_per_s": -5}, "/rate_bytes_per_s"),
        ({"rate_bytes_per_s": 1e30}, "/rate_bytes_per_s"),
        ({"min_fidelity": 1.5}, "/min_fidelity"),
        ({"min_fidelity": 0.2}, "/min_fidelity"),
        ({"security_level": "ultra"}, "/security_level"),
        ({"kind": "wormhole"}, "/kind"),
        ({"max_latency_s": 0}, "/max_latency_s"),
        ({"surprise": 1}, "/surprise"),
        ({"name": ""}, "/name"),
    ],
)
async def test_bad_input_is_a_problem_that_points_at_it(
    rig: Any, changes: dict[str, Any], pointer: str
) -> None:
    async with rig.client() as client:
        answer = await client.post("/orders", json=GOOD | changes)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["where"] == pointer
    assert await rig.rows("SELECT * FROM orders") == []


async def test_what_is_not_json_is_refused(rig: Any) -> None:
    async with rig.client() as client:
        headers = {"Content-Type": "application/json"}
        broken = await client.post("/orders", content=b'{"kind": ', headers=headers)
        assert broken.status_code == 400
        nan = json.dumps(GOOD).replace("1000", "NaN").encode()
        answer = await client.post("/orders", content=nan, headers=headers)
        assert answer.status_code in (400, 422)
        big = await client.post("/orders", content=b"[" + b" " * 1_100_000 + b"]", headers=headers)
        assert big.status_code == 413
        assert big.headers["content-type"].startswith("application/problem+json")


async def test_tokens_that_are_expired_foreign_or_of_the_wrong_role_do_nothing(rig: Any) -> None:
    expired = rig.issuer.token("acme", "tenant", exp=int(time.time()) - 100)
    foreign = type(rig.issuer)().token("acme", "tenant")
    elsewhere = rig.issuer.token("acme", "tenant", iss="https://evil.test")
    for token in (expired, foreign, elsewhere, "nonsense"):
        async with rig.client(token=token) as client:
            assert (await client.get("/orders")).status_code == 401
    async with rig.client(None, "operator") as client:
        assert (await client.post("/orders", json=GOOD)).status_code == 403
        assert (await client.get("/orders")).status_code == 200
    async with rig.client(None, "billing") as client:
        assert (await client.get("/orders")).status_code == 403
        assert (await client.get("/sites")).status_code == 200
    async with rig.client() as client:
        assert (await client.get("/changes/chg_1")).status_code == 403


async def test_another_tenants_things_are_not_there(rig: Any) -> None:
    order_id = await rig.order(sites=["Alice", "Bob"])
    service_id = (await rig.until_order(order_id, "completed"))["service_id"]
    link_id = (await rig.rows("SELECT link_id FROM links"))[0]["link_id"]
    async with rig.client("globex") as client:
        for path in (
            f"/orders/{order_id}",
            f"/orders/{order_id}/events",
            f"/services/{service_id}",
            f"/services/{service_id}/links",
            f"/services/{service_id}/usage",
            f"/services/{service_id}/history",
            f"/links/{link_id}",
        ):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.delete(f"/services/{service_id}")).status_code == 404
        assert (await client.delete(f"/orders/{order_id}")).status_code == 404
        for path in ("/orders", "/services", "/links"):
            assert (await client.get(path)).json()["items"] == []
    await rig.until_service(service_id, "active")
    async with rig.client(None, "operator") as client:
        assert (await client.get(f"/services/{service_id}")).json()["tenant"] == "acme"


async def test_a_connection_without_tenant_sees_no_rows(rig: Any) -> None:
    await rig.order(sites=["Alice", "Bob"])
    async with rig.process.kit.db_api.transaction() as conn:
        for table in ("orders", "services", "links", "segments", "reports", "journal", "usage_records"):
            rows = await (await conn.execute(f"SELECT * FROM {table}".encode())).fetchall()
            assert rows == [], table


async def test_not_even_the_owner_of_the_tables_sees_rows_without_a_tenant(rig: Any) -> None:
    await rig.order(sites=["Alice", "Bob"])

    async def planned() -> bool:
        return bool(await rig.rows("SELECT 1 FROM segments"))

    await rig.until(planned)
    owner = await Database.open(rig.urls.owner)
    try:
        async with owner.transaction() as conn:
            for table in ("orders", "services", "links", "segments", "journal"):
                assert await rig.rows(f"SELECT 1 FROM {table}") != [], table
                assert await (await conn.execute(f"SELECT 1 FROM {table}".encode())).fetchall() == [], table
    finally:
        await owner.close()


async def test_a_post_with_a_key_is_done_once(rig: Any) -> None:
    async with rig.client() as client:
        headers = {"Idempotency-Key": "k1"}
        first = await client.post("/orders", json=GOOD, headers=headers)
        again = await client.post("/orders", json=GOOD, headers=headers)
        other = await client.post("/orders", json=GOOD | {"name": "other"}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"] == f"/api/v1/orders/{first.json()['id']}"
    assert len(await rig.rows("SELECT * FROM orders")) == 1


async def test_lists_come_in_pages_newest_first(rig: Any) -> None:
    made = [await rig.order(sites=["Alice", "Bob"]) for _ in range(3)]
    async with rig.client() as client:
        first = (await client.get("/orders", params={"limit": 2})).json()
        second = (await client.get("/orders", params={"limit": 2, "cursor": first["next"]})).json()
        assert [order["id"] for order in first["items"] + second["items"]] == made[::-1]
        assert second["next"] is None
        assert (await client.get("/orders", params={"cursor": "rubbish"})).status_code == 422


async def test_versions_guard_changes(rig: Any) -> None:
    order_id = await rig.order(sites=["Alice", "Bob"])
    service_id = (await rig.until_order(order_id, "completed"))["service_id"]
    async with rig.client() as client:
        stale = await client.delete(f"/services/{service_id}", headers={"If-Match": '"1"'})
        assert stale.status_code == 412
        etag = (await client.get(f"/services/{service_id}")).headers["ETag"]
        assert (await client.delete(f"/services/{service_id}", headers={"If-Match": etag})).status_code == 202


async def test_sites_tell_their_operator(rig: Any) -> None:
    async with rig.client() as client:
        items = (await client.get("/sites")).json()["items"]
    assert items == [
        {"site": "Alice", "operator": "north"},
        {"site": "Bob", "operator": "north"},
        {"site": "Charlie", "operator": "south"},
        {"site": "Dave", "operator": "south"},
    ]


async def test_the_tenants_stream_tells_its_own_changes_and_goes_on_where_it_was(rig: Any) -> None:
    from sms.api.feed import Feed
    from sms.api.streams import everything_told
    from sms.ports import Position, Scope
    from sms.store import SqlReads

    reads = SqlReads(rig.process.kit.db_api)
    start = await reads.journal_end()
    order_id = await rig.order(sites=["Alice", "Bob"])
    await rig.until_order(order_id, "completed")

    async def first(scope: Scope, since: Position, count: int) -> list[str]:
        told: list[str] = []
        async with asyncio.timeout(10):
            async for text in everything_told(reads, Feed(1), scope, since):
                if text:
                    told.append(text)
                if len(told) == count:
                    break
        return told

    told = await first(Scope("acme"), start, 8)
    position = told[3].splitlines()[0].removeprefix("id: ").split("-")
    rest = await first(Scope("acme"), Position(int(position[0]), int(position[1])), 4)
    assert rest == told[4:8]
    assert await reads.journal(Scope("globex"), start, 10) == []


async def test_a_stream_of_everything_begins_with_its_answer(rig: Any) -> None:
    answered, read_on, told = asyncio.Event(), asyncio.Event(), asyncio.Queue[bytes]()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answered.set()
        await read_on.wait()
        told.put_nowait(message.get("body", b""))

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/events",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {rig.issuer.token('acme', 'tenant')}".encode())],
    }
    stream = asyncio.create_task(rig.process.app(scope, receive, send))
    await answered.wait()
    order_id = await rig.order(sites=["Alice", "Bob"])
    await rig.until_order(order_id, "completed")
    read_on.set()
    async with asyncio.timeout(10):
        while b"data: " not in (piece := await told.get()):
            pass
    assert order_id.encode() in piece
    assert b'"step": "quota"' in piece
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)


async def test_an_event_id_of_another_stream_is_refused_before_the_stream_opens(rig: Any) -> None:
    order_id = await rig.order(sites=["Alice", "Bob"])
    async with rig.client() as client:
        for path in ("/events", f"/orders/{order_id}/events"):
            answer = await client.get(path, headers={"Last-Event-ID": "x-1"})
            assert (answer.status_code, answer.json()["where"]) == (422, "Last-Event-ID")


async def test_a_forged_cursor_is_refused_by_every_list(rig: Any) -> None:
    order_id = await rig.order(sites=["Alice", "Bob"])
    service_id = (await rig.until_order(order_id, "completed"))["service_id"]
    lists = (
        "/orders",
        "/services",
        "/links",
        f"/services/{service_id}/links",
        f"/services/{service_id}/history",
    )
    forged: tuple[Any, ...] = (
        [{}],
        [None],
        [True],
        [1.5],
        [[]],
        [],
        ["a", "b"],
        ["\x00"],
        [2**63],
        {"a": 1},
        7,
    )
    async with rig.client() as client:
        for path in lists:
            for key in forged:
                cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
                answer = await client.get(path, params={"cursor": cursor})
                assert answer.status_code == 422, (path, key, answer.text)
