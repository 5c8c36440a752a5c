"""Ordering, and following what was ordered."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Group

from bellweave.commands.watch import watch_order
from bellweave.show.services import links_table, order_facts, orders_table, progress_table
from bellweave.toolbox import Json, Toolbox, tools_of
from bellweave.trouble import Refused
from qmodel.errors import Invalid
from qmodel.security import parse_level
from qmodel.units import (
    parse_bit_rate_bps,
    parse_byte_rate_bytes_per_s,
    parse_duration_s,
    parse_frequency_hz,
    parse_share,
)

app = typer.Typer(no_args_is_help=True, help="Order a service, or look at an order.")

Level = Annotated[str, typer.Option(help='Security level: standard, secret or "Top Secret".')]
Latency = Annotated[str, typer.Option(help='Greatest latency, such as "1s" or "500 ms".')]
Named = Annotated[str | None, typer.Option(help="A name of your own for it.")]
Fidelity = Annotated[str | None, typer.Option(help='Least fidelity, such as 0.95 or "95 %".')]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it is active, or refused.")]
Key = Annotated[
    str | None, typer.Option("--idempotency-key", help="Repeating an order with the same key makes one.")
]


@dataclass(frozen=True)
class _Kind:
    """How a kind of order is typed and told: `rate` is what its rate is called in an order."""

    command: str
    kind: str
    help: str
    rate: str
    rate_help: str
    parse: Callable[[str], float]
    two_sites: bool = False


_KINDS = (
    _Kind(
        "full-mesh",
        "full_mesh_vpn",
        "Order a VPN in which every site has a link to every other.",
        "rate_bytes_per_s",
        'Payload each way on every link, such as "1 KB/s".',
        parse_byte_rate_bytes_per_s,
    ),
    _Kind(
        "point-to-point",
        "point_to_point_vpn",
        "Order a VPN between two sites.",
        "rate_bytes_per_s",
        'Payload each way, such as "1 KB/s".',
        parse_byte_rate_bytes_per_s,
        two_sites=True,
    ),
    _Kind(
        "keys",
        "key",
        "Order secret keys between sites.",
        "key_rate_bps",
        'Secret key, such as "2 kbit/s".',
        parse_bit_rate_bps,
    ),
    _Kind(
        "pairs",
        "entanglement",
        "Order entangled pairs between sites.",
        "pair_rate_hz",
        'Entangled pairs, such as "10 pairs/s".',
        parse_frequency_hz,
    ),
)


def _command(kind: _Kind) -> None:
    """Make the command that orders a kind."""
    how_many = "Two sites" if kind.two_sites else "Two or more sites"

    @app.command(kind.command, help=kind.help)
    def place(
        ctx: typer.Context,
        sites: Annotated[list[str], typer.Argument(help=f"{how_many}; see: bellweave sites.")],
        rate: Annotated[str, typer.Option(help=kind.rate_help)],
        level: Level = "standard",
        latency: Latency = "1s",
        fidelity: Fidelity = None,
        name: Named = None,
        watch: Watch = False,
        key: Key = None,
        as_json: Json = False,
    ) -> None:
        if kind.two_sites and len(sites) != 2:
            raise typer.BadParameter(f"two sites are needed, {len(sites)} given", param_hint="SITES")
        body = _body(kind.kind, sites, level, latency, fidelity, name)
        body[kind.rate] = _quantity(kind.parse, rate, "--rate")
        _place(tools_of(ctx), body, key, watch)


for _kind in _KINDS:
    _command(_kind)


@app.command("show")
def show(ctx: typer.Context, order_id: str, as_json: Json = False) -> None:
    """Show an order: where it stands, and what was done for it."""
    tools = tools_of(ctx)
    sms = tools.door("sms")
    order = sms.get(f"/orders/{order_id}")
    tools.show(order, lambda: Group(order_facts(order), progress_table(order["progress"])))
    if tools.as_json:
        return
    if order.get("service_id"):
        found = sms.items(f"/services/{order['service_id']}/links")
        tools.show(None, lambda: links_table(found))
    if order.get("problem"):
        tools.report(Refused(order["problem"]))


@app.command("cancel")
def cancel(ctx: typer.Context, order_id: str, as_json: Json = False) -> None:
    """Call an order off; what was done for it is undone."""
    tools = tools_of(ctx)
    order = dict(tools.door("sms").send("DELETE", f"/orders/{order_id}").json())
    tools.show(order, lambda: order_facts(order))


def orders(ctx: typer.Context, as_json: Json = False) -> None:
    """List orders, newest first."""
    tools = tools_of(ctx)
    found = tools.door("sms").items("/orders")
    tools.show({"items": found}, lambda: orders_table(found))


def _body(
    kind: str, sites: list[str], level: str, latency: str, fidelity: str | None, name: str | None
) -> dict[str, Any]:
    """An order without its rate. Raises BadParameter for what cannot be read."""
    try:
        security_level = parse_level(level).value
    except Invalid as error:
        raise typer.BadParameter(error.detail, param_hint="--level") from error
    body: dict[str, Any] = {
        "kind": kind,
        "sites": sites,
        "security_level": security_level,
        "max_latency_s": _quantity(parse_duration_s, latency, "--latency"),
    }
    if fidelity is not None:
        body["min_fidelity"] = _quantity(parse_share, fidelity, "--fidelity")
    if name is not None:
        body["name"] = name
    return body


def _quantity(parse: Callable[[str], float], text: str, option: str) -> float:
    try:
        return parse(text)
    except Invalid as error:
        raise typer.BadParameter(error.detail, param_hint=option) from error


def _place(tools: Toolbox, body: dict[str, Any], key: str | None, watch: bool) -> None:
    """Send the order, once in effect however often the line breaks."""
    sms = tools.door("sms")
    order = sms.post("/orders", body, key=key or str(uuid.uuid4()))
    if watch:
        tools.say(f"order {order['id']}")
        watch_order(tools, sms, order["id"])
        return
    tools.show(order, lambda: order_facts(order))
    tools.say(f"[dim]→ follow it: bellweave watch {order['id']}[/dim]")
