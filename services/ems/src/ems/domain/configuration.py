"""The whole configuration of one device: what node configurations own of it, and all the rest.

Two of them are equal exactly when the device would do the same. What a device has configured beyond our
circuits (a laser's current, an interface switched off) is its base: taken over as found, kept in revisions,
and compared with what runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from ems.domain.quantum_node import KEYS, KINDS, MODULE, entry_of
from ems.domain.snapshot import Entry, Snapshot
from qyang.leaves import Difference, leaves, text_of
from qyang.leaves import differences as leaf_differences
from qyang.paths import quoted
from qyang.schema import Node, Schema
from qyang.tree import Record, Rows
from qyang.xmlin import Data, read_xml
from qyang.xmlout import to_xml

CONTAINER: Final = f"{MODULE}:quantum-node"


@dataclass(frozen=True)
class Content:
    """A configuration as it is kept: canonical XML of the base, the snapshot of what is owned, and what the
    device's schema does not know. Equal contents have equal digests. `base_leaves` shows the base by path,
    readable when the schema has gone."""

    base: str
    node: Snapshot
    unknown: dict[str, str] = field(default_factory=dict)
    base_leaves: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal."""
        text = json.dumps([self.base, self.node.to_json(), sorted(self.unknown.items())])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def leaves(self) -> dict[str, str]:
        """Every leaf by its path; of what is owned, those that are not at their default."""
        return self.base_leaves | _node_leaves(self.node) | self.unknown

    def with_node(self, node: Snapshot) -> Content:
        return Content(self.base, node, self.unknown, self.base_leaves)

    def with_base_of(self, other: Content) -> Content:
        return Content(other.base, self.node, other.unknown, other.base_leaves)


@dataclass(frozen=True)
class Configuration:
    """`base` is a tree of `schema` without what node configurations own, which is `node`."""

    schema: Schema = field(compare=False, repr=False)
    base: Record
    node: Snapshot
    unknown: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: Schema, data: Data) -> Configuration:
        """What was read of a device, split."""
        tree = data.tree
        container = tree.get(CONTAINER)
        entries: list[Entry] = []
        if container is not None:
            kinds = schema.root.children[CONTAINER]
            for kind in KINDS:
                entries += [_entry(kinds.children[kind], entry) for entry in container.get(kind, ())]
            rest = Record((name, value) for name, value in container.items() if name not in KINDS)
            tree = Record((name, rest if name == CONTAINER else value) for name, value in tree.items())
            if not rest:
                del tree[CONTAINER]
        return cls(schema, tree, Snapshot.of(entries), data.unknown)

    @classmethod
    def kept(cls, schema: Schema, content: Content) -> Configuration:
        """What was kept, in the schema that the device has now; what that does not know any more is left
        out of the tree. Raises RpcError where a value is no longer of its type."""
        parsed = read_xml(schema, etree.fromstring(f"<data>{content.base}</data>"), config_only=True)
        return cls(schema, parsed.tree, content.node, content.unknown | parsed.unknown)

    @property
    def content(self) -> Content:
        root = self.schema.root
        return Content(to_xml(root, self.base), self.node, self.unknown, leaves(root, self.base))

    @property
    def tree(self) -> Record:
        """Base and owned part together, as the device has them."""
        container = self.schema.root.children.get(CONTAINER)
        if container is None or not self.node.entries:
            return self.base
        owned = Record(self.base.get(CONTAINER, ()))
        for kind in KINDS:
            rows = [_record(container.children[kind], e) for e in self.node.entries if e.kind == kind]
            if rows:
                owned[kind] = Rows(rows)
        return Record({**self.base, CONTAINER: owned})


def differences(before: Content, after: Content) -> tuple[Difference, ...]:
    """What leads from one to the other, leaf by leaf."""
    return leaf_differences(before.leaves, after.leaves)


def _node_leaves(node: Snapshot) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in node.entries:
        keys = "".join(f"[{name}={quoted(value)}]" for name, value in zip(KEYS, entry.key, strict=True))
        path = f"/{CONTAINER}/{entry.kind}{keys}"
        found[path] = ""
        found |= {f"{path}/{name}": value for name, value in entry.leaves}
    return found


def _entry(node: Node, entry: Record) -> Entry:
    return entry_of(node.name, {name: text_of(node.children[name], value) for name, value in entry.items()})


def _record(node: Node, entry: Entry) -> Record:
    texts = dict(zip(KEYS, entry.key, strict=True)) | dict(entry.leaves)
    known = ((name, child) for name, child in node.children.items() if name in texts)
    return Record((name, _cooked(child, texts[name])) for name, child in known)


def _cooked(node: Node, text: str) -> Any:
    assert node.lexical is not None
    return node.lexical.parse(text, {})
