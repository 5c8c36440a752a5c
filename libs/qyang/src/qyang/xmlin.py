"""Data as a server prints them, read into a tree: configuration and state alike, no operations.

Called by whoever mirrors a server. What the schema does not know is handed back as canonical XML and never
overlooked: two configurations that differ only there are different.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from lxml import etree

from qyang.errors import RpcError
from qyang.leaves import text_of
from qyang.paths import path_of_element
from qyang.schema import Kind, Node, Schema
from qyang.tree import Record, Rows, Value

MAX_DEPTH = 100


@dataclass(frozen=True)
class Data:
    """What was read: a tree of `schema`, and what it does not know, canonical XML by the path of its parent
    and its own name."""

    tree: Record
    unknown: dict[str, str] = field(default_factory=dict)


def read_xml(schema: Schema, data: etree._Element, *, config_only: bool = False) -> Data:
    """The children of `data` as a tree. `config_only` passes over state that a server mixes in.

    Raises RpcError (`invalid-value`, `missing-element`, `bad-element`) where a value is not of its type, a
    list entry lacks a key, or a node comes twice."""
    reader = _Reader(schema, data, config_only)
    return Data(reader.members(schema.root, data, 0), reader.unknown)


class _Reader:
    def __init__(self, schema: Schema, top: etree._Element, config_only: bool) -> None:
        self._schema = schema
        self._top = top
        self._config_only = config_only
        self.unknown: dict[str, str] = {}

    def members(self, node: Node, element: etree._Element, depth: int) -> Record:
        if depth > MAX_DEPTH:
            raise self._error("too-big", f"data are nested more than {MAX_DEPTH} deep", element)
        found: dict[str, Value] = {}
        for item in element.iterchildren(etree.Element):
            child = node.by_tag.get(str(item.tag))
            if child is None:
                self._keep_unknown(item)
            elif child.config or not self._config_only:
                self._add(child, item, found, depth)
        for name, child in node.children.items():
            if child.kind in (Kind.LIST, Kind.LEAF_LIST) and name in found:
                found[name] = _in_order(child, found[name])
        return Record((name, found[name]) for name in node.children if name in found)

    def _add(self, child: Node, item: etree._Element, found: dict[str, Value], depth: int) -> None:
        name = child.iname
        value: Value
        if child.kind is Kind.LEAF:
            value = self._leaf(child, item)
        elif child.kind is Kind.LEAF_LIST:
            found.setdefault(name, []).append(self._leaf(child, item))
            return
        elif child.kind is Kind.LIST:
            entry = self.members(child, item, depth + 1)
            missing = next((key for key in child.keys if key not in entry), None)
            if missing is not None:
                raise self._error("missing-element", f"list {child.name} needs its key {missing}", item)
            found.setdefault(name, []).append(entry)
            return
        elif child.kind is Kind.ANY:
            value = inner_xml(item)
        else:
            value = self.members(child, item, depth + 1)
            if not value and not child.presence:
                return
        if name in found:
            raise self._error("bad-element", f"{child.name} comes twice", item)
        found[name] = value

    def _leaf(self, node: Node, item: etree._Element) -> Value:
        assert node.lexical is not None
        try:
            if len(item):
                raise ValueError(f"{node.name} has no elements inside")
            return node.lexical.parse(item.text or "", item.nsmap)
        except ValueError as error:
            raise self._error("invalid-value", str(error), item) from None

    def _keep_unknown(self, item: etree._Element) -> None:
        name = etree.QName(item)
        around = item.getparent()
        path = "" if around is None else path_of_element(self._schema, around, self._top).text
        key = f"{path}/{{{name.namespace or ''}}}{name.localname}"
        text = etree.canonicalize(etree.tostring(item, encoding="unicode", with_tail=False), strip_text=True)
        self.unknown[key] = self.unknown.get(key, "") + text

    def _error(self, tag: str, message: str, item: etree._Element) -> RpcError:
        return RpcError(tag, message, path=path_of_element(self._schema, item, self._top))


def _in_order(node: Node, rows: list[Value]) -> Rows:
    """Servers print in any order what has none: sorted, so that equal data are equal trees."""
    if node.user_ordered or (node.kind is Kind.LIST and not node.keys):
        return Rows(rows)
    if node.kind is Kind.LEAF_LIST:
        return Rows(sorted(rows, key=lambda value: text_of(node, value)))
    return Rows(
        sorted(rows, key=lambda entry: [text_of(node.children[key], entry[key]) for key in node.keys])
    )


def inner_xml(element: etree._Element) -> str:
    """The content of anydata, as canonical text."""
    parts = [escape(element.text or "", quote=False)]
    for child in element:
        parts.append(etree.tostring(child, method="c14n2", with_tail=False).decode())
        parts.append(escape(child.tail or "", quote=False))
    return "".join(parts)
