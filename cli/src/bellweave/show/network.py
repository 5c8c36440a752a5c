"""Topologies, devices and alarms, for operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from bellweave.show.tables import NOTHING, Json, facts, state, table, when


def topology_tables(shown: Json) -> list[Table]:
    """The declared network of one operator: `shown` is the NMS's answer."""
    topology = shown["topology"]
    nodes = (
        (node["id"], node.get("site"), node.get("operator"), node.get("element"), node.get("ems"))
        for node in topology["nodes"]
    )
    links = (
        (
            link["id"],
            _end(link["a"]),
            _end(link["b"]),
            link["medium"].replace("_", " "),
            f"{link['length_km']:g} km",
            _loss(link),
            link["conduits"],
        )
        for link in topology["quantum_links"]
    )
    title = f"Nodes of {topology['operator']}, revision {shown['revision']}"
    return [
        table(title, ("node", "site", "operator", "element", "EMS"), nodes),
        table("Quantum links", ("link", "from", "to", "medium", ">length", ">loss", "conduits"), links),
    ]


def _end(end: Json) -> str:
    return f"{end['node']}/{end['port']}"


def _loss(link: Json) -> str:
    return f"{link['attenuation_db_per_km'] * link['length_km'] + link['extra_loss_db']:.1f} dB"


def devices_table(devices: Iterable[tuple[str, Json]]) -> Table:
    """(EMS, device) of all EMSs."""
    columns = ("device", "EMS", "address", "user", "state", "manageable", ">modules", "problem")
    rows = (
        (
            device["name"],
            ems,
            f"{device['host']}:{device['port']}",
            device["user"],
            state(device["state"]),
            device["manageable"],
            len(device["modules"]),
            device.get("problem"),
        )
        for ems, device in devices
    )
    return table("Devices", columns, rows)


def device_tables(ems: str, device: Json) -> list[Table]:
    about = facts(
        f"Device {device['name']}",
        [
            ("EMS", ems),
            ("address", f"{device['host']}:{device['port']}"),
            ("user", device["user"]),
            ("host key", device["host_key"]),
            ("state", state(device["state"])),
            ("problem", device.get("problem")),
            ("manageable", device["manageable"]),
            ("found out by trying", [f"{name} {value}" for name, value in device["traits"].items()] or None),
            ("ports", device.get("ports")),
        ],
    )
    parts = (
        (one["name"], one.get("class"), one.get("model"), one.get("serial"))
        for one in device.get("components", ())
    )
    modules = ((one["name"], one.get("revision")) for one in device["modules"])
    return [
        about,
        table("Parts", ("part", "class", "model", "serial"), parts),
        table("YANG modules", ("module", "revision"), modules),
    ]


def comparison_table(title: str, difference: Iterable[Json]) -> Table:
    """Leaves that differ, before and after; of what has no value, that it is there."""
    rows = (
        (each["path"], *("there" if each[when] == "" else each[when] for when in ("before", "after")))
        for each in difference
    )
    return table(title, ("leaf", "before", "after"), rows)


def revisions_table(title: str, revisions: Iterable[Json]) -> Table:
    columns = ("revision", "why", "by", "change", "since")
    rows = (
        (each["name"], each["cause"], each["who"], each.get("change_id"), when(each["at"]))
        for each in revisions
    )
    return table(title, columns, rows)


def drift_table(drifts: Iterable[Json]) -> Table:
    columns = ("device", "state", "found (domain time)", "ended by", "difference")
    rows = (
        (
            each["element"],
            state(each["state"]),
            when(each["found_at"]),
            each.get("ended_by"),
            [f"{one['path']}: {one['before']} → {one['after']}" for one in each["difference"]],
        )
        for each in drifts
    )
    return table("Changed beside the management", columns, rows)


def alarms_table(alarms: Iterable[tuple[str, Json]]) -> Table:
    """(who says it, alarm), of NMSs and EMSs alike."""
    columns = ("severity", "said by", "about", "what", "root cause", "raised (domain time)", "cleared")
    return table("Alarms", columns, (_alarm_row(by, alarm) for by, alarm in alarms))


def _alarm_row(by: str, alarm: Json) -> tuple[Any, ...]:
    about = [part for part in (alarm.get("element"), alarm.get("resource"), alarm.get("link_id")) if part]
    return (
        state("cleared" if alarm.get("cleared_at") else alarm["severity"]),
        by,
        " ".join(dict.fromkeys(about)),
        alarm["text"],
        alarm.get("root_cause"),
        when(alarm.get("raised_at") or alarm.get("at")),
        when(alarm.get("cleared_at")),
    )


def stack_table(title: str, rows: Iterable[tuple[Json, str]]) -> Table:
    """A stack's processes, each with what its door says about being ready."""
    columns = ("name", "kind", "state", "ready", "pid", "address", ">restarts", "problem")
    return table(
        title,
        columns,
        (
            (
                process["name"],
                process["kind"],
                state(process["state"]),
                Text(ready, style="" if ready in ("yes", NOTHING) else "red"),
                process.get("pid"),
                process.get("address"),
                process.get("restarts", 0),
                process.get("problem"),
            )
            for process, ready in rows
        ),
    )
