"""The modes of with-defaults (RFC 6243). The datastores hold what was set (basic mode explicit)."""

from __future__ import annotations

from enum import StrEnum

from lxml import etree

from qyang.edit import BASE_NS
from qyang.errors import RpcError
from qyang.paths import path_of_element
from qyang.schema import Kind, Node, Schema
from qyang.tree import Record, key_of
from qyang.xmlout import to_xml

DEFAULT_NS = "urn:ietf:params:xml:ns:netconf:default:1.0"
_DEFAULT = f"{{{DEFAULT_NS}}}default"


class Defaults(StrEnum):
    EXPLICIT = "explicit"
    """What was set, whatever its value."""
    TRIM = "trim"
    """Without leafs that have their default value."""
    REPORT_ALL = "report-all"
    TAGGED = "report-all-tagged"
    """As report-all; values that nobody has set carry an attribute."""


def tagged_xml(node: Node, value: Record, explicit: Record) -> str:
    """The members of `value` as XML; leafs that `explicit`, the same tree as it was set, lacks are tagged."""
    out: list[str] = []
    for name, child in node.children.items():
        if name not in value:
            continue
        member, known = value[name], explicit.get(name)
        if child.kind is Kind.CONTAINER:
            out.append(_tagged_one(child, member, known or Record()))
        elif child.kind is Kind.LIST and child.keys:
            entries = {key_of(child, entry): entry for entry in known or ()}
            out.extend(_tagged_one(child, each, entries.get(key_of(child, each), each)) for each in member)
        elif child.leafy and known is None:
            text = to_xml(node, Record({name: member}))
            out.append(
                text.replace(child.open_tag, f'{child.open_tag} xmlns:wd="{DEFAULT_NS}" wd:default="true"')
            )
        else:
            out.append(to_xml(node, Record({name: member})))
    return "".join(out)


def _tagged_one(node: Node, value: Record, explicit: Record) -> str:
    inside = tagged_xml(node, value, explicit)
    return f"{node.open_tag}>{inside}{node.close_tag}" if inside else f"{node.open_tag}/>"


def untagged(schema: Schema, config: etree._Element) -> None:
    """Makes of leafs that an edit tags as default what explicit mode wants: nobody has set them (RFC 6243,
    4.5.2). Raises RpcError where the value is another than the default."""
    for element in list(config.iter()):
        if not isinstance(element.tag, str) or element.attrib.pop(_DEFAULT, "false") not in ("true", "1"):
            continue
        node = _node_of(schema, config, element)
        if node is None or not _is_default(node, element):
            name = etree.QName(element).localname
            raise RpcError(
                "invalid-value", f"{name} is tagged as default and has another value",
                path=path_of_element(schema, element, config), info=(("bad-element", name),),
            )  # fmt: skip
        element.set(f"{{{BASE_NS}}}operation", "remove")


def _node_of(schema: Schema, config: etree._Element, element: etree._Element) -> Node | None:
    chain = [element]
    while (parent := chain[-1].getparent()) is not None and parent is not config:
        chain.append(parent)
    node: Node | None = schema.root
    for item in reversed(chain):
        node = None if node is None else node.by_tag.get(str(item.tag))
    return node


def _is_default(node: Node, element: etree._Element) -> bool:
    if node.lexical is None or node.kind is not Kind.LEAF:
        return False
    try:
        return bool(node.lexical.parse(element.text or "", element.nsmap) == node.yang.default)
    except ValueError:
        return False
