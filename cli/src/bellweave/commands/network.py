"""For operators: topologies, devices, alarms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from bellweave.doors import Door
from bellweave.show.network import alarms_table, device_tables, devices_table, topology_tables
from bellweave.show.tables import facts
from bellweave.toolbox import Json, Toolbox, tools_of
from bellweave.trouble import Refused
from qmodel.errors import Invalid
from qmodel.topology_file import load_topology

topology_app = typer.Typer(no_args_is_help=True, help="The declared networks.")
device_app = typer.Typer(no_args_is_help=True, help="One device: what it is, should run and runs.")

Ems = Annotated[str | None, typer.Option("--ems", help="Name of the EMS, such as north.")]
DeviceName = Annotated[str, typer.Argument(help="Name of the device.")]


@topology_app.command("show")
def topology_show(
    ctx: typer.Context,
    operator: Annotated[str | None, typer.Option(help="Of this operator only.")] = None,
    as_json: Json = False,
) -> None:
    """Show the declared network of one operator, or of all."""
    tools = tools_of(ctx)
    doors = tools.doors("nms") if operator is None else [tools.door("nms", operator)]
    found = [door.get("/topology") for door in doors]
    tools.show(
        found[0] if operator is not None else {"items": found},
        lambda: Group(*(one for shown in found for one in topology_tables(shown))),
    )


@topology_app.command("import")
def topology_import(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="YAML or JSON.")],
    operator: Annotated[
        str | None, typer.Option(help="Whose network it is; the file says so when left out.")
    ] = None,
    revision: Annotated[
        int | None, typer.Option(help="Only if the network in force still has this revision.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a declared network in force. What is wrong with the file is said with its line."""
    tools = tools_of(ctx)
    try:
        declared = load_topology(file)
    except Invalid as error:
        raise Refused.because(error.detail, f"mend {file}", where=error.where, **error.facts) from error
    if operator is not None and operator != declared.operator:
        raise Refused.because(f"{file} declares the network of {declared.operator}, not of {operator}")
    headers = {"Content-Type": "application/json" if file.suffix == ".json" else "application/yaml"}
    if revision is not None:
        headers["If-Match"] = f'"{revision}"'
    door = tools.door("nms", declared.operator)
    done = dict(door.send("PUT", "/topology", content=file.read_bytes(), headers=headers).json())
    tools.show(done, lambda: facts(f"Network of {done['operator']} in force", list(done.items())))


def devices(ctx: typer.Context, as_json: Json = False) -> None:
    """List the devices of every EMS."""
    tools = tools_of(ctx)
    found = [(door.instance, device) for door in tools.doors("ems") for device in door.items("/devices")]
    tools.show({"items": [{"ems": ems, **device} for ems, device in found]}, lambda: devices_table(found))


@device_app.command("add")
def device_add(
    ctx: typer.Context,
    name: DeviceName,
    host: str,
    port: Annotated[int, typer.Argument(min=1, max=65535)],
    user: Annotated[str, typer.Option(help="User at the device.")],
    key: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File with the user's private key.")
    ] = None,
    password: Annotated[
        str | None, typer.Option(envvar="BELLWEAVE_DEVICE_PASSWORD", help="Instead of a key.")
    ] = None,
    host_key: Annotated[
        str | None, typer.Option(help="The device's public key in one line, or a file with it.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust-on-first-use", help="Believe the key that the device shows first.")
    ] = False,
    ems: Ems = None,
    as_json: Json = False,
) -> None:
    """Have an EMS manage a NETCONF device: log in, learn what it is."""
    tools = tools_of(ctx)
    if (key is None) == (password is None):
        raise typer.BadParameter("give either --key FILE or a password", param_hint="--key")
    if (host_key is None) == (not trust):
        raise typer.BadParameter(
            "give the device's --host-key, or say --trust-on-first-use", param_hint="--host-key"
        )
    body: dict[str, Any] = {"name": name, "host": host, "port": port, "user": user}
    if key is not None:
        body["private_key"] = key.read_text()
    else:
        body["password"] = password
    if host_key is not None:
        body["host_key"] = _text_or_file(host_key)
    else:
        body["trust_on_first_use"] = True
    door = tools.door("ems", ems)
    tools.check_private(door.base)
    device = door.post("/devices", body)
    tools.show(device, lambda: Group(*device_tables(door.instance, device)))


@device_app.command("show")
def device_show(ctx: typer.Context, name: DeviceName, ems: Ems = None, as_json: Json = False) -> None:
    """Show what is known of a device: its state, parts and YANG modules."""
    tools = tools_of(ctx)
    door = manager(tools, name, ems)
    device = door.get(f"/devices/{name}")
    tools.show({"ems": door.instance, **device}, lambda: Group(*device_tables(door.instance, device)))


@device_app.command("learn")
def device_learn(ctx: typer.Context, name: DeviceName, ems: Ems = None, as_json: Json = False) -> None:
    """Ask a device again what it is."""
    tools = tools_of(ctx)
    door = manager(tools, name, ems)
    device = door.post(f"/devices/{name}/learn", {})
    tools.show(device, lambda: Group(*device_tables(door.instance, device)))


@device_app.command("remove")
def device_remove(ctx: typer.Context, name: DeviceName, ems: Ems = None, as_json: Json = False) -> None:
    """Manage a device no longer; nothing changes on it."""
    tools = tools_of(ctx)
    manager(tools, name, ems).remove(f"/devices/{name}")
    tools.show({"name": name, "removed": True}, lambda: facts(f"Device {name}", [("managed", False)]))


def alarms(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: Json = False,
) -> None:
    """List alarms: an operator's of all networks and devices, a tenant's of its links."""
    tools = tools_of(ctx)
    session = tools.session
    if session is not None and "tenant" in session.roles and "operator" not in session.roles:
        links = tools.door("sms").items("/links")
        found = [
            ("sms.main", {**link["alarm"], "link_id": link["id"]}) for link in links if link.get("alarm")
        ]
    else:
        chosen = "all" if every else "active"
        doors = [*tools.doors("ems"), *tools.doors("nms")]
        told = [(door.instance, alarm) for door in doors for alarm in door.items("/alarms", state=chosen)]
        found = _without_echoes(told)
    tools.show({"items": [{"by": by, **alarm} for by, alarm in found]}, lambda: alarms_table(found))


def _without_echoes(told: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """An NMS passes on what an EMS says of its devices: show the EMS's. Alarms of links come first."""
    seen = {_of_device(alarm) for by, alarm in told if by.startswith("ems.")}
    kept = [(by, alarm) for by, alarm in told if by.startswith("ems.") or _of_device(alarm) not in seen]
    return sorted(kept, key=lambda found: found[1].get("link_id") is None)


def _of_device(alarm: dict[str, Any]) -> tuple[Any, ...]:
    return alarm.get("element"), alarm.get("resource"), alarm.get("alarm_type"), alarm.get("raised_at")


def manager(tools: Toolbox, name: str, ems: str | None) -> Door:
    """The EMS that manages the device. Raises Refused if none does."""
    if ems is not None:
        return tools.door("ems", ems)
    for door in tools.doors("ems"):
        try:
            door.get(f"/devices/{name}")
        except Refused as error:
            if error.problem.get("status") != 404:
                raise
        else:
            return door
    raise Refused.because(f"no EMS manages a device {name}", "see: bellweave devices")


def _text_or_file(value: str) -> str:
    path = Path(value).expanduser()
    return path.read_text().strip() if " " not in value and path.is_file() else value
