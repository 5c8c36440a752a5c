"""How the demo looks: headings, tables and the commit's tree. Knows the APIs' shapes, calls nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from bellweave_local.state import Status

Json = Mapping[str, Any]


def heading(console: Console, number: int, text: str) -> None:
    console.print()
    console.rule(f"[bold]{number}. {text}[/bold]", align="left")


def rate(bps: float) -> str:
    return f"{bps / 1000:.1f} kbit/s"


def links_table(links: Sequence[Json]) -> Table:
    table = Table(title="Where the six links run", title_justify="left")
    for name in (
        "link",
        "path (· photons' route)",
        "fidelity",
        "secret key",
        "latency",
        "timing route",
        "pass",
    ):
        table.add_column(name, overflow="fold")
    for link in links:
        placements = [s["placement"] for s in link["segments"] if s.get("placement")]
        path = " ⇄ ".join(f"{p['operator']}: {'·'.join(p['nodes'])}" for p in placements)
        timing = ", ".join(t for p in placements for t in p["timing_links"]) or "–"
        coherent = all(p["timing_coherent"] for p in placements)
        passes = next((p["visibility"] for p in placements if p.get("visibility")), None)
        table.add_row(
            f"{link['a']}–{link['b']}",
            path,
            f"{link['fidelity']:.3f}",
            rate(link["key_rate_bps"]),
            f"{1000 * link['latency_s']:.2f} ms",
            timing + ("" if coherent else " (not in the same conduits)"),
            f"{passes['duration_s']:.0f} s every {passes['period_s']:.0f} s" if passes else "–",
        )
    return table


def reasons(links: Sequence[Json]) -> list[str]:
    """One sentence per link that says why it runs where it runs."""
    return [
        f"{link['a']}–{link['b']}: "
        + " / ".join(s["placement"]["why"] for s in link["segments"] if s.get("placement"))
        for link in links
    ]


def commit_tree(members: Sequence[Json]) -> Tree:
    """Operator, EMS, device, each with its vote and time; members come nested or flat (`ems.a/device`)."""
    tree = Tree("network-wide commit")
    for operator in members:
        branch = tree.add(_vote(operator["member"], operator))
        below: dict[str, Tree] = {}
        for member in operator.get("members", ()):
            ems, _, device = str(member["member"]).partition("/")
            if device and ems in below:
                below[ems].add(_vote(device, member))
            else:
                below[ems] = branch.add(_vote(str(member["member"]), member))
                for leaf in member.get("members", ()):
                    below[ems].add(_vote(leaf["member"], leaf))
    return tree


def _vote(name: str, member: Json) -> str:
    colour = {"confirmed": "green", "provisioned": "green", "refused": "red", "unknown": "red"}
    vote = str(member.get("vote") or "–")
    shown = f"{name}: [{colour.get(vote, 'yellow')}]{vote}[/]"
    if member.get("elapsed_s"):
        shown += f" [dim]{1000 * member['elapsed_s']:.0f} ms[/dim]"
    return shown + (f" [red]{member['detail']}[/red]" if member.get("detail") else "")


def usage_table(links: Sequence[Json]) -> Table:
    table = Table(title="Usage so far", title_justify="left")
    for name in ("link", "delivered", "unit"):
        table.add_column(name)
    for link in links:
        usage = link.get("usage_total") or {"quantity": 0, "unit": "–"}
        table.add_row(f"{link['a']}–{link['b']}", f"{usage['quantity']:,}", usage["unit"])
    return table


def invoice_table(invoice: Json) -> Table:
    table = Table(title=f"Invoice {invoice['number']} to {invoice['tenant']}", title_justify="left")
    for name in ("item", "quantity", "unit", "price", f"amount {invoice['currency']}"):
        table.add_column(name, overflow="fold")
    for line in invoice["lines"]:
        price = f"{line['unit_price']} per {line['price_per']}" if line.get("unit_price") else ""
        table.add_row(line["text"], f"{line['quantity']}", line.get("unit") or "", price, line["amount"])
    table.add_section()
    table.add_row("[bold]total[/bold]", "", "", "", f"[bold]{invoice['total']}[/bold]")
    return table


def addresses(status: Status) -> Table:
    table = Table(title="Look around (the stack stays up until `make down`)", title_justify="left")
    table.add_column("what")
    table.add_column("where", overflow="fold")
    for instance, url in sorted(status.apis.items()):
        table.add_row(instance, f"{url}/docs")
    table.add_row("everything, with passwords and devices", "bellweave status --json")
    table.add_row("as Acme", "bellweave login acme-admin && bellweave services")
    return table
