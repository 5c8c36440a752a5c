"""Trees written as XML text, children in the schema's order with list keys first.

Called for every reply with data; it builds strings, since building elements costs ten times as much.
"""

from __future__ import annotations

from qyang.schema import Kind, Node
from qyang.tree import Record, Value


def to_xml(node: Node, value: Record) -> str:
    """The members of `value` (a record of `node`) as XML, without an element around them."""
    out: list[str] = []
    _members(node, value, out)
    return "".join(out)


def element_xml(node: Node, value: Record) -> str:
    """`value` with its own element around it, e.g. a notification."""
    out: list[str] = []
    _one(node, value, out)
    return "".join(out)


def node_xml(node: Node, value: Value) -> str:
    """One instance of any kind of node: a list entry, one value of a leaf-list, a leaf, a container."""
    if node.leafy:
        out: list[str] = []
        _leaf(node, value, out)
        return "".join(out)
    if node.kind is Kind.ANY:
        return f"{node.open_tag}>{value}{node.close_tag}"
    return element_xml(node, value)


def _members(node: Node, value: Record, out: list[str]) -> None:
    for name, child in node.children.items():
        if name not in value:
            continue
        member = value[name]
        if child.kind is Kind.LEAF:
            _leaf(child, member, out)
        elif child.kind is Kind.LEAF_LIST:
            for item in member:
                _leaf(child, item, out)
        elif child.kind is Kind.LIST:
            for entry in member:
                _one(child, entry, out)
        elif child.kind is Kind.ANY:
            out.append(f"{child.open_tag}>{member}{child.close_tag}")
        else:
            _one(child, member, out)


def _one(node: Node, value: Record, out: list[str]) -> None:
    if not value:
        out.append(f"{node.open_tag}/>")
        return
    out.append(f"{node.open_tag}>")
    _members(node, value, out)
    out.append(node.close_tag)


def _leaf(node: Node, value: Value, out: list[str]) -> None:
    assert node.lexical is not None
    declared, text = node.lexical.xml(value)
    out.append(f"{node.open_tag}{declared}>{text}{node.close_tag}" if text else f"{node.open_tag}/>")
