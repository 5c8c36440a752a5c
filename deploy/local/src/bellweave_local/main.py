"""`bellweave-local`: start, stop and look at the stack on this machine. The Makefile's targets call it.

It starts the supervisor and reads what that one writes; it talks to services only to seed them. What only one
command needs is imported there, so that the others answer at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bellweave_local.deployment import DEFAULT_DEPLOYMENT, load_deployment
from bellweave_local.process import open_private, tail
from bellweave_local.servers.postgres import postgres_home
from bellweave_local.state import ProcessStatus, StateDir, Status
from qmodel.errors import BellweaveError, Conflict, NotFound, TimedOut, Unavailable

UP_LIMIT_S = 180.0
DOWN_LIMIT_S = 30.0
RESTART_LIMIT_S = 60.0
SETTLED = ("ready", "external")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help=__doc__)
StateOption = Annotated[
    Path | None, typer.Option("--state", help="State directory; BELLWEAVE_STATE or .bellweave without it.")
]
DeploymentOption = Annotated[
    Path,
    typer.Option(
        "--deployment", help="What the stack consists of.", show_default="deploy/local/deployment.yaml"
    ),
]


@app.command()
def up(
    state_option: StateOption = None,
    deployment: DeploymentOption = DEFAULT_DEPLOYMENT,
    foreground: Annotated[bool, typer.Option(help="Supervise here until Ctrl-C, without seeding.")] = False,
    with_seed: Annotated[
        bool, typer.Option("--seed/--no-seed", help="Add devices, networks, customers.")
    ] = True,
) -> None:
    """Start the stack, wait until all of it is ready, and make it known to itself."""
    state = StateDir.chosen(state_option)
    load_deployment(deployment)
    if foreground:
        from bellweave_local.supervisor import supervise

        supervise(state, deployment.resolve())
        return
    console = Console()
    begun_s = time.monotonic()
    supervisor = None if state.is_running else start_supervisor(state, deployment.resolve())
    status = follow(state, supervisor, console)
    if with_seed:
        from bellweave_local.seed import seed

        for done in seed(status):
            console.print(f"  {done}", highlight=False)
    console.print(f"ready in {time.monotonic() - begun_s:.1f} s; stop it with: make down")


@app.command()
def down(state_option: StateOption = None) -> None:
    """Stop every process of the stack; its state stays."""
    state = StateDir.chosen(state_option)
    pid = state.supervisor_pid()
    if pid is None:
        typer.echo(f"no stack is running in {state.root}")
        return
    os.kill(pid, signal.SIGTERM)
    if not wait_for(lambda: not state.is_running, DOWN_LIMIT_S):
        os.kill(pid, signal.SIGKILL)  # the kernel then ends its children
        if not wait_for(lambda: not state.is_running, DOWN_LIMIT_S):
            raise TimedOut("the stack does not end", where=str(pid))
    typer.echo("stopped")


@app.command()
def status(
    state_option: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, secrets included.")] = False,
) -> None:
    """Show addresses, ports and process ids."""
    state = StateDir.chosen(state_option)
    found = known_status(state)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    table = Table(title=f"{state.root}: {found.phase}")
    for column in ("name", "state", "pid", "address", "restarts", "problem"):
        table.add_column(column, overflow="fold")
    for process in found.processes:
        table.add_row(
            process.name,
            process.state,
            str(process.pid or ""),
            process.address,
            str(process.restarts),
            process.problem or "",
        )
    Console().print(table)


@app.command()
def restart(name: str, state_option: StateOption = None) -> None:
    """End one process and wait until the supervisor has it ready again."""
    state = StateDir.chosen(state_option)
    before = known_process(state, name)
    if before.pid is None:
        raise Conflict(f"{name} has no process here now; it is {before.state}", where=name)
    os.kill(before.pid, signal.SIGTERM)

    def is_back() -> bool:
        current = known_process(state, name)
        return current.state == "ready" and current.pid != before.pid

    if not wait_for(is_back, RESTART_LIMIT_S):
        raise TimedOut(f"{name} is not ready again after {RESTART_LIMIT_S:.0f} s", where=name)
    typer.echo(f"{name} runs as {known_process(state, name).pid}")


@app.command()
def logs(
    name: str,
    state_option: StateOption = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000)] = 100,
) -> None:
    """Print the end of one process's log (`supervisor` for the supervisor's own)."""
    state = StateDir.chosen(state_option)
    log = str(state.log(name)) if name == "supervisor" else known_process(state, name).log
    if log is None:
        raise Conflict(f"{name} runs elsewhere; its log is not here", where=name)
    typer.echo(tail(Path(log), lines))


@app.command(name="seed")
def seed_again(state_option: StateOption = None) -> None:
    """Add what is missing of the declared devices, networks and customers."""
    from bellweave_local.seed import seed

    for done in seed(known_status(StateDir.chosen(state_option))):
        typer.echo(done)


@app.command()
def wipe(
    state_option: StateOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and delete all its state."""
    state = StateDir.chosen(state_option)
    if not state.root.exists():
        return
    if not (state.root / "supervisor.lock").exists():
        raise Conflict(f"{state.root} is no stack's state; nothing was deleted", where=str(state.root))
    if not yes:
        typer.confirm(f"Delete everything in {state.root}?", abort=True)
    down(state_option)
    shutil.rmtree(postgres_home(state.root, state.secret("postgres-home")), ignore_errors=True)
    shutil.rmtree(state.root)


def start_supervisor(state: StateDir, deployment: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that it outlives this command and its terminal."""
    state.create()
    command = (sys.executable, "-m", "bellweave_local.supervisor", str(state.root), str(deployment))
    with open_private(state.log("supervisor")) as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def follow(state: StateDir, supervisor: subprocess.Popen[bytes] | None, console: Console) -> Status:
    """Print each part as it becomes ready. Raises Unavailable when one cannot start, TimedOut when all
    together take too long."""
    begun_s = time.monotonic()
    shown: set[str] = set()
    while time.monotonic() - begun_s < UP_LIMIT_S:
        found = state.read_status()
        if supervisor is not None and supervisor.poll() is not None and not state.is_running:
            raise Unavailable(f"the supervisor ended:\n{tail(state.log('supervisor'))}")
        if found is not None and found.supervisor_pid == state.supervisor_pid() and state.is_running:
            for process in found.processes:
                if process.state in SETTLED and process.name not in shown:
                    shown.add(process.name)
                    console.print(
                        f"  {process.name:<10} {process.state:<9} {process.address}",
                        highlight=False,
                        soft_wrap=True,
                    )
            if found.phase == "ready":
                return found
            if found.phase == "failed":
                raise Unavailable(describe_failures(found))
        time.sleep(0.05)
    raise TimedOut(f"not ready after {UP_LIMIT_S:.0f} s; see bellweave-local status")


def describe_failures(found: Status) -> str:
    failed = [process for process in found.processes if process.state == "failed"]
    parts = [f"{process.name}: {process.problem}" + _end_of_log(process) for process in failed]
    return "\n".join(("the stack is up but not ready, and keeps trying; make down stops it", *parts))


def _end_of_log(process: ProcessStatus) -> str:
    """Nothing for a server elsewhere."""
    return f"\n{tail(Path(process.log))}" if process.log else ""


def known_status(state: StateDir) -> Status:
    found = state.read_status()
    if found is None:
        raise NotFound(f"there is no stack in {state.root}; make up starts one", where=str(state.root))
    return found


def known_process(state: StateDir, name: str) -> ProcessStatus:
    found = known_status(state)
    try:
        return found.process(name)
    except KeyError:
        known = ", ".join(process.name for process in found.processes)
        raise NotFound(f"no process {name!r}; there are {known}", where=name) from None


def wait_for(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether it came true within `limit_s` seconds."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def main() -> None:
    """The console script: errors that a person can act on end in one line, not in a traceback."""
    try:
        app()
    except BellweaveError as error:
        typer.secho(f"bellweave-local: {error.detail}", err=True, fg="red")
        for name, value in error.facts.items():
            typer.echo(f"  {name}: {json.dumps(value)}", err=True)
        raise SystemExit(1) from None
