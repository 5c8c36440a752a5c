"""Usage and invoices on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

INVOICE = {
    "id": "inv_1",
    "number": "BW-000001",
    "tenant": "acme",
    "currency": "EUR",
    "period_start": "2025-11-24T10:00:00Z",
    "period_end": "2025-11-24T11:00:00Z",
    "issued_at": "2025-11-24T11:00:00Z",
    "total": "22.00",
    "state": "issued",
    "version": 1,
    "lines": [
        {
            "text": "Full mesh VPN abc, link def: key bits",
            "service_id": "svc_1",
            "link_id": "lnk_1",
            "unit": "key-bits",
            "quantity": 600000,
            "price_per": "1000",
            "unit_price": "0.02",
            "amount": "12.00",
        }
    ],
}


@pytest.fixture
def billing(bench: Any) -> Any:
    bench.log_in("billing")
    return bench


def test_an_invoice_is_made_and_shown_with_units(billing: Any) -> None:
    billing.answers["POST bms.main/invoices"] = lambda _: httpx.Response(201, json=INVOICE)
    assert billing.run("invoice", "create", "acme", "--idempotency-key", "k") == 0
    assert billing.requests[-1].headers["Idempotency-Key"] == "k"
    for expected in ("600,000", "0.02 per 1000", "22.00", "amount (EUR)"):
        assert expected in billing.out


def test_without_a_key_an_invoice_is_not_asked_for_twice(billing: Any) -> None:
    billing.answers["POST bms.main/invoices"] = httpx.ReadError("lost")
    assert billing.run("invoice", "create", "acme") == 3
    assert len(billing.requests) == 1


def test_an_invoice_is_found_by_its_number(billing: Any) -> None:
    billing.answers["GET bms.main/invoices"] = {"items": [INVOICE], "next": None}
    billing.answers["GET bms.main/invoices/inv_1"] = INVOICE
    assert billing.json("invoice", "show", "BW-000001")["id"] == "inv_1"
    assert billing.run("invoice", "show", "BW-000002") == 1


def test_exports_go_to_stdout_as_they_are(billing: Any) -> None:
    text = "number,amount\r\nBW-000001,[red]12.00\r\n"
    billing.answers["GET bms.main/invoices/inv_1.csv"] = httpx.Response(200, text=text)
    assert billing.run("invoice", "show", "inv_1", "--csv") == 0
    assert billing.out == text
    billing.answers["GET bms.main/usage.csv"] = httpx.Response(200, text=text)
    assert billing.run("usage", "--csv", "--from", "2025-11-24T10:00:00Z") == 0
    assert billing.out == text
    assert billing.requests[-1].url.params["from"] == "2025-11-24T10:00:00Z"


def test_an_export_that_breaks_off_is_told_as_unreachable(billing: Any) -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"number,amount"
            raise httpx.ReadError("lost")

    billing.answers["GET bms.main/usage.csv"] = httpx.Response(200, stream=Broken())
    assert billing.run("usage", "--csv") == 3
    assert "does not answer: lost" in billing.err


def test_usage_shows_at_most_what_was_asked_for(billing: Any) -> None:
    billing.answers["GET bms.main/usage"] = {"items": [], "next": None}
    assert billing.run("usage", "--limit", "7", "--suspended") == 0
    params = billing.requests[-1].url.params
    assert (params["limit"], params["suspended"], "tenant" in params) == ("7", "true", False)


def test_a_tenants_quota_is_its_own(bench: Any) -> None:
    bench.log_in("tenant", tenant="acme")
    bench.answers["GET bms.main/quota/acme"] = {
        "tenant": "acme",
        "links_used": 6,
        "links_limit": 50,
        "key_rate_used_bps": 98_000,
        "key_rate_limit_bps": 1_000_000,
    }
    assert bench.run("quota") == 0
    assert "6 of 50 in use" in bench.out
    assert "98 kbit/s of 1 Mbit/s" in bench.out
