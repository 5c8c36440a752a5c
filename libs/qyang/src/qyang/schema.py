"""The schema compiled for speed: one `Node` per data node, with its children by instance name and by XML tag.

Compiled once from yangson's data model of a module set and shared by all elements of a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from yangson.datamodel import DataModel
from yangson.exceptions import YangsonException
from yangson.schemanode import (
    AnyContentNode,
    CaseNode,
    ChoiceNode,
    ContainerNode,
    LeafListNode,
    LeafNode,
    ListNode,
    NotificationNode,
    RpcActionNode,
)

from qmodel.errors import Invalid
from qmodel.yang import YangModule, yang_library
from qyang.values import Lexical, Namespaces, lexical_of


class Kind(Enum):
    ROOT = "root"
    CONTAINER = "container"
    LIST = "list"
    LEAF = "leaf"
    LEAF_LIST = "leaf-list"
    ANY = "anydata"


@dataclass(slots=True, eq=False)
class Node:
    """One data node of the schema. `iname` is its name in a tree, `tag` in XML ({namespace}name);
    `keys` are instance names of a list's keys; `excludes` are siblings of other cases of its choice."""

    name: str
    module: str
    namespace: str
    iname: str
    kind: Kind
    config: bool = True
    presence: bool = False
    user_ordered: bool = False
    keys: tuple[str, ...] = ()
    lexical: Lexical | None = None
    parent: Node | None = None
    yang: Any = None
    children: dict[str, Node] = field(default_factory=dict)
    by_tag: dict[str, Node] = field(default_factory=dict)
    excludes: tuple[str, ...] = ()
    open_tag: str = ""
    close_tag: str = ""

    @property
    def tag(self) -> str:
        return f"{{{self.namespace}}}{self.name}"

    @property
    def leafy(self) -> bool:
        return self.kind in (Kind.LEAF, Kind.LEAF_LIST)

    def by_local_name(self, name: str) -> list[Node]:
        return [child for child in self.children.values() if child.name == name]


class Schema:
    """A module set, its compiled data nodes under `root`, and its notifications under
    `notifications`."""

    def __init__(self, modules: Iterable[YangModule], folders: Sequence[Path]) -> None:
        """Raises Invalid where the modules cannot be compiled together."""
        self.modules = tuple(modules)
        self.folders = tuple(folders)
        try:
            self.model = DataModel(yang_library(self.modules), [str(folder) for folder in folders])
            self.model.schema._make_schema_patterns()
        except (YangsonException, KeyError, ValueError, AttributeError) as error:
            # Not all that is wrong with a module has an exception of yangson's own.
            raise Invalid(f"the modules do not compile: {type(error).__name__} {error}"[:500]) from None
        self.namespaces = Namespaces({module.name: module.namespace for module in self.modules})
        self.root = Node("", "", "", "/", Kind.ROOT, yang=self.model.schema)
        self._compile(self.root, self.model.schema)
        self.notifications = Node("", "", "", "/", Kind.ROOT, yang=self.model.schema)
        for child in self.model.schema.children:
            if isinstance(child, NotificationNode):
                self._compile_notification(child)

    def source(self, name: str, revision: str | None = None) -> str | None:
        """The text of a module or submodule, of its newest revision if none is given; None if the set does
        not have it."""
        known = self.model.schema_data.modules
        revisions = [each for module, each in known if module == name and revision in (None, each)]
        if not revisions:
            return None
        return Path(known[name, max(revisions)].path).read_text(encoding="utf-8")

    def _compile_notification(self, yang: Any) -> None:
        node = self._node(yang, self.notifications)
        self._compile(node, yang)
        self.notifications.children[node.iname] = node
        self.notifications.by_tag[node.tag] = node

    def _compile(self, node: Node, yang: Any) -> None:
        found: list[tuple[Node, tuple[tuple[int, int], ...]]] = []
        for child, cases in _data_children(yang, ()):
            found.append((self._node(child, node), cases))
        for child_node, cases in found:
            child_node.excludes = tuple(
                other.iname
                for other, other_cases in found
                if any(
                    choice == choice2 and case != case2
                    for choice, case in cases
                    for choice2, case2 in other_cases
                )
            )
        ordered = sorted(found, key=lambda pair: _key_rank(node, pair[0]))
        for child_node, _ in ordered:
            node.children[child_node.iname] = child_node
            node.by_tag[child_node.tag] = child_node

    def _node(self, yang: Any, parent: Node) -> Node:
        module = yang.ns
        namespace = self.namespaces.of_module[module]
        iname = yang.name if module == parent.module else f"{module}:{yang.name}"
        kind = _kind_of(yang)
        node = Node(
            yang.name, module, namespace, iname, kind, config=bool(yang.config), parent=parent, yang=yang
        )
        declared = "" if namespace == parent.namespace else f' xmlns="{namespace}"'
        node.open_tag = f"<{yang.name}{declared}"
        node.close_tag = f"</{yang.name}>"
        if kind in (Kind.LEAF, Kind.LEAF_LIST):
            node.lexical = lexical_of(yang.type, self.namespaces)
        if kind in (Kind.LIST, Kind.LEAF_LIST):
            node.user_ordered = yang.user_ordered
        if kind is Kind.CONTAINER:
            node.presence = bool(getattr(yang, "presence", False))
        if kind is Kind.LIST:
            node.keys = tuple(name if ns == module else f"{ns}:{name}" for name, ns in yang.keys)
        if kind in (Kind.LIST, Kind.CONTAINER) and not isinstance(yang, NotificationNode):
            self._compile(node, yang)
        return node


def _kind_of(yang: Any) -> Kind:
    for cls, kind in (
        (ListNode, Kind.LIST),
        (LeafListNode, Kind.LEAF_LIST),
        (LeafNode, Kind.LEAF),
        (AnyContentNode, Kind.ANY),
        (ContainerNode, Kind.CONTAINER),
    ):
        if isinstance(yang, cls):
            return kind
    return Kind.CONTAINER


def _key_rank(node: Node, child: Node) -> int:
    return node.keys.index(child.iname) if child.iname in node.keys else len(node.keys)


def _data_children(
    yang: Any, cases: tuple[tuple[int, int], ...]
) -> Iterable[tuple[Any, tuple[tuple[int, int], ...]]]:
    """Data nodes under `yang`, each with the (choice, case) pairs that lead to it."""
    for child in yang.children:
        if isinstance(child, RpcActionNode | NotificationNode):
            continue
        if isinstance(child, ChoiceNode):
            for case in child.children:
                below = (*cases, (id(child), id(case)))
                if isinstance(case, CaseNode) or case.name is None:
                    yield from _data_children(case, below)
                else:
                    yield case, below
        elif child.name is None:
            yield from _data_children(child, cases)
        else:
            yield child, cases
