"""Lines add up to the total, whatever the order of the records and however they were cut."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.domain.invoice import Bucket, fees_due, make_lines, months_later
from bms.domain.money import exact, to_minor_unit
from bms.domain.rating import Charge, Usage, rate
from bms.domain.terms import Contract, Plan, Price, Terms

START = datetime(2025, 1, 31, 8, tzinfo=UTC)
PRICES = st.builds(
    lambda amount, power: Price("key-bits", Decimal(10) ** power, amount),
    st.decimals(0, 1000, places=4),
    st.integers(0, 9),
)
QUANTITIES = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)
RECORDS = st.dictionaries(st.sampled_from(["lnk_1", "lnk_2", "lnk_3"]), QUANTITIES, min_size=1)


def charges(price: Price, currency: str, records: list[tuple[str, int]]) -> list[Charge]:
    plan = Plan("p", currency, (price,), Decimal(0), START)
    terms = Terms(Contract("con_1", "acme", "p", START, 1, 1, START), plan)
    rated = [
        rate(Usage(f"u{n}", "acme", "svc_1", link, "key-bits", quantity, START, START), terms, "acme")
        for n, (link, quantity) in enumerate(records)
    ]
    return [charge for charge in rated if isinstance(charge, Charge)]


def buckets(found: list[Charge]) -> list[Bucket]:
    by_link: dict[str, list[Charge]] = defaultdict(list)
    for charge in found:
        by_link[charge.usage.link_id].append(charge)
    with exact():
        return [
            Bucket(
                "svc_1",
                link,
                "key",
                of_link[0].price,
                sum(charge.usage.quantity for charge in of_link),
                sum((charge.amount for charge in of_link), Decimal(0)),
            )
            for link, of_link in by_link.items()
        ]


@given(PRICES, RECORDS, st.sampled_from(["EUR", "JPY", "KWD"]), st.randoms(use_true_random=False))
def test_any_order_of_the_same_records_gives_the_same_bill(
    price: Price, records: dict[str, list[int]], currency: str, shuffler: random.Random
) -> None:
    flat = [(link, quantity) for link, quantities in records.items() for quantity in quantities]
    first = make_lines(buckets(charges(price, currency, flat)), currency)
    shuffler.shuffle(flat)
    second = make_lines(buckets(charges(price, currency, flat)), currency)
    assert first == second


@given(PRICES, RECORDS, st.sampled_from(["EUR", "JPY", "KWD"]))
def test_the_total_is_the_sum_of_the_lines_and_each_line_is_rounded_once(
    price: Price, records: dict[str, list[int]], currency: str
) -> None:
    flat = [(link, quantity) for link, quantities in records.items() for quantity in quantities]
    lines, total = make_lines(buckets(charges(price, currency, flat)), currency)
    with exact():
        assert sum(line.amount for line in lines) == total
        for line in lines:
            assert line.amount == to_minor_unit(sum(records[line.link_id or ""]) * price.unit_price, currency)


@given(PRICES, QUANTITIES)
def test_usage_cut_into_many_records_costs_the_same_as_in_one(price: Price, quantities: list[int]) -> None:
    many = charges(price, "EUR", [("lnk_1", quantity) for quantity in quantities])
    one = charges(price, "EUR", [("lnk_1", sum(quantities))])
    assert make_lines(buckets(many), "EUR") == make_lines(buckets(one), "EUR")


def test_usage_comes_by_service_and_link_and_fees_last() -> None:
    price = Price("key-bits", Decimal(1000), Decimal("0.02"))
    fee = Price("month", Decimal(1), Decimal(10))
    found = [
        Bucket(None, None, None, fee, 1, Decimal(10), START),
        Bucket("svc_b", "lnk_1", "key", price, 5, Decimal("0.0001")),
        Bucket("svc_a", "lnk_2", "full_mesh_vpn", price, 600_000, Decimal("12")),
    ]
    lines, total = make_lines(found, "EUR")
    assert [(line.service_id, str(line.amount)) for line in lines] == [
        ("svc_a", "12.00"),
        ("svc_b", "0.00"),
        (None, "10.00"),
    ]
    assert str(total) == "22.00"
    assert lines[0].text == "Full mesh VPN svc_a, link lnk_2: key bits"
    assert lines[2].text == "Monthly fee from 2025-01-31"


@pytest.mark.parametrize(
    ("months", "day"),
    [(0, "2025-01-31"), (1, "2025-02-28"), (2, "2025-03-31"), (13, "2026-02-28"), (37, "2028-02-29")],
)
def test_contract_months_end_with_the_month_where_it_is_shorter(months: int, day: str) -> None:
    assert months_later(START, months).date().isoformat() == day


def test_a_fee_is_due_for_each_month_begun() -> None:
    terms = Terms(
        Contract("con_1", "acme", "p", START, 1, 1, START), Plan("p", "EUR", (), Decimal("10.00"), START)
    )
    assert list(fees_due(terms, START - timedelta(seconds=1))) == []
    assert [fee.month_start.day for fee in fees_due(terms, START + timedelta(days=28))] == [31, 28]


def test_a_plan_without_a_fee_bills_none() -> None:
    terms = Terms(Contract("con_1", "acme", "p", START, 1, 1, START), Plan("p", "EUR", (), Decimal(0), START))
    assert list(fees_due(terms, START + timedelta(days=400))) == []
