"""What differs between two configurations, as edits of RFC 6470 and as the names of what is concerned."""

from __future__ import annotations

from dataclasses import dataclass

from qyang.errors import DataPath
from qyang.paths import path_of, step
from qyang.schema import Kind, Node, Schema
from qyang.tree import Record, Rows, key_of

MAX_CHANGES = 200
"""A notification lists no more edits; RFC 6470 allows to leave them out."""


@dataclass(frozen=True)
class Change:
    """One edit: `operation` is create, delete or replace (of a leaf: its value; of a list: its order)."""

    target: DataPath
    operation: str


def changes(schema: Schema, old: Record, new: Record) -> list[Change]:
    """The edits that lead from `old` to `new`, at the topmost node that came, went or has another value."""
    found: list[tuple[list[str], str]] = []
    _members(schema.root, old, new, [], found)
    return [Change(path_of(schema, steps), operation) for steps, operation in found[:MAX_CHANGES]]


def _members(
    node: Node, old: Record, new: Record, steps: list[str], found: list[tuple[list[str], str]]
) -> None:
    for name, child in node.children.items():
        before, after = old.get(name), new.get(name)
        if before is after or before == after:
            continue
        if child.kind in (Kind.LIST, Kind.LEAF_LIST):
            _rows(child, before or Rows(), after or Rows(), steps, found)
        elif before is None or after is None:
            found.append(([*steps, step(child)], "create" if before is None else "delete"))
        elif child.kind is Kind.CONTAINER:
            _members(child, before, after, [*steps, step(child)], found)
        else:
            found.append(([*steps, step(child)], "replace"))


def _rows(node: Node, old: Rows, new: Rows, steps: list[str], found: list[tuple[list[str], str]]) -> None:
    if node.kind is Kind.LEAF_LIST:
        found.append(([*steps, step(node)], "replace"))
        return
    before = {key_of(node, entry): entry for entry in old}
    after = {key_of(node, entry): entry for entry in new}
    for key in before:
        if key not in after:
            found.append(([*steps, step(node, key)], "delete"))
    for key, entry in after.items():
        if key not in before:
            found.append(([*steps, step(node, key)], "create"))
        elif before[key] != entry:
            _members(node, before[key], entry, [*steps, step(node, key)], found)
