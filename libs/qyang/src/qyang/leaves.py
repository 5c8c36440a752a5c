"""A tree as its leaves: instance path to canonical text. What people compare, search and blame is this form.

Paths are those of RFC 7951 (`/ietf-interfaces:interfaces/interface[name='q1']/enabled`). A list entry is
there by its keys, a presence container by itself, an entry of a leaf-list by its value; where the user's
order counts, the order is a leaf of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

from qyang.paths import quoted
from qyang.schema import Kind, Node
from qyang.tree import Record, Value


@dataclass(frozen=True, slots=True)
class Difference:
    """One leaf that differs; None where it is not there."""

    path: str
    before: str | None
    after: str | None

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: `- path = before` and `+ path = after`."""
        told = (("- ", self.before), ("+ ", self.after))
        return tuple(
            f"{sign}{self.path}" + (f" = {text}" if text else "") for sign, text in told if text is not None
        )


def leaves(root: Node, tree: Record) -> dict[str, str]:
    """Every leaf of `tree`, a record of `root`, in the schema's order."""
    return dict(_members(root, tree, ""))


def differences(before: dict[str, str], after: dict[str, str]) -> tuple[Difference, ...]:
    """What leads from one to the other, by path."""
    paths = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    return tuple(Difference(path, before.get(path), after.get(path)) for path in paths)


def _members(node: Node, value: Record, path: str) -> Iterator[tuple[str, str]]:
    for name, child in node.children.items():
        if name in value:
            yield from _node(child, value[name], f"{path}/{name}")


def _node(node: Node, value: Value, path: str) -> Iterator[tuple[str, str]]:
    if node.kind is Kind.LEAF:
        yield path, text_of(node, value)
    elif node.kind is Kind.LEAF_LIST:
        texts = [text_of(node, item) for item in value]
        yield from ((f"{path}[.={quoted(text)}]", "") for text in texts)
        if node.user_ordered and len(texts) > 1:
            yield f"{path}[order]", ", ".join(texts)
    elif node.kind is Kind.LIST:
        steps = [entry_predicate(node, entry, number) for number, entry in enumerate(value, 1)]
        for step, entry in zip(steps, value, strict=True):
            if all(name in node.keys for name in entry):
                yield path + step, ""
            yield from ((where, text) for where, text in _members(node, entry, path + step))
        if node.user_ordered and len(steps) > 1:
            yield f"{path}[order]", ", ".join(steps)
    elif node.kind is Kind.ANY:
        yield path, str(value)
    else:
        if node.presence:
            yield path, ""
        yield from _members(node, value, path)


def entry_predicate(node: Node, entry: Record, number: int) -> str:
    """`[name='q1']` of a list entry; a list without keys counts its entries from 1."""
    if not node.keys:
        return f"[{number}]"
    return "".join(f"[{key}={quoted(text_of(node.children[key], entry[key]))}]" for key in node.keys)


def text_of(node: Node, value: Value) -> str:
    """Canonical text of a leaf's value, an identity with its module's name."""
    assert node.lexical is not None
    return unescape(node.lexical.xml(value)[1])
