"""The edit-config that leads from one configuration to another: every operation written out, nothing assumed.

Called by whoever drives a server towards a target. `create` and `delete` rather than `merge` and `remove`: a
server that was not as we thought refuses, and nothing happens there.
"""

from __future__ import annotations

from qyang.edit import BASE_NS, YANG_NS
from qyang.schema import Kind, Node, Schema
from qyang.tree import Key, Record, Rows, Value, key_of
from qyang.xmlout import node_xml

_OPERATION = f' xmlns:nc="{BASE_NS}" nc:operation='
_LAST = f' xmlns:yang="{YANG_NS}" yang:insert="last"'


def edit_between(schema: Schema, before: Record, after: Record) -> str:
    """The content of `<config>` that makes a server with `before` run `after`; empty when they are equal.
    Both are configurations of `schema` as `read_xml` gives them."""
    out: list[str] = []
    _members(schema.root, before, after, out)
    return "".join(out)


def _members(node: Node, before: Record, after: Record, out: list[str]) -> None:
    for name, child in node.children.items():
        old, new = before.get(name), after.get(name)
        if old is new or old == new or not child.config or name in node.keys:
            continue
        if child.kind is Kind.LIST:
            _list(child, old or Rows(), new or Rows(), out)
        elif child.kind is Kind.LEAF_LIST:
            _leaf_list(child, old or Rows(), new or Rows(), out)
        elif new is None:
            out.append(f'{child.open_tag}{_OPERATION}"delete"/>')
        elif old is None:
            out.append(_with(child, new, f'{_OPERATION}"create"'))
        elif child.kind is Kind.CONTAINER:
            _inside(child, "", old, new, out)
        else:
            out.append(_with(child, new, f'{_OPERATION}"replace"'))


def _inside(node: Node, keys: str, old: Record, new: Record, out: list[str]) -> None:
    """What changes within a container or a list entry; `keys` says which entry."""
    out.append(f"{node.open_tag}>{keys}")
    _members(node, old, new, out)
    out.append(node.close_tag)


def _list(node: Node, old: Rows, new: Rows, out: list[str]) -> None:
    before: dict[Key, Record] = {key_of(node, entry): entry for entry in old}
    after: dict[Key, Record] = {key_of(node, entry): entry for entry in new}
    for key in before:
        if key not in after:
            out.append(f'{node.open_tag}{_OPERATION}"delete">{_keys(node, before[key])}{node.close_tag}')
    moved = node.user_ordered and _is_moved(list(before), list(after))
    for key, entry in after.items():
        known = before.get(key)
        if known is None:
            where = _LAST if node.user_ordered else ""
            out.append(_with(node, entry, f'{_OPERATION}"create"{where}'))
        elif moved:  # each goes to the end in turn, so that they end in this order
            out.append(_with(node, entry, f'{_OPERATION}"replace"{_LAST}'))
        elif known != entry:
            _inside(node, _keys(node, entry), known, entry, out)


def _leaf_list(node: Node, old: Rows, new: Rows, out: list[str]) -> None:
    for value in old:
        if value not in new:
            out.append(_with(node, value, f'{_OPERATION}"delete"'))
    moved = node.user_ordered and _is_moved(list(old), list(new))
    for value in new:
        if value not in old:
            where = _LAST if node.user_ordered else ""
            out.append(_with(node, value, f'{_OPERATION}"create"{where}'))
        elif moved:
            out.append(_with(node, value, f'{_OPERATION}"merge"{_LAST}'))


def _is_moved(old: list[Value], new: list[Value]) -> bool:
    """Whether new entries at the end, and old ones taken away, are not all that happens to the order."""
    staying = [item for item in old if item in new]
    return staying != new[: len(staying)]


def _keys(node: Node, entry: Record) -> str:
    parts = []
    for name in node.keys:
        child = node.children[name]
        assert child.lexical is not None
        declared, text = child.lexical.xml(entry[name])
        parts.append(f"{child.open_tag}{declared}>{text}{child.close_tag}")
    return "".join(parts)


def _with(node: Node, value: Value, attributes: str) -> str:
    """The element of one instance of `node`, with attributes."""
    text = node_xml(node, value)
    return text.replace(node.open_tag, node.open_tag + attributes, 1)
