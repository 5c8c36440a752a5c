"""Usage, quotas and invoices."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from bellweave.show.tables import NOTHING, Json, count, facts, state, table, when
from qmodel.units import format_bit_rate


def usage_table(records: Iterable[Json]) -> Table:
    columns = (
        "from (domain time)",
        "to",
        "tenant",
        "service",
        "link",
        ">delivered",
        ">charge",
        "state",
        "reason",
    )
    rows = (
        (
            when(record["period_start"]),
            when(record["period_end"]),
            record["tenant"],
            record["service_id"],
            record["link_id"],
            count(record["quantity"], record["unit"]),
            f"{record['amount']} {record['currency']}" if record.get("amount") is not None else NOTHING,
            state(record["state"]),
            record.get("reason"),
        )
        for record in records
    )
    return table("Usage", columns, rows)


def quota_facts(quota: Json) -> Table:
    used, limit = quota["key_rate_used_bps"], quota["key_rate_limit_bps"]
    return facts(
        f"Quota of {quota['tenant']}",
        [
            ("links", f"{quota['links_used']} of {quota['links_limit']} in use"),
            ("key rate", f"{format_bit_rate(used)} of {format_bit_rate(limit)} in use"),
        ],
    )


def invoices_table(invoices: Iterable[Json]) -> Table:
    columns = ("number", "id", "tenant", "from (domain time)", "to", ">total", "state")
    rows = (
        (
            invoice["number"],
            invoice["id"],
            invoice["tenant"],
            when(invoice["period_start"]),
            when(invoice["period_end"]),
            f"{invoice['total']} {invoice['currency']}",
            state(invoice["state"]),
        )
        for invoice in invoices
    )
    return table("Invoices", columns, rows)


def invoice_table(invoice: Json) -> Table:
    period = f"{when(invoice['period_start'])} to {when(invoice['period_end'])}"
    made = table(
        f"Invoice {invoice['number']} to {invoice['tenant']}, {period}",
        ("item", ">quantity", "unit", ">price", f">amount ({invoice['currency']})"),
        (
            (
                line["text"],
                f"{line['quantity']:,}",
                line["unit"],
                f"{line['unit_price']} per {line['price_per']}",
                line["amount"],
            )
            for line in invoice["lines"]
        ),
    )
    made.add_section()
    made.add_row(Text("Total", style="bold"), "", "", "", Text(invoice["total"], style="bold"))
    made.caption = Text(f"id {invoice['id']}")
    made.caption_justify = "left"
    return made
