"""For operators: what a device should run against what it runs, revisions, and drift."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from bellweave.commands.network import DeviceName, Ems, device_app, manager
from bellweave.show.network import comparison_table, drift_table, revisions_table
from bellweave.show.tables import facts
from bellweave.toolbox import Json, tools_of

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
Revision = Annotated[str, typer.Argument(help="intended, running, or a revision such as intended@3.")]


@device_app.command("check-sync")
def check_sync(ctx: typer.Context, name: DeviceName, ems: Ems = None, as_json: Json = False) -> None:
    """Read a device now and compare with what is intended."""
    _ask(ctx, name, ems, "check-sync", {}, "runs, beside what is intended")


@device_app.command("sync-to")
def sync_to(
    ctx: typer.Context, name: DeviceName, dry_run: DryRun = False, ems: Ems = None, as_json: Json = False
) -> None:
    """Make a device run what is intended, whatever was changed on it."""
    title = "would be undone" if dry_run else "was undone"
    _ask(ctx, name, ems, "sync-to", {"dry_run": dry_run}, title)


@device_app.command("sync-from")
def sync_from(
    ctx: typer.Context, name: DeviceName, dry_run: DryRun = False, ems: Ems = None, as_json: Json = False
) -> None:
    """Take over as intended what a device runs. Circuits stay as the network has them."""
    title = "would be taken over" if dry_run else "still differs"
    _ask(ctx, name, ems, "sync-from", {"dry_run": dry_run}, title)


def _ask(ctx: typer.Context, name: str, ems: str | None, verb: str, body: dict[str, Any], title: str) -> None:
    tools = tools_of(ctx)
    found = manager(tools, name, ems).post(f"/devices/{name}/{verb}", body)
    tools.show(found, lambda: comparison_table(f"{name}: {title}", found["difference"]))


@device_app.command("difference")
def difference(
    ctx: typer.Context,
    name: DeviceName,
    before: Revision = "intended",
    after: Revision = "running",
    ems: Ems = None,
    as_json: Json = False,
) -> None:
    """Show what leads from one datastore or revision of a device to another."""
    tools = tools_of(ctx)
    found = manager(tools, name, ems).get(f"/devices/{name}/difference", before=before, after=after)
    title = f"{name}: from {found['before']} to {found['after']}"
    tools.show(found, lambda: comparison_table(title, found["difference"]))


@device_app.command("revisions")
def revisions(
    ctx: typer.Context,
    name: DeviceName,
    datastore: Annotated[Literal["intended", "running"], typer.Argument()] = "intended",
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    ems: Ems = None,
    as_json: Json = False,
) -> None:
    """List the revisions of a device's datastore, with who and why."""
    tools = tools_of(ctx)
    door = manager(tools, name, ems)
    found = door.items(f"/devices/{name}/datastores/{datastore}/revisions", most=limit)
    tools.show({"items": found}, lambda: revisions_table(f"{name}: revisions of {datastore}", found))


@device_app.command("datastore")
def datastore(
    ctx: typer.Context,
    name: DeviceName,
    revision: Revision = "running",
    ems: Ems = None,
    as_json: Json = False,
) -> None:
    """Show every leaf of a device's datastore, or of one of its revisions."""
    tools = tools_of(ctx)
    found = manager(tools, name, ems).get(f"/devices/{name}/datastores/{revision}")
    tools.show(found, lambda: facts(f"{name}: {found['name']}", list(found["leaves"].items())))


@device_app.command("drift-policy")
def drift_policy(
    ctx: typer.Context,
    name: DeviceName,
    policy: Annotated[
        Literal["alarm", "overwrite", "import"] | None, typer.Argument(help="Left out: show it.")
    ] = None,
    ems: Ems = None,
    as_json: Json = False,
) -> None:
    """Say what is done about a change beside the management: alarm and wait, overwrite it, or import it."""
    tools = tools_of(ctx)
    door = manager(tools, name, ems)
    path = f"/devices/{name}/drift-policy"
    if policy is None:
        found = door.get(path)
    else:
        found = dict(door.send("PUT", path, json={"policy": policy}, again=True).json())
    tools.show(found, lambda: facts(f"Device {name}", [("drift policy", found["policy"])]))


def drift(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: Json = False,
) -> None:
    """List what was changed on devices beside the management."""
    tools = tools_of(ctx)
    chosen = "all" if every else "open"
    found = [each for door in tools.doors("ems") for each in door.items("/drifts", state=chosen)]
    tools.show({"items": found}, lambda: drift_table(found))
