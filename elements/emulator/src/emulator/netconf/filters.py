"""The two kinds of filters that a request or a subscription may carry: subtree, and XPath where offered."""

from __future__ import annotations

from typing import Protocol

from lxml import etree

from emulator.netconf.xpath import Namespaces, absolute_in, chosen
from qyang.edit import BASE_NS
from qyang.errors import RpcError
from qyang.filters import select, top_level_names
from qyang.schema import Node
from qyang.tree import Record


class Filter(Protocol):
    key: bytes
    """Equal for filters that select the same."""

    def top_level(self, root: Node) -> set[str]:
        """Top-level nodes that it may look at: nobody needs to compute the others."""
        ...

    def select(self, root: Node, tree: Record) -> Record: ...


class SubtreeFilter:
    def __init__(self, element: etree._Element) -> None:
        self._element = element
        self.key = etree.tostring(element, with_tail=False)

    def top_level(self, root: Node) -> set[str]:
        return top_level_names(root, self._element)

    def select(self, root: Node, tree: Record) -> Record:
        return select(root, tree, self._element)


class XPathFilter:
    def __init__(self, expression: str, namespaces: Namespaces) -> None:
        self._expression = absolute_in(expression)
        self._namespaces = {prefix: uri for prefix, uri in namespaces.items() if prefix}
        self.key = f"{expression} {sorted(self._namespaces.items())}".encode()

    def top_level(self, root: Node) -> set[str]:
        return set(root.children)

    def select(self, root: Node, tree: Record) -> Record:
        return chosen(root, tree, self._expression, self._namespaces)


def filter_of(element: etree._Element | None, *, xpath: bool) -> Filter | None:
    """The filter parameter of get, get-config and create-subscription (RFC 6241, 6 and 8.9)."""
    if element is None:
        return None
    kind = element.get("type") or element.get(f"{{{BASE_NS}}}type") or "subtree"
    if kind == "subtree":
        return SubtreeFilter(element)
    if kind != "xpath" or not xpath:
        supported = "subtree and xpath" if xpath else "only subtree"
        raise RpcError(
            "bad-attribute", f"{supported} filters are supported", layer="protocol",
            info=(("bad-attribute", "type"), ("bad-element", "filter")),
        )  # fmt: skip
    expression = element.get("select") or element.get(f"{{{BASE_NS}}}select")
    if expression is None:
        raise RpcError(
            "missing-attribute", "an xpath filter needs select", layer="protocol",
            info=(("bad-attribute", "select"), ("bad-element", "filter")),
        )  # fmt: skip
    return XPathFilter(expression, element.nsmap)
