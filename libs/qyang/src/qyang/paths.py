"""Paths for errors and notifications: from an XML element of a request, or from a place in a tree."""

from __future__ import annotations

from lxml import etree

from qyang.errors import DataPath
from qyang.schema import Kind, Node, Schema
from qyang.tree import Key, Record


def step(node: Node, key: Key = ()) -> str:
    """One step: `module:name`, with the key predicates of a list entry."""
    text = f"{node.module}:{node.name}"
    for name, value in zip(node.keys, key, strict=False):
        child = node.children[name]
        assert child.lexical is not None
        text += f"[{child.module}:{child.name}={quoted(child.lexical.xml(value)[1])}]"
    return text


def quoted(text: str) -> str:
    """An XPath 1.0 literal; a text with both kinds of quotes loses its double ones."""
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace('"', "") + '"'


def path_of(schema: Schema, steps: list[str]) -> DataPath:
    """The path of these steps, with the namespaces of all modules that they name."""
    text = "".join(f"/{item}" for item in steps)
    used = {name: uri for name, uri in schema.namespaces.of_module.items() if f"{name}:" in text}
    return DataPath(text, used)


def path_of_element(schema: Schema, element: etree._Element, top: etree._Element) -> DataPath:
    """The data node that `element` of an edit under `top` stands for, as far as the schema knows it."""
    chain = []
    current: etree._Element | None = element
    while current is not None and current is not top:
        chain.append(current)
        current = current.getparent()
    node, steps = schema.root, []
    for item in reversed(chain):
        child = node.by_tag.get(str(item.tag))
        if child is None:
            steps.append(etree.QName(item).localname)
            break
        steps.append(step(child, _key_texts(child, item)))
        node = child
    return path_of(schema, steps)


def _key_texts(node: Node, element: etree._Element) -> Key:
    if node.kind is not Kind.LIST:
        return ()
    key = []
    for name in node.keys:
        child = node.children[name]
        found = element.find(child.tag)
        if found is None or child.lexical is None:
            break
        try:
            key.append(child.lexical.parse(found.text or "", found.nsmap))
        except ValueError:
            break
    return tuple(key)


def entry_step(node: Node, entry: Record) -> str:
    return step(node, tuple(entry[name] for name in node.keys if name in entry))
