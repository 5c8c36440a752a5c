"""The BMS's REST doors: who may come in, what is refused and how it says so."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

CONTRACT = {"tenant": "acme", "plan": "standard", "quota": {"links": 10, "key_rate_bps": 10_000}}


async def test_nobody_comes_in_without_a_valid_token(stack: Any) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer nonsense"},
        stack.issuer.token("billing", exp=time.time() - 60),
        stack.issuer.token("billing", iss="https://elsewhere.test"),
        stack.issuer.token("billing", aud="another"),
        type(stack.issuer)().token("billing"),
    ):
        answer = await stack.http.get("/usage", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("role", ["auditor", "operator", "tenant"])
async def test_only_billing_changes_anything(stack: Any, role: str) -> None:
    headers = stack.issuer.token(role, tenant="acme")
    for path, body in (("customers", {"tenant": "x", "name": "X"}), ("invoices", {"tenant": "acme"})):
        assert (await stack.http.post(f"/{path}", json=body, headers=headers)).status_code == 403


async def test_operators_do_not_read_bills(stack: Any) -> None:
    assert (await stack.http.get("/invoices", headers=stack.issuer.token("operator"))).status_code == 403


async def test_a_tenant_reads_its_own_and_finds_nothing_of_others(stack: Any) -> None:
    await stack.sign_up("acme")
    await stack.sign_up("globex")
    made = await stack.http.post(
        "/invoices", json={"tenant": "globex"}, headers=stack.issuer.token("billing")
    )
    acme, globex = (stack.issuer.token("tenant", tenant=name) for name in ("acme", "globex"))
    for path in (
        "customers/globex",
        "quota/globex",
        f"invoices/{made.json()['id']}",
        f"invoices/{made.json()['id']}.csv",
    ):
        assert (await stack.http.get(f"/{path}", headers=acme)).status_code == 404, path
        assert (await stack.http.get(f"/{path}", headers=globex)).status_code == 200, path
    assert (await stack.http.get("/invoices", headers=acme)).json()["items"] == []
    assert [one["tenant"] for one in (await stack.http.get("/contracts", headers=acme)).json()["items"]] == [
        "acme"
    ]
    auditor = await stack.http.get("/contracts", headers=stack.issuer.token("auditor"))
    assert len(auditor.json()["items"]) == 2


async def test_what_is_there_already_is_answered_and_not_made_again(stack: Any) -> None:
    await stack.sign_up()
    billing = stack.issuer.token("billing")
    again = await stack.http.post("/contracts", json=CONTRACT, headers=billing)
    assert (again.status_code, again.headers["etag"]) == (200, '"1"')
    other = {**CONTRACT, "quota": {"links": 11, "key_rate_bps": 1}}
    refused = await stack.http.post("/contracts", json=other, headers=billing)
    assert (refused.status_code, refused.json()["where"]) == (409, "/tenant")


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        (
            "plans",
            {"name": "p", "prices": [{"unit": "key-bits", "price_per": "3", "amount": "1"}]},
            "/prices/0/price_per",
        ),
        (
            "plans",
            {"name": "p", "prices": [{"unit": "key-bits", "price_per": "1", "amount": 0.1}]},
            "/prices/0/amount",
        ),
        (
            "plans",
            {"name": "p", "prices": [{"unit": "key-bits", "price_per": "1", "amount": "-1"}]},
            "/prices/0/amount",
        ),
        (
            "plans",
            {"name": "p", "prices": [{"unit": "hours", "price_per": "1", "amount": "1"}]},
            "/prices/0/unit",
        ),
        ("plans", {"name": "p", "prices": []}, "/prices"),
        (
            "plans",
            {"name": "p", "currency": "XQZ", "prices": [{"unit": "pairs", "price_per": "1", "amount": "1"}]},
            "/currency",
        ),
        ("customers", {"tenant": "Acme Inc", "name": "x"}, "/tenant"),
        ("customers", {"tenant": "x", "name": "x", "extra": 1}, "/extra"),
        (
            "contracts",
            {"tenant": "x", "plan": "p", "quota": {"links": -1, "key_rate_bps": 1}},
            "/quota/links",
        ),
        ("contracts", {"tenant": "nobody", "plan": "p", "quota": {"links": 1, "key_rate_bps": 1}}, "/tenant"),
        (
            "contracts",
            {
                "tenant": "x",
                "plan": "p",
                "quota": {"links": 1, "key_rate_bps": 1},
                "starts_at": "0001-01-01T00:00:00Z",
            },
            "/starts_at",
        ),
        ("invoices", {"tenant": "acme", "until": "2025-01-01T00:00:00"}, "/until"),
        ("invoices", {"tenant": "acme", "until": "2999-01-01T00:00:00Z"}, "/until"),
    ],
)
async def test_bad_input_is_refused_saying_where(
    stack: Any, path: str, body: dict[str, Any], where: str
) -> None:
    answer = await stack.http.post(f"/{path}", json=body, headers=stack.issuer.token("billing"))
    assert (answer.status_code, answer.json()["where"]) == (422, where)


async def test_an_idempotency_key_belongs_to_one_body(stack: Any) -> None:
    headers = stack.issuer.token("billing") | {"Idempotency-Key": "k"}
    bodies = [{"tenant": "a", "name": "A"}, {"tenant": "a", "name": "A"}, {"tenant": "b", "name": "B"}]
    answers = [await stack.http.post("/customers", json=body, headers=headers) for body in bodies]
    assert [answer.status_code for answer in answers] == [201, 201, 422]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotent-replayed"] == "true"
    listed = await stack.http.get("/customers", headers=stack.issuer.token("auditor"))
    assert [one["id"] for one in listed.json()["items"]] == ["a"]


async def test_lists_go_on_by_cursor_and_refuse_a_foreign_one(stack: Any) -> None:
    for tenant in ("a", "b", "c"):
        await stack.sign_up(tenant)
    auditor = stack.issuer.token("auditor")
    first = (await stack.http.get("/customers", params={"limit": 2}, headers=auditor)).json()
    second = (await stack.http.get("/customers", params={"cursor": first["next"]}, headers=auditor)).json()
    assert [one["id"] for one in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next"] is None
    for path in ("usage", "customers"):
        answer = await stack.http.get(f"/{path}", params={"cursor": "bm9uc2Vuc2U"}, headers=auditor)
        assert answer.status_code == 422
    crossed = await stack.http.get("/usage", params={"cursor": first["next"]}, headers=auditor)
    assert crossed.status_code == 422


async def test_strange_names_are_not_found_rather_than_an_error(stack: Any) -> None:
    auditor = stack.issuer.token("auditor")
    for path in ("customers/nobody", "invoices/inv_0", "invoices/inv_0.csv", "quota/x", "plans/none"):
        assert (await stack.http.get(f"/{path}", headers=auditor)).status_code == 404
    assert (await stack.http.get("/customers/%00", headers=auditor)).status_code == 422


async def test_a_forged_cursor_is_refused_by_every_list(stack: Any) -> None:
    auditor = stack.issuer.token("auditor")
    forged: tuple[Any, ...] = (
        [{}],
        [None],
        [True],
        [1.5],
        [[]],
        [],
        ["a", 1],
        ["\x00"],
        [2**63],
        {"a": 1},
        7,
    )
    for path in ("customers", "plans", "contracts", "usage", "invoices"):
        for key in forged:
            cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
            answer = await stack.http.get(f"/{path}", params={"cursor": cursor}, headers=auditor)
            assert answer.status_code == 422, (path, key, answer.text)
