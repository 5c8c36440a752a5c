"""Events in, an invoice out: over the real bus and database, with duplicates, disorder and gaps."""

from __future__ import annotations

import asyncio
import csv
import io
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from qmodel.contracts.sms import ServiceState, ServiceStateChanged, ServiceUsage


def service(tenant: str = "acme", service_id: str = "svc_1") -> ServiceStateChanged:
    return ServiceStateChanged(
        tenant=tenant,
        service_id=service_id,
        order_id=f"ord_{service_id}",
        kind="full_mesh_vpn",
        state=ServiceState.ACTIVE,
        security_level="top_secret",
        at=datetime.now(UTC),
    )


def used(number: int, quantity: int = 1000, **changed: Any) -> ServiceUsage:
    """Usage that ended just now."""
    now = datetime.now(UTC)
    told = {
        "tenant": "acme",
        "service_id": "svc_1",
        "link_id": f"lnk_{number % 3}",
        "usage_id": f"use_{number}",
        "unit": "key-bits",
        "quantity": quantity,
        "period_start": now,
        "period_end": now,
    }
    return ServiceUsage.model_validate(told | changed)


async def rated(stack: Any, count: int) -> bool:
    return len(await stack.usage(suspended="false", limit=500)) == count


async def bill(stack: Any, tenant: str = "acme", **headers: str) -> Any:
    return await stack.http.post(
        "/invoices", json={"tenant": tenant}, headers=stack.issuer.token("billing") | headers
    )


async def test_usage_becomes_a_charge_and_a_line_of_the_invoice(stack: Any) -> None:
    await stack.sign_up()
    await stack.tell(service(), used(0, 600_000), used(1, 300_000), used(3, 7))
    await stack.until(lambda: rated(stack, 3))
    answer = await bill(stack)
    assert answer.status_code == 201
    made = answer.json()
    assert [(line["link_id"], line["quantity"], line["amount"]) for line in made["lines"]] == [
        ("lnk_0", 600_007, "12.00"),
        ("lnk_1", 300_000, "6.00"),
        (None, 1, "10.00"),
    ]
    assert (made["total"], made["currency"], made["state"]) == ("28.00", "EUR", "issued")
    assert answer.headers["location"] == f"/api/v1/invoices/{made['id']}"
    assert {record["state"] for record in await stack.usage()} == {"invoiced"}


async def test_any_order_with_duplicates_gives_the_same_bill(stack: Any) -> None:
    await stack.sign_up()
    events = [used(number, 333 + number) for number in range(60)]
    shuffled = [*events, *events[:20], service()]
    random.Random(7).shuffle(shuffled)
    for event in shuffled:
        await stack.tell(event)
    await stack.until(lambda: rated(stack, 60))
    made = (await bill(stack)).json()
    quantities = {line["link_id"]: line["quantity"] for line in made["lines"] if line["link_id"]}
    assert quantities == {
        f"lnk_{link}": sum(333 + n for n in range(60) if n % 3 == link) for link in range(3)
    }


async def test_usage_before_its_service_and_contract_waits_and_is_not_lost(stack: Any) -> None:
    early = datetime.now(UTC) + timedelta(seconds=2)
    await stack.tell(used(1, period_start=early, period_end=early))
    await stack.until(lambda: _reasons(stack, ["no-contract"]))
    await stack.sign_up()
    await stack.until(lambda: _reasons(stack, ["unknown-service"]))
    await stack.tell(service())
    await stack.until(lambda: rated(stack, 1))


async def test_usage_of_another_tenants_service_is_kept_with_its_reason(stack: Any) -> None:
    await stack.sign_up()
    await stack.tell(service("globex"), used(1))
    await stack.until(lambda: _reasons(stack, ["foreign-service"]))
    assert (await bill(stack)).json()["total"] == "10.00"


async def test_an_event_that_nobody_could_bill_is_a_dead_letter_and_the_next_goes_on(stack: Any) -> None:
    await stack.sign_up()
    await stack.tell(service(), used(1, quantity=10**30), used(2))
    await stack.until(lambda: rated(stack, 1))
    async with stack.kit.db_worker.transaction() as conn:
        dead = await (await conn.execute("SELECT kind, reason FROM kit.dead_letter")).fetchall()
    assert [row["kind"] for row in dead] == ["invalid"]


async def test_an_invoice_is_made_once_per_idempotency_key(stack: Any) -> None:
    await stack.sign_up()
    first = await bill(stack, **{"Idempotency-Key": "k"})
    again = await bill(stack, **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    other = await bill(stack, "globex", **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")


async def test_invoices_asked_for_at_once_bill_everything_once(stack: Any) -> None:
    await stack.sign_up()
    await stack.tell(service(), *(used(number) for number in range(30)))
    await stack.until(lambda: rated(stack, 30))
    answers = await asyncio.gather(*(bill(stack) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    assert made["number"] == "BW-000001"
    assert sum(line["quantity"] for line in made["lines"] if line["link_id"]) == 30_000


async def test_exports_say_the_same_as_the_documents(stack: Any) -> None:
    await stack.sign_up()
    await stack.tell(service(), *(used(number) for number in range(5)))
    await stack.until(lambda: rated(stack, 5))
    made = (await bill(stack)).json()
    headers = stack.issuer.token("auditor")
    answer = await stack.http.get(f"/invoices/{made['id']}.csv", headers=headers)
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["amount"] for line in lines] == [line["amount"] for line in made["lines"]] + [made["total"]]
    usage = await stack.http.get("/usage.csv", headers=headers)
    records = list(csv.DictReader(io.StringIO(usage.text)))
    assert {record["usage_id"] for record in records} == {f"use_{number}" for number in range(5)}
    assert {record["amount"] for record in records} == {"0.02"}


async def _reasons(stack: Any, expected: list[str]) -> bool:
    return [record["reason"] for record in await stack.usage(suspended="true")] == expected
