"""Orders, services, their links, and the commit's tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from bellweave.show.tables import NOTHING, Json, count, facts, state, table, when
from qmodel.units import format_bit_rate, format_duration, format_frequency


def orders_table(orders: Iterable[Json]) -> Table:
    columns = ("id", "kind", "sites", "level", "rate", "state", "service", "ordered (domain time)")
    rows = (
        (
            order["id"],
            order["kind"],
            order["sites"],
            order["security_level"],
            rate_of(order),
            state(order["state"]),
            order.get("service_id"),
            when(order["created_at"]),
        )
        for order in orders
    )
    return table("Orders", columns, rows)


def order_facts(order: Json) -> Table:
    return facts(
        f"Order {order['id']}",
        [
            ("name", order.get("name")),
            ("tenant", order["tenant"]),
            ("kind", order["kind"]),
            ("sites", order["sites"]),
            ("security level", order["security_level"]),
            ("latency below", format_duration(order["max_latency_s"])),
            ("rate", rate_of(order)),
            ("fidelity at least", order.get("min_fidelity")),
            ("state", state(order["state"])),
            ("service", order.get("service_id")),
            ("ordered (domain time)", when(order["created_at"])),
        ],
    )


def progress_table(entries: Iterable[Json]) -> Table:
    """A sentence a line: a step may tell of many links."""
    rows = ((when(entry["at"]), entry["step"], entry["text"].replace(". ", ".\n")) for entry in entries)
    return table("Progress", ("at (UTC, real time)", "step", "what happened"), rows)


def rate_of(order: Json) -> str:
    """The one rate that the order's kind has."""
    if order.get("rate_bytes_per_s"):
        return f"{format_bit_rate(8 * order['rate_bytes_per_s'])} each way"
    if order.get("key_rate_bps"):
        return f"{format_bit_rate(order['key_rate_bps'])} of key"
    if order.get("pair_rate_hz"):
        return f"{format_frequency(order['pair_rate_hz'])} of pairs"
    return NOTHING


def services_table(services: Iterable[Json]) -> Table:
    columns = ("id", "name", "kind", "sites", "level", "state", ">links", "active since (domain time)")
    rows = (
        (
            service["id"],
            service.get("name"),
            service["kind"],
            service["sites"],
            service["security_level"],
            state(service["state"]),
            len(service["links"]),
            when(service.get("active_since")),
        )
        for service in services
    )
    return table("Services", columns, rows)


def service_facts(service: Json) -> Table:
    expected_s = service.get("expected_active_in_s")
    return facts(
        f"Service {service['id']}",
        [
            ("name", service.get("name")),
            ("tenant", service["tenant"]),
            ("order", service["order_id"]),
            ("kind", service["kind"]),
            ("sites", service["sites"]),
            ("security level", service["security_level"]),
            ("state", state(service["state"])),
            ("reason", service.get("reason") or None),
            (
                "active since (domain time)",
                when(service["active_since"]) if service.get("active_since") else None,
            ),
            ("expected active in", f"{format_duration(expected_s)} of domain time" if expected_s else None),
        ],
    )


def links_table(links: Iterable[Json]) -> Table:
    columns = ("link", "state", "way", ">fidelity", ">rate", ">latency", "pass", ">delivered", "id")
    in_order = sorted(links, key=lambda link: (link["service_id"], link["a"], link["b"]))
    return table("Links", columns, map(_link_row, in_order))


def _link_row(link: Json) -> Sequence[Any]:
    placements = placements_of(link)
    usage = link.get("usage_total") or {}
    return (
        f"{link['a']} – {link['b']}",
        state(link["state"]),
        way_of(placements),
        _fixed(link.get("fidelity")),
        _link_rate(link),
        format_duration(link["latency_s"]) if link.get("latency_s") is not None else NOTHING,
        _pass(link.get("visibility")),
        count(usage.get("quantity") or None, usage.get("unit")),
        Text(link["id"], style="dim"),
    )


def placements_of(link: Json) -> list[Json]:
    return [segment["placement"] for segment in link.get("segments", ()) if segment.get("placement")]


def way_of(placements: Iterable[Json]) -> str:
    """Such as "north: alice · n1 · sat ⇄ south: sat · dave"."""
    return " ⇄ ".join(f"{one['operator']}: {' · '.join(one['nodes'])}" for one in placements) or NOTHING


def reasons(links: Iterable[Json]) -> list[Text]:
    """Why each link runs where it runs, and what is wrong with it."""
    lines = []
    for link in links:
        if link.get("why"):
            lines.append(Text(f"{link['a']} – {link['b']}: {link['why']}", style="dim"))
        if link.get("alarm"):
            alarm = link["alarm"]
            text = f"{link['a']} – {link['b']}: {alarm['text']}; root cause {alarm['root_cause']}"
            lines.append(Text(text, style="red"))
    return lines


def commit_tree(members: Iterable[Json]) -> Tree:
    """Operator, EMS, device, each with its vote and time."""
    tree = Tree("network-wide commit")
    for member in members:
        _branch(tree, member)
    return tree


def _branch(above: Tree, member: Json) -> None:
    said = Text(f"{member['member']} ")
    if member.get("vote"):
        said.append_text(state(member["vote"]))
    if member.get("elapsed_s"):
        said.append(f" {format_duration(member['elapsed_s'])}", style="dim")
    if member.get("detail"):
        said.append(f" {member['detail']}", style="red")
    branch = above.add(said)
    for below in member.get("members") or ():
        _branch(branch, below)


def _link_rate(link: Json) -> str:
    if link.get("key_rate_bps"):
        return f"{format_bit_rate(link['key_rate_bps'])} key"
    if link.get("pair_rate_hz"):
        return f"{format_frequency(link['pair_rate_hz'])} pairs"
    return NOTHING


def _fixed(value: Any) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _pass(visibility: Any) -> str:
    if not visibility:
        return NOTHING
    length, period = format_duration(visibility["duration_s"]), format_duration(visibility["period_s"])
    return f"{length} every {period}"
