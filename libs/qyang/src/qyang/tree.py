"""Instance data as immutable-by-habit trees: whoever changes one makes a new one and shares what stays.

Names are those of RFC 7951 (`module:name` where the module changes), values those of yangson ("cooked"), so
that a tree can be handed to yangson as it is. Identity of two subtrees means equality, which validation,
differences and caches make use of.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qyang.schema import Kind, Node

if TYPE_CHECKING:  # what yangson's classes are, seen from here
    ObjectValue = dict[str, Any]
    ArrayValue = list[Any]
else:
    from yangson.instvalue import ArrayValue, ObjectValue

_NEVER = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # yangson compares it with its own


class Record(ObjectValue):
    """Members of a container or of a list entry by instance name. Treat as frozen once it is in a tree."""

    timestamp = _NEVER

    def __init__(self, members: Any = (), /, **named: Any) -> None:
        dict.__init__(self, members, **named)

    def copy(self) -> Record:
        return Record(self)

    __setitem__ = dict.__setitem__
    __eq__ = dict.__eq__
    __ne__ = dict.__ne__
    __hash__ = None


class Rows(ArrayValue):
    """Entries of a list or a leaf-list, in order. Treat as frozen once it is in a tree."""

    timestamp = _NEVER

    def __init__(self, entries: Any = (), /) -> None:
        list.__init__(self, entries)

    def copy(self) -> Rows:
        return Rows(self)

    __setitem__ = list.__setitem__
    __eq__ = list.__eq__
    __ne__ = list.__ne__
    __hash__ = None


Value = Any
"""A Record, Rows or a cooked scalar."""

Key = tuple[Any, ...]


def key_of(node: Node, entry: Record) -> Key:
    """The key values of a list entry, in the list's order. KeyError if one is missing."""
    return tuple([entry[name] for name in node.keys])


def shared(new: Value, old: Value) -> Value:
    """`old` if both are equal, so that identity shows it; otherwise `new`."""
    return old if type(new) is type(old) and new == old else new


def overlay(node: Node, base: Record, state: Record) -> Record:
    """`base` with `state` laid over it: containers and list entries merge, anything else is replaced.

    Entries of `state` that `base` does not have come after those that it has."""
    merged = Record(base)
    for name, value in state.items():
        child = node.children[name]
        under = base.get(name)
        if under is None:
            merged[name] = value
        elif child.kind is Kind.CONTAINER:
            merged[name] = overlay(child, under, value)
        elif child.kind is Kind.LIST and child.keys:
            merged[name] = _overlay_rows(child, under, value)
        else:
            merged[name] = value
    return merged


def _overlay_rows(node: Node, base: Rows, state: Rows) -> Rows:
    rows = {key_of(node, entry): entry for entry in base}
    for entry in state:
        key = key_of(node, entry)
        under = rows.get(key)
        rows[key] = entry if under is None else overlay(node, under, entry)
    return Rows(rows.values())


def pruned(node: Node, value: Record, *, config: bool) -> Record:
    """Only the configuration of `value` (`config`), or only its state with the keys that lead to it."""
    kept = Record()
    for name, member in value.items():
        child = node.children[name]
        if not child.config:
            if not config:
                kept[name] = member
        elif child.kind is Kind.CONTAINER:
            below = pruned(child, member, config=config)
            if below or (config and not member):
                kept[name] = below
        elif child.kind is Kind.LIST:
            rows = [pruned(child, entry, config=config) for entry in member]
            rows = [row for row in rows if config or len(row) > len(child.keys)]
            if rows:
                kept[name] = Rows(rows)
        elif config or name in node.keys:
            kept[name] = member
    return kept


def trimmed(node: Node, value: Record, depth: int) -> Record:
    """`value` down to `depth` >= 1 levels (RFC 8526, max-depth); keys of a shown list entry always stay."""
    kept = Record()
    for name, member in value.items():
        child = node.children[name]
        if child.kind is Kind.CONTAINER:
            kept[name] = trimmed(child, member, depth - 1) if depth > 1 else Record()
        elif child.kind is Kind.LIST:
            rows = [
                trimmed(child, entry, depth - 1)
                if depth > 1
                else Record((key, entry[key]) for key in child.keys)
                for entry in member
            ]
            kept[name] = Rows(rows)
        elif depth >= 1:
            kept[name] = member
    return kept
