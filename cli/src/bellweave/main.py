"""`bellweave`: the commands together, and what a run returns.

Exit status: 0 done, 1 refused or failed, 2 the command line is wrong, 3 nobody could be reached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from bellweave.commands import account, billing, datastores, network, order, service, watch
from bellweave.toolbox import Toolbox, tools_of
from bellweave.trouble import REFUSED, Mistyped, Trouble

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def options(
    ctx: typer.Context,
    state: Annotated[
        Path | None, typer.Option("--state", help="A local stack's directory (BELLWEAVE_STATE, .bellweave).")
    ] = None,
) -> None:
    """Order, watch and operate quantum networks. Begin with: bellweave login USER

    Exit status: 0 done, 1 refused or failed, 2 the command line is wrong, 3 nobody could be reached.
    """
    tools_of(ctx).state = state


app.command()(account.login)
app.command()(account.logout)
app.command()(account.whoami)
app.command()(account.status)
app.add_typer(order.app, name="order")
app.command()(order.orders)
app.command()(watch.watch)
app.command()(service.services)
app.add_typer(service.app, name="service")
app.command()(service.links)
app.command()(service.sites)
app.add_typer(network.topology_app, name="topology")
app.command()(network.devices)
app.command()(datastores.drift)
app.add_typer(network.device_app, name="device")
app.command()(network.alarms)
app.command()(billing.usage)
app.command()(billing.quota)
app.add_typer(billing.invoice_app, name="invoice")


def run(arguments: Sequence[str], tools: Toolbox) -> int:
    """Run one command line; its exit status."""
    # Before `--json` is parsed the line may already prove wrong: then Typer would print for people.
    for_machines = "--json" in arguments
    try:
        status = app(args=list(arguments), obj=tools, prog_name="bellweave", standalone_mode=not for_machines)
    except TyperException as error:
        tools.as_json = True
        mistyped = Mistyped.because(error.format_message())
        tools.report(mistyped)
        return mistyped.exit_status
    except typer.Abort:
        return REFUSED
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Trouble as trouble:
        tools.report(trouble)
        return trouble.exit_status
    return status if isinstance(status, int) else 0


def main() -> None:
    sys.exit(run(sys.argv[1:], Toolbox(dict(os.environ), Path.cwd())))
