"""edit-config on a tree: RFC 6241, 7.2, with the ordering attributes of RFC 7950.

`edit` makes a new tree or raises; the old one is never touched, so that an edit is all or nothing. What an
edit leaves equal stays the same object. Called by the datastores, and to read stored configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from qyang.errors import RpcError, RpcErrors
from qyang.paths import path_of_element
from qyang.schema import Kind, Node, Schema
from qyang.tree import Key, Record, Rows, Value, key_of, shared
from qyang.xmlin import inner_xml

BASE_NS = "urn:ietf:params:xml:ns:netconf:base:1.0"
YANG_NS = "urn:ietf:params:xml:ns:yang:1"
_OPERATION = f"{{{BASE_NS}}}operation"
_OPERATIONS = frozenset(("merge", "replace", "create", "delete", "remove"))


def edit(schema: Schema, tree: Record, config: etree._Element, default_operation: str = "merge") -> Record:
    """`tree` after the edit that `config`'s children describe. Raises RpcError; nothing happens then."""
    return _Edit(schema, config).root(tree, default_operation)


def edit_continuing(
    schema: Schema, tree: Record, config: etree._Element, default_operation: str = "merge"
) -> tuple[Record, RpcErrors | None]:
    """The same, but each top-level element of its own: those that are good take effect, errors are gathered
    (error-option continue-on-error)."""
    if default_operation == "replace":
        return edit(schema, tree, config, default_operation), None
    errors: list[RpcError] = []
    for child in list(config):
        single = _Edit(schema, config, only=child)
        try:
            tree = single.root(tree, default_operation)
        except RpcError as error:
            errors.append(error)
    return tree, RpcErrors(errors) if errors else None


def parse_config(schema: Schema, config: etree._Element) -> Record:
    """A whole configuration from its XML."""
    return edit(schema, Record(), config, "replace")


@dataclass
class _RowsEdit:
    """Entries of one list under one parent: as they were, and as they become."""

    old: dict[Key, Value]
    new: dict[Key, Value] = field(default_factory=dict)


class _Edit:
    def __init__(self, schema: Schema, top: etree._Element, only: etree._Element | None = None) -> None:
        self._schema = schema
        self._top = top
        self._only = only

    def root(self, tree: Record, operation: str) -> Record:
        after: Record = shared(self._children(self._schema.root, tree, self._top, operation), tree)
        return after

    def _children(self, node: Node, old: Record | None, element: etree._Element, operation: str) -> Record:
        """The members of `node` after the edits under `element`; with `replace` it starts from nothing."""
        result = Record() if operation == "replace" else Record(old or ())
        existing = old if old is not None else Record()
        lists: dict[str, _RowsEdit] = {}
        for child_element in element:
            if not isinstance(child_element.tag, str):
                continue
            if self._only is not None and element is self._top and child_element is not self._only:
                continue
            child = self._schema_child(node, child_element)
            wanted = self._operation(child_element, operation)
            if wanted in ("merge", "replace", "create"):
                for other in child.excludes:
                    result.pop(other, None)
            if child.kind in (Kind.LIST, Kind.LEAF_LIST):
                rows = lists.get(child.iname)
                if rows is None:
                    rows = lists[child.iname] = _rows(child, existing, result)
                self._entry(child, rows, child_element, wanted)
            else:
                self._single(child, existing, result, child_element, wanted)
        for name, rows in lists.items():
            result.pop(name, None)
            if rows.new:
                result[name] = shared(Rows(rows.new.values()), existing.get(name))
        return result

    def _single(
        self, node: Node, existing: Record, result: Record, element: etree._Element, operation: str
    ) -> None:
        """A container, a leaf or anydata."""
        name = node.iname
        exists = name in existing
        if operation in ("delete", "remove"):
            self._require(operation == "remove" or exists, "data-missing", element)
            result.pop(name, None)
            return
        self._require(operation != "create" or not exists, "data-exists", element)
        if node.kind is not Kind.CONTAINER:
            if operation == "none":
                self._require(exists, "data-missing", element)
            else:
                value = self._leaf(node, element) if node.leafy else inner_xml(element)
                result[name] = shared(value, existing.get(name))
            return
        if operation == "none" and node.presence:
            self._require(exists, "data-missing", element)
        members = self._children(node, existing.get(name), element, operation)
        if members or node.presence:
            result[name] = shared(members, existing.get(name))
        else:
            result.pop(name, None)

    def _entry(self, node: Node, rows: _RowsEdit, element: etree._Element, operation: str) -> None:
        """One entry of a list or a leaf-list."""
        value: Value
        if node.kind is Kind.LIST:
            key, value = self._key(node, element), None
        else:
            value = self._leaf(node, element)
            key = (value,)
        old = rows.old.get(key)
        exists = key in rows.old
        if operation in ("delete", "remove"):
            self._require(operation == "remove" or exists, "data-missing", element)
            rows.new.pop(key, None)
            return
        self._require(operation != "create" or not exists, "data-exists", element)
        self._require(operation != "none" or exists, "data-missing", element)
        if node.kind is Kind.LIST:
            value = shared(self._children(node, old, element, operation), old)
        if node.user_ordered and element.get(f"{{{YANG_NS}}}insert") is not None:
            rows.new.pop(key, None)
            rows.new = self._inserted(node, rows.new, key, value, element)
        else:
            rows.new[key] = value

    def _inserted(
        self, node: Node, rows: dict[Key, Value], key: Key, value: Value, element: etree._Element
    ) -> dict[Key, Value]:
        """`rows` with the entry at the place that the `insert` attribute names (RFC 7950, 7.8.6)."""
        where = element.get(f"{{{YANG_NS}}}insert")
        if where == "last":
            return {**rows, key: value}
        if where == "first":
            return {key: value, **rows}
        if where not in ("before", "after"):
            raise self._bad_attribute(element, "insert")
        neighbour = self._neighbour(node, element)
        if neighbour not in rows:
            raise RpcError(
                "bad-attribute",
                "no such entry to insert next to",
                path=path_of_element(self._schema, element, self._top),
                app_tag="missing-instance",
                info=(("bad-attribute", "key" if node.kind is Kind.LIST else "value"),),
            )
        ordered: dict[Key, Value] = {}
        for other, entry in rows.items():
            if other == neighbour and where == "before":
                ordered[key] = value
            ordered[other] = entry
            if other == neighbour and where == "after":
                ordered[key] = value
        return ordered

    def _neighbour(self, node: Node, element: etree._Element) -> Key:
        if node.kind is Kind.LEAF_LIST:
            assert node.lexical is not None
            return (node.lexical.parse(element.get(f"{{{YANG_NS}}}value") or "", element.nsmap),)
        predicates = element.get(f"{{{YANG_NS}}}key") or ""
        key = []
        for name in node.keys:
            child = node.children[name]
            assert child.lexical is not None
            text = _predicate_value(predicates, child.name)
            if text is None:
                raise self._bad_attribute(element, "key")
            key.append(child.lexical.parse(text, element.nsmap))
        return tuple(key)

    def _key(self, node: Node, element: etree._Element) -> Key:
        key = []
        for name in node.keys:
            child = node.children[name]
            found = element.find(child.tag)
            if found is None:
                raise RpcError(
                    "missing-element",
                    f"list {node.name} needs its key {child.name}",
                    path=path_of_element(self._schema, element, self._top),
                    info=(("bad-element", child.name),),
                )
            key.append(self._leaf(child, found))
        return tuple(key)

    def _leaf(self, node: Node, element: etree._Element) -> Any:
        assert node.lexical is not None
        try:
            if len(element):
                raise ValueError(f"{node.name} has no elements inside")
            return node.lexical.parse(element.text or "", element.nsmap)
        except ValueError as error:
            raise RpcError(
                "invalid-value", str(error), path=path_of_element(self._schema, element, self._top)
            ) from None

    def _schema_child(self, node: Node, element: etree._Element) -> Node:
        child = node.by_tag.get(str(element.tag))
        if child is not None and child.config:
            return child
        name = etree.QName(element)
        info: tuple[tuple[str, str], ...] = (("bad-element", name.localname),)
        path = path_of_element(self._schema, element, self._top)
        if child is None and name.namespace not in self._schema.namespaces.module_of:
            info = (*info, ("bad-namespace", name.namespace or ""))
            raise RpcError("unknown-namespace", f"no module has this namespace: {name.namespace}",
                           path=path, info=info)  # fmt: skip
        reason = "is state, not configuration" if child is not None else "is not known here"
        raise RpcError("unknown-element", f"{name.localname} {reason}", path=path, info=info)

    def _operation(self, element: etree._Element, inherited: str) -> str:
        given = element.get(_OPERATION)
        if given is None:
            return inherited
        if given not in _OPERATIONS:
            raise self._bad_attribute(element, "operation")
        return given

    def _bad_attribute(self, element: etree._Element, name: str) -> RpcError:
        return RpcError(
            "bad-attribute",
            f"attribute {name} has a value that is not allowed",
            path=path_of_element(self._schema, element, self._top),
            info=(("bad-attribute", name), ("bad-element", etree.QName(element).localname)),
        )

    def _require(self, holds: bool, tag: str, element: etree._Element) -> None:
        if holds:
            return
        name = etree.QName(element).localname
        message = f"{name} exists already" if tag == "data-exists" else f"{name} does not exist"
        raise RpcError(tag, message, path=path_of_element(self._schema, element, self._top))


def _rows(node: Node, existing: Record, result: Record) -> _RowsEdit:
    entries = existing.get(node.iname, ())
    old = {(key_of(node, entry) if node.kind is Kind.LIST else (entry,)): entry for entry in entries}
    return _RowsEdit(old, dict(old) if node.iname in result else {})


def _predicate_value(predicates: str, name: str) -> str | None:
    """The value of `[p:name='value']` in key predicates, whatever the prefix."""
    for quote in "'\"":
        for lead in (f"[{name}={quote}", f":{name}={quote}"):
            _, found, rest = predicates.partition(lead)
            if found:
                return rest.partition(quote)[0]
    return None
