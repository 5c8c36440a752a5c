"""The schema holds what the code promises: tenants apart, least grants, quotas, closed invoices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bms.domain.quota import Amount
from bms.domain.rating import Suspension, Usage
from bms.domain.terms import Plan, Price
from bms.ports import KnownService, Scope, UsageFilter
from bms.usecases import contract, customer, invoice, plan, usage
from bms.usecases.contract import Offer
from bms.usecases.quota import reserve
from qkit.database import Database
from qkit.migrations import RoleUrls
from qmodel.errors import Conflict, Internal, NotFound

START = datetime(2025, 1, 1, tzinfo=UTC)
EVERYBODY = Scope(None)
TABLES = (
    *("customers", "plans", "prices", "contracts", "quotas", "quota_reservations", "services"),
    *("usage_records", "charges", "invoices", "invoice_lines", "invoice_numbers"),
)


async def sign(rows: Any, *tenants: str) -> None:
    async with rows.store.begin() as unit:
        prices = (Price("key-bits", Decimal(1000), Decimal("0.02")),)
        await plan.publish(unit, Plan("standard", "EUR", prices, Decimal("10.00"), START))
        for tenant in tenants:
            await customer.enter(unit, tenant, tenant.title(), START)
            await contract.sign(unit, Offer(tenant, "standard", 10, 1000), START)
            service = KnownService(f"svc_{tenant}", tenant, f"ord_{tenant}", "key", "active", START)
            await usage.learn_service(unit, service)
            used = Usage(
                f"use_{tenant}", tenant, service.service_id, "lnk_1", "key-bits", 500_000, START, START
            )
            await usage.record(unit, used)
            await reserve(unit, tenant, f"ord_{tenant}", Amount(2, 20))


async def test_a_tenant_sees_only_its_own(rows: Any) -> None:
    await sign(rows, "acme", "globex")
    async with rows.store.begin() as unit:
        made = await invoice.issue(unit, "globex", None, START + timedelta(hours=1))
    acme, globex = Scope("acme"), Scope("globex")
    assert [one.tenant for one in await rows.reads.customers(acme, None, 10)] == ["acme"]
    assert [one.tenant for one in await rows.reads.contracts(acme, None, 10)] == ["acme"]
    assert [one.usage.tenant for one in await rows.reads.usage(acme, UsageFilter(), None, 10)] == ["acme"]
    assert await rows.reads.usage(acme, UsageFilter(tenant="globex"), None, 10) == []
    assert await rows.reads.invoices(acme, None, None, 10) == []
    with pytest.raises(NotFound):
        await rows.reads.invoice(acme, made.invoice_id)
    with pytest.raises(NotFound):
        await rows.reads.quota(acme, "globex")
    assert (await rows.reads.invoice(globex, made.invoice_id)) == made


async def test_a_tenant_sees_the_plan_of_its_contract_and_no_other(rows: Any) -> None:
    await sign(rows, "acme")
    async with rows.store.begin() as unit:
        await plan.publish(unit, Plan("secret-deal", "EUR", (), Decimal(0), START))
    assert [one.name for one in await rows.reads.plans(Scope("acme"), None, 10)] == ["standard"]
    assert await rows.reads.plans(Scope("nobody"), None, 10) == []
    assert len(await rows.reads.plans(EVERYBODY, None, 10)) == 2


async def test_no_tenant_set_means_no_rows(rows: Any) -> None:
    await sign(rows, "acme")
    async with rows.api.transaction() as conn:
        for table in ("customers", "plans", "contracts", "quotas", "usage_records", "charges", "invoices"):
            found = await (await conn.execute(f"SELECT count(*) AS n FROM {table}")).fetchone()
            assert found["n"] == 0, table


async def test_not_even_the_owner_of_the_tables_sees_rows_without_a_tenant(rows: Any, urls: RoleUrls) -> None:
    await sign(rows, "acme")
    async with rows.store.begin() as unit:
        await invoice.issue(unit, "acme", None, START + timedelta(hours=1))
    owner = await Database.open(urls.owner)
    try:
        async with rows.worker.transaction() as working, owner.transaction() as owning:
            for table in TABLES:
                asked = f"SELECT count(*) AS n FROM {table}".encode()
                written = await (await working.execute(asked)).fetchone()
                seen = await (await owning.execute(asked)).fetchone()
                assert written is not None
                assert written["n"] > 0, table
                assert seen == {"n": 0}, table
    finally:
        await owner.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO customers VALUES ('x', 'X', now(), 1)",
        "UPDATE quotas SET links_used = 0",
        "DELETE FROM usage_records",
        "SELECT * FROM quota_reservations",
    ],
)
async def test_the_api_role_can_change_nothing(rows: Any, statement: str) -> None:
    with pytest.raises(Internal):
        async with rows.api.transaction(tenant="acme") as conn:
            await conn.execute(statement)


async def test_quotas_cannot_pass_their_limit_whatever_the_code_does(rows: Any) -> None:
    await sign(rows, "acme")
    with pytest.raises(Conflict) as refused:
        async with rows.worker.transaction() as conn:
            await conn.execute("UPDATE quotas SET links_used = 11")
    assert refused.value.facts["constraint"] == "links_within_quota"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET total = 0",
        "DELETE FROM invoices",
        "UPDATE invoice_lines SET amount = 0",
        "DELETE FROM invoice_lines",
        "UPDATE charges SET invoice_id = NULL",
        "DELETE FROM charges",
    ],
)
async def test_a_closed_invoice_never_changes(rows: Any, statement: str) -> None:
    await sign(rows, "acme")
    async with rows.store.begin() as unit:
        await invoice.issue(unit, "acme", None, START + timedelta(hours=1))
    with pytest.raises((Conflict, Internal)):
        async with rows.worker.transaction() as conn:
            await conn.execute(statement)


async def test_an_invoice_whose_lines_do_not_add_up_cannot_be_stored(rows: Any) -> None:
    await sign(rows, "acme")
    async with rows.store.begin() as unit:
        terms = await unit.terms("acme")
    with pytest.raises(Conflict) as refused:
        async with rows.worker.transaction() as conn:
            await conn.execute(
                "INSERT INTO invoices"
                " VALUES ('inv_x', 'X', 'acme', %s, 'EUR', now(), now(), now(), 1, 'issued', 1)",
                (terms.contract.contract_id,),
            )
    assert refused.value.facts["constraint"] == "total_of_lines"


async def test_fees_of_a_month_are_charged_once_and_numbers_have_no_gap(rows: Any) -> None:
    await sign(rows, "acme")
    numbers, fees = [], 0
    for days in (1, 20, 40):
        at = START + timedelta(days=days)
        async with rows.store.begin() as unit:
            used = Usage(f"u{days}", "acme", "svc_acme", "lnk_1", "key-bits", 1, at, at)
            await usage.record(unit, used)
        async with rows.store.begin() as unit:
            made = await invoice.issue(unit, "acme", None, at)
        numbers.append(made.number)
        fees += sum(line.unit == "month" for line in made.lines)
        with pytest.raises(Conflict):
            async with rows.store.begin() as unit:
                await invoice.issue(unit, "acme", None, at + timedelta(hours=1))
    assert numbers == ["BW-000001", "BW-000002", "BW-000003"]
    assert fees == 2


async def test_pages_and_exports_go_through_every_record_once(rows: Any) -> None:
    await sign(rows, "acme")
    async with rows.store.begin() as unit:
        for number in range(25):
            at = START + timedelta(seconds=number // 2)
            used = Usage(f"u{number:02d}", "acme", "svc_acme", "lnk_1", "key-bits", 1, at, at)
            await usage.record(unit, used)
    seen: list[str] = []
    after = None
    while page := await rows.reads.usage(Scope("acme"), UsageFilter(), after, 7):
        seen += [view.usage.usage_id for view in page]
        after = (page[-1].usage.period_start, page[-1].usage.usage_id)
    assert len(seen) == len(set(seen)) == 26
    exported = [
        v.usage.usage_id async for batch in rows.reads.all_usage(EVERYBODY, UsageFilter()) for v in batch
    ]
    assert exported == seen[::-1]


async def test_usage_is_kept_once_whatever_became_of_it(rows: Any) -> None:
    used = Usage("u1", "nobody", "svc_1", "lnk_1", "pairs", 5, START, START)
    for _ in range(2):
        async with rows.store.begin() as unit:
            await usage.record(unit, used)
    found = await rows.reads.usage(EVERYBODY, UsageFilter(suspended=True), None, 10)
    assert [(view.usage, view.suspended) for view in found] == [(used, Suspension.NO_CONTRACT)]


async def test_an_older_state_of_a_service_does_not_replace_a_newer_one(rows: Any) -> None:
    def told(state: str, at: datetime) -> KnownService:
        return KnownService("svc_1", "acme", "ord_1", "key", state, at)

    async with rows.store.begin() as unit:
        assert await unit.put_service(told("active", START + timedelta(seconds=2)))
        assert not await unit.put_service(told("stabilizing", START))
    async with rows.worker.transaction() as conn:
        row = await (await conn.execute("SELECT state FROM services")).fetchone()
    assert row is not None
    assert row["state"] == "active"
