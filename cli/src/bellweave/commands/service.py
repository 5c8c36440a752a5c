"""Services, their links, and the sites that may be ordered."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Group

from bellweave.show.services import links_table, reasons, service_facts, services_table
from bellweave.show.tables import count, table
from bellweave.toolbox import Json, tools_of

app = typer.Typer(no_args_is_help=True, help="Look at a service, or end it.")


def services(ctx: typer.Context, as_json: Json = False) -> None:
    """List services, newest first."""
    tools = tools_of(ctx)
    found = tools.door("sms").items("/services")
    tools.show({"items": found}, lambda: services_table(found))


@app.command("show")
def show(ctx: typer.Context, service_id: str, as_json: Json = False) -> None:
    """Show a service with its links, where each runs and why."""
    tools = tools_of(ctx)
    sms = tools.door("sms")
    service = sms.get(f"/services/{service_id}")
    found = sms.items(f"/services/{service_id}/links")
    tools.show(
        {**service, "link_details": found},
        lambda: Group(service_facts(service), links_table(found), *reasons(found)),
    )


@app.command("usage")
def usage(ctx: typer.Context, service_id: str, as_json: Json = False) -> None:
    """Show what a service has delivered, by link."""
    tools = tools_of(ctx)
    found = tools.door("sms").get(f"/services/{service_id}/usage")
    rows = [(f"{link['a']} – {link['b']}", count(link["quantity"], found["unit"])) for link in found["links"]]
    rows.append(("all", count(found["quantity"], found["unit"])))
    tools.show(found, lambda: table(f"Delivered by {service_id}", ("link", ">quantity"), rows))


@app.command("terminate")
def terminate(
    ctx: typer.Context,
    service_id: str,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """End a service; its links are taken off every device."""
    tools = tools_of(ctx)
    if not yes and sys.stdin.isatty() and not tools.as_json:
        typer.confirm(f"End service {service_id} for good?", abort=True)
    ending = dict(tools.door("sms").send("DELETE", f"/services/{service_id}").json())
    tools.show(ending, lambda: service_facts(ending))


def links(
    ctx: typer.Context,
    service_id: Annotated[str | None, typer.Argument(help="Of this service only.")] = None,
    as_json: Json = False,
) -> None:
    """List links: where each runs, what it gives, and what it has delivered."""
    tools = tools_of(ctx)
    path = "/links" if service_id is None else f"/services/{service_id}/links"
    found = tools.door("sms").items(path)
    tools.show({"items": found}, lambda: links_table(found))


def sites(ctx: typer.Context, as_json: Json = False) -> None:
    """List the sites between which services can be ordered."""
    tools = tools_of(ctx)
    found = tools.door("sms").get("/sites")
    rows = [(one["site"], one["operator"]) for one in found["items"]]
    tools.show(found, lambda: table("Sites", ("site", "operator"), rows))
