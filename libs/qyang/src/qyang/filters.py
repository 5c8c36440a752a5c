"""Subtree filters (RFC 6241, section 6) on trees.

A filter selects; it never fails on names that the schema does not have: they select nothing.
"""

from __future__ import annotations

from lxml import etree

from qyang.schema import Kind, Node
from qyang.tree import Record, Rows, Value, key_of


def top_level_names(root: Node, filter_element: etree._Element) -> set[str]:
    """The top-level data nodes that a filter may select: nobody needs to compute the others."""
    names: set[str] = set()
    for element in _elements(filter_element):
        names.update(child.iname for child in _named(root, element))
    return names


def select(root: Node, tree: Record, filter_element: etree._Element) -> Record:
    """What the filter selects of `tree`, whose top-level nodes are the children of `root`."""
    return _select_members(root, tree, _elements(filter_element)) or Record()


def _select_members(node: Node, value: Record, filters: list[etree._Element]) -> Record | None:
    """The union of what each filter element selects among the members of `value`."""
    selected = Record()
    for element in filters:
        for child in _named(node, element):
            if child.iname not in value:
                continue
            found = _select(child, value[child.iname], element)
            if found is None:
                continue
            known = selected.get(child.iname)
            selected[child.iname] = found if known is None else _union(child, known, found)
    return selected or None


def _select(node: Node, value: Value, element: etree._Element) -> Value | None:
    """What one filter element selects of the instances of one data node; None for nothing."""
    if element.attrib:
        return None
    children = list(_elements(element))
    text = (element.text or "").strip()
    if node.leafy:
        return _select_leaf(node, value, element, text)
    if not children:
        return value if not text else None
    if node.kind is Kind.LIST:
        kept = [found for entry in value if (found := _inside(node, entry, children)) is not None]
        return Rows(kept) if kept else None
    if node.kind is Kind.CONTAINER:
        return _inside(node, value, children)
    return None


def _select_leaf(node: Node, value: Value, element: etree._Element, text: str) -> Value | None:
    if not text:
        return value
    wanted = _parsed(node, element)
    if node.kind is Kind.LEAF:
        return value if value == wanted else None
    kept = [item for item in value if item == wanted]
    return Rows(kept) if kept else None


def _inside(node: Node, value: Record, filters: list[etree._Element]) -> Record | None:
    """A container or a list entry under filters for its members: all content matches must hold; without
    other filters it is selected whole, otherwise what they select, with the keys and matched leafs."""
    matched = Record()
    selecting = []
    for element in filters:
        children = _named(node, element)
        if children and all(child.leafy for child in children) and (element.text or "").strip():
            found = _select_members(node, value, [element])
            if found is None:
                return None
            matched.update(found)
        else:
            selecting.append(element)
    if not selecting:
        return value
    selected = _select_members(node, value, selecting)
    if selected is None:
        return None
    whole = Record((name, value[name]) for name in node.keys)
    whole.update(matched)
    whole.update(selected)
    return whole


def _union(node: Node, one: Value, other: Value) -> Value:
    if one is other or node.kind in (Kind.LEAF, Kind.ANY):
        return one
    if node.kind is Kind.CONTAINER:
        return _union_members(node, one, other)
    if node.kind is Kind.LEAF_LIST:
        return Rows([*one, *(item for item in other if item not in one)])
    if not node.keys:
        return Rows([*one, *(item for item in other if not any(item is known for known in one))])
    rows = {key_of(node, entry): entry for entry in one}
    for entry in other:
        key = key_of(node, entry)
        rows[key] = _union_members(node, rows[key], entry) if key in rows else entry
    return Rows(rows.values())


def _union_members(node: Node, one: Record, other: Record) -> Record:
    merged = Record(one)
    for name, value in other.items():
        merged[name] = _union(node.children[name], merged[name], value) if name in merged else value
    return merged


def _parsed(node: Node, element: etree._Element) -> Value:
    """The value that a content match asks for; a text that the type does not allow equals nothing."""
    assert node.lexical is not None
    text = (element.text or "").strip()
    try:
        return node.lexical.parse(text, element.nsmap)
    except ValueError:
        return _NOTHING


_NOTHING = object()


def _named(node: Node, element: etree._Element) -> list[Node]:
    """Data nodes that a filter element names; without a namespace any module's will do (6.2.1)."""
    tag = str(element.tag)
    if tag.startswith("{"):
        child = node.by_tag.get(tag)
        return [child] if child is not None else []
    return node.by_local_name(tag)


def _elements(element: etree._Element) -> list[etree._Element]:
    return [child for child in element if isinstance(child.tag, str)]
