"""XPath filters: evaluated by libxml2 on the tree as XML, then found again in the tree.

What is selected comes with its ancestors and the keys of their list entries. The document's root is an
element around the top-level nodes, since XML allows one only; paths are led through it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

from qyang.errors import RpcError
from qyang.schema import Kind, Node
from qyang.tree import Record, Rows, Value
from qyang.xmlout import to_xml

Namespaces = Mapping[str | None, str]
MAX_EXPRESSION_CHARS = 4096
_TOKEN = re.compile(r"\s*('[^']*'|\"[^\"]*\"|//|::|\.\.|[A-Za-z_][\w.-]*|\d+(?:\.\d+)?|[^\s])")
_STEP = re.compile(r"\s*[A-Za-z_*@.]")
_OPERATORS = frozenset(("and", "or", "mod", "div"))


def absolute_in(expression: str) -> str:
    """`expression` with its absolute paths starting at the element around the data. Raises RpcError."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise _invalid(f"an expression has at most {MAX_EXPRESSION_CHARS} characters")
    out, done, after_operand = [], 0, False
    for match in _TOKEN.finditer(expression):
        part = match[1]
        if part == "/" and not after_operand:
            out.append(expression[done : match.start(1)] + "/*")
            done = match.end() if not _STEP.match(expression, match.end()) else match.start(1)
        after_operand = _is_operand(part, after_operand)
    return "".join(out) + expression[done:]


def _is_operand(part: str, after_operand: bool) -> bool:
    """Whether a slash after `part` goes on with a path, instead of beginning one."""
    if part == "*" or part in _OPERATORS:
        return not after_operand
    return part[0] in "'\"._)]" or part[0].isalnum()


def chosen(root: Node, tree: Record, expression: str, namespaces: Mapping[str, str]) -> Record:
    """What `expression` (of `absolute_in`) selects of `tree`. Raises RpcError."""
    document = etree.fromstring(f"<data>{to_xml(root, tree)}</data>", etree.XMLParser(huge_tree=True))
    try:
        found = etree.XPath(expression, namespaces=namespaces, regexp=False, smart_strings=True)(document)
    except etree.XPathError as error:
        raise _invalid(str(error)) from None
    if not isinstance(found, list):
        raise _invalid("a filter selects nodes, not a value")
    whole = {element for item in found if (element := _element_of(item)) is not None}
    if document in whole:
        return tree
    spine = {above for element in whole for above in element.iterancestors()}
    return _Selection(whole, spine).members(root, tree, document) or Record()


def _element_of(item: Any) -> etree._Element | None:
    """The element that a node of a result is, or whose text it is."""
    if isinstance(item, etree._Element):
        return item
    parent: etree._Element | None = item.getparent() if hasattr(item, "getparent") else None
    return parent


class _Selection:
    """Walks a tree and its XML side by side: both have the same order."""

    def __init__(self, whole: set[etree._Element], spine: set[etree._Element]) -> None:
        self._whole = whole
        self._spine = spine

    def members(self, node: Node, value: Record, element: etree._Element) -> Record:
        kept = Record()
        elements = iter(element)
        for name, child in node.children.items():
            if name not in value:
                continue
            member = value[name]
            if child.kind in (Kind.LIST, Kind.LEAF_LIST):
                pairs = [self._one(child, item, next(elements)) for item in member]
                rows = Rows([item for item in pairs if item is not None])
                if rows:
                    kept[name] = rows
            elif (one := self._one(child, member, next(elements))) is not None:
                kept[name] = one
        return kept

    def _one(self, node: Node, value: Value, element: etree._Element) -> Value | None:
        if element in self._whole:
            return value
        if element not in self._spine or node.kind not in (Kind.LIST, Kind.CONTAINER):
            return value if element in self._spine else None  # a part of anydata: all of it
        kept = Record((name, value[name]) for name in node.keys)
        kept.update(self.members(node, value, element))
        return kept


def _invalid(reason: str) -> RpcError:
    return RpcError("invalid-value", f"xpath filter: {reason}", layer="protocol")
