"""Usage, quotas and invoices."""

from __future__ import annotations

from typing import Annotated

import typer

from bellweave.show.billing import invoice_table, invoices_table, quota_facts, usage_table
from bellweave.toolbox import Json, Toolbox, tools_of
from bellweave.trouble import Refused

invoice_app = typer.Typer(no_args_is_help=True, help="Issue and read invoices.")

Tenant = Annotated[str | None, typer.Option(help="Of this tenant only.")]


def usage(
    ctx: typer.Context,
    tenant: Tenant = None,
    service: Annotated[str | None, typer.Option(help="Of this service only.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Domain time, such as 2025-11-24T10:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Domain time, not included.")] = None,
    suspended: Annotated[bool, typer.Option(help="Only records that could not be rated yet.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="All of them as CSV, oldest first.")] = False,
    as_json: Json = False,
) -> None:
    """List what was delivered, and what it costs to the last decimal."""
    tools = tools_of(ctx)
    chosen = {
        "tenant": tenant,
        "service_id": service,
        "from": start,
        "to": end,
        "suspended": "true" if suspended else None,
    }
    if as_csv:
        _pour(tools, "/usage.csv", chosen)
        return
    found = tools.door("bms").items("/usage", most=limit, **chosen)
    tools.show({"items": found}, lambda: usage_table(found))


def quota(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Argument(help="Your own when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Show how much may be on order at once, and how much is."""
    tools = tools_of(ctx)
    whose = tenant or (tools.session.tenant if tools.session else None)
    if whose is None:
        raise typer.BadParameter("say which tenant's", param_hint="TENANT")
    found = tools.door("bms").get(f"/quota/{whose}")
    tools.show(found, lambda: quota_facts(found))


@invoice_app.command("create")
def invoice_create(
    ctx: typer.Context,
    tenant: str,
    until: Annotated[str | None, typer.Option(help="Domain time; now when left out.")] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Repeating with the same key makes one invoice.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Close what was used until now into an invoice; it never changes again."""
    tools = tools_of(ctx)
    body = {"tenant": tenant, **({"until": until} if until else {})}
    made = tools.door("bms").post("/invoices", body, key=key)
    tools.show(made, lambda: invoice_table(made))


@invoice_app.command("show")
def invoice_show(
    ctx: typer.Context,
    invoice: Annotated[str, typer.Argument(help="Its id, or its number such as BW-000001.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Its lines as CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Show an invoice with its lines."""
    tools = tools_of(ctx)
    invoice_id = _id_of(tools, invoice)
    if as_csv:
        _pour(tools, f"/invoices/{invoice_id}.csv", {})
        return
    found = tools.door("bms").get(f"/invoices/{invoice_id}")
    tools.show(found, lambda: invoice_table(found))


@invoice_app.command("list")
def invoice_list(ctx: typer.Context, tenant: Tenant = None, as_json: Json = False) -> None:
    """List invoices, newest first."""
    tools = tools_of(ctx)
    found = tools.door("bms").items("/invoices", tenant=tenant)
    tools.show({"items": found}, lambda: invoices_table(found))


def _id_of(tools: Toolbox, invoice: str) -> str:
    if invoice.startswith("inv_"):
        return invoice
    for one in tools.door("bms").items("/invoices"):
        if one["number"] == invoice:
            return str(one["id"])
    raise Refused.because(f"there is no invoice {invoice}", "see: bellweave invoice list")


def _pour(tools: Toolbox, path: str, chosen: dict[str, str | None]) -> None:
    """A download to stdout, as it is."""
    for piece in tools.door("bms").text(path, **chosen):
        tools.out.file.write(piece)
