"""Default values (RFC 7950, 7.6.1): laid under a tree, or taken out of it.

Called by whoever shows configuration in one of the ways of RFC 6243; trees themselves hold what was set.
"""

from __future__ import annotations

from yangson.enumerations import ContentType
from yangson.instance import RootNode

from qyang.schema import Kind, Node, Schema
from qyang.tree import Record, Rows


def with_defaults(schema: Schema, tree: Record, *, state: bool) -> Record:
    """`tree` with the default values that are in use in it, those of state too where `state`."""
    model = schema.model
    root = RootNode(tree, model.schema, model.schema_data, tree.timestamp)
    return Record(root.add_defaults(ContentType.all if state else ContentType.config).value)


def without_defaults(node: Node, value: Record) -> Record:
    """`value` without leafs that have their default value, and containers that are empty then."""
    kept = Record()
    for name, member in value.items():
        child = node.children[name]
        if child.kind is Kind.CONTAINER:
            below = without_defaults(child, member)
            if below or child.presence:
                kept[name] = below
        elif child.kind is Kind.LIST:
            kept[name] = Rows([without_defaults(child, entry) for entry in member])
        elif not child.leafy or name in node.keys or child.yang.default != member:
            kept[name] = member
    return kept
