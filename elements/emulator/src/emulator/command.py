"""`bellweave-element`: serve emulated elements, and reach into a network of them that runs."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import asyncssh
import typer
import uvloop

from emulator.control import ask_control
from emulator.datastore.durable import read_json, write_durably
from emulator.faults import OPERATIONS, Action
from emulator.netconf.abilities import Ability, without
from emulator.netconf.server import Access
from emulator.network import NetworkSettings, serve_network
from emulator.served import Serving, serve_modules
from qmodel.clock import DomainClock
from qmodel.errors import BellweaveError
from qmodel.topology import Topology
from qmodel.topology_file import load_topology

StateDir = Annotated[Path, typer.Option("--state", help="folder of the network's state")]


def network(
    topology: Annotated[list[Path], typer.Option(help="topology file; may be given several times")],
    state: StateDir,
    authorized_key: Annotated[Path, typer.Option(help="public key file (OpenSSH) of who may log in")],
    clock_origin: Annotated[
        float | None,
        typer.Option(help="domain clock: real time at which both agree, s; by default the first start"),
    ] = None,
    clock_scale: Annotated[float, typer.Option(min=0.001, help="domain clock: how many times faster")] = 1.0,
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    port_base: Annotated[int, typer.Option(min=0, max=65535, help="first port; 0 takes free ones")] = 0,
    user: Annotated[str, typer.Option(help="user that may log in")] = "admin",
) -> None:
    """Serve an element for every own node of the topologies, until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    try:
        topologies = [load_topology(path) for path in topology]
        keys = frozenset(key.public_data for key in _public_keys(authorized_key))
        origin_s = _first_start_s(state) if clock_origin is None else clock_origin
        clock = DomainClock(origin_s, clock_scale, time.time)
        settings = NetworkSettings(Access(user, keys), host, port_base)
        uvloop.run(_serve(topologies, state, clock, settings))
    except (BellweaveError, OSError, ValueError) as error:
        _fail(error)


def serve(
    module: Annotated[list[str], typer.Option(help="YANG module to serve; may be given several times")],
    authorized_key: Annotated[Path, typer.Option(help="public key file (OpenSSH) of who may log in")],
    yang: Annotated[list[Path] | None, typer.Option(help="folder with YANG files, before the IETF's")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="first port; 0 takes free ones")] = 0,
    user: Annotated[str, typer.Option(help="user that may log in")] = "admin",
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    count: Annotated[int, typer.Option(min=1, max=10_000, help="how many elements, a port each")] = 1,
    feature: Annotated[
        list[str] | None, typer.Option(help="module:feature; all features if none is named")
    ] = None,
    missing: Annotated[
        list[Ability] | None, typer.Option("--without", help="part of NETCONF that they cannot do")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="folder to keep configurations in; kept nowhere if left out")
    ] = None,
) -> None:
    """Serve NETCONF elements for any YANG modules, until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    try:
        serving = Serving(
            modules=module,
            access=Access(user, frozenset(key.public_data for key in _public_keys(authorized_key))),
            folders=yang or (),
            features=feature,
            abilities=without(*(missing or ())),
            host=host,
            port=port,
            count=count,
        )
        if state is not None:
            uvloop.run(_serve_modules(serving, state))
        else:
            with tempfile.TemporaryDirectory(prefix="bellweave-") as nowhere:
                uvloop.run(_serve_modules(serving, Path(nowhere)))
    except (BellweaveError, OSError, ValueError) as error:
        _fail(error)


async def _serve_modules(serving: Serving, state: Path) -> None:
    stop = _stopped()
    async with serve_modules(serving, state) as elements:
        for element in elements:
            host_key = element.host_key.export_public_key("openssh").decode().strip()
            typer.echo(f"{element.name} {serving.host} {element.port} {host_key}")
        typer.echo(f"ready: {len(elements)} elements, user {serving.access.user}")
        sys.stdout.flush()
        await stop.wait()


def _stopped() -> asyncio.Event:
    """Set when the process is asked to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _serve(
    topologies: list[Topology], state: Path, clock: DomainClock, settings: NetworkSettings
) -> None:
    stop = _stopped()
    async with serve_network(topologies, state, clock, settings) as running:
        listed = state / "elements.json"
        typer.echo(f"ready: {len(running.elements)} elements on {settings.host}, listed in {listed}")
        sys.stdout.flush()
        await stop.wait()


def cut(
    name: Annotated[str, typer.Argument(help="link, operator/link, or conduit")], state: StateDir
) -> None:
    """Cut a fibre, or all fibres of a conduit."""
    _ask(state, {"do": "cut", "name": name})


def splice(
    name: Annotated[str, typer.Argument(help="link, operator/link, or conduit")], state: StateDir
) -> None:
    """Mend what was cut."""
    _ask(state, {"do": "splice", "name": name})


def fault(
    element: Annotated[str, typer.Argument(help="the element that shall misbehave")],
    state: StateDir,
    on: Annotated[str, typer.Option(help=f"operation: {', '.join(sorted(OPERATIONS))}")],
    action: Annotated[Action, typer.Option(help="what it does instead")],
    count: Annotated[int | None, typer.Option(min=1, help="how many times; until cleared if absent")] = None,
) -> None:
    """Make one element refuse, hang, hang up, lose its reply or lie."""
    _ask(state, {"do": "fault", "element": element, "on": on, "action": action.value, "count": count})


def clear_faults(
    state: StateDir, element: Annotated[str | None, typer.Argument(help="one element; all if absent")] = None
) -> None:
    """Let elements behave again."""
    _ask(state, {"do": "clear-faults", "element": element})


def show(state: StateDir) -> None:
    """Links, cuts and faults of a running network, as JSON."""
    _ask(state, {"do": "show"})


def _first_start_s(state: Path) -> float:
    """When the network was started first, so that its domain clock goes on after a restart."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = read_json(state / "clock.json")
    if known is None:
        known = {"origin_s": time.time()}
        write_durably(state / "clock.json", json.dumps(known).encode())
    return float(known["origin_s"])


def _public_keys(path: Path) -> list[asyncssh.SSHKey]:
    """The keys of a file with one or more public keys, a line each. Raises ValueError if there is none."""
    try:
        keys = asyncssh.read_public_key_list(path)
    except asyncssh.KeyImportError as error:
        raise ValueError(f"{path}: {error}") from None
    if not keys:
        raise ValueError(f"{path} holds no public key")
    return list(keys)


def _ask(state: Path, request: dict[str, Any]) -> None:
    try:
        result = asyncio.run(ask_control(state, request))
    except BellweaveError as error:
        _fail(error)
    else:
        typer.echo(json.dumps(result, indent=2))


def _fail(error: Exception) -> None:
    detail = error.detail if isinstance(error, BellweaveError) else str(error)
    typer.echo(f"bellweave-element: {detail}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """The entry point."""
    app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
    for name, function in (
        ("network", network),
        ("serve", serve),
        ("cut", cut),
        ("splice", splice),
        ("fault", fault),
        ("clear-faults", clear_faults),
        ("show", show),
    ):
        app.command(name)(function)
    app()
