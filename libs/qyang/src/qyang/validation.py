"""Validation by yangson, of what has changed only.

A configuration that follows a valid one is checked where it differs: list entries that are the same objects
as before are skipped, unless one of their constraints looks at a part of the tree that has changed. Which
parts a list's constraints look at is read from their XPath once. A test holds this to yangson's verdict on
the whole tree.
"""

from __future__ import annotations

from typing import Any

from yangson.datatype import InstanceIdentifierType, LeafrefType, UnionType
from yangson.enumerations import Axis, ContentType, ValidationScope
from yangson.exceptions import SchemaError, ValidationError, YangTypeError
from yangson.instance import RootNode
from yangson.xpathast import Expr, FuncCurrent, FuncDeref, LocationPath, PathExpr, Root, Step

from qyang.errors import RpcError
from qyang.paths import path_of
from qyang.schema import Kind, Node, Schema
from qyang.tree import Record, Rows, Value

_CONFIG = ContentType.config
_ALL = ValidationScope.all
EVERYTHING = "*"
"""A constraint that may look anywhere."""

_APP_TAGS = {
    "must-violation": ("operation-failed", "must-violation"),
    "data-not-unique": ("operation-failed", "data-not-unique"),
    "too-many-elements": ("operation-failed", "too-many-elements"),
    "too-few-elements": ("operation-failed", "too-few-elements"),
    "instance-required": ("data-missing", "instance-required"),
    "missing-data": ("data-missing", None),
    "list-key-missing": ("missing-element", None),
}


class Validator:
    """Checks configurations of one schema. Holds no data, only what it learned about the constraints."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._looks_at: dict[int, frozenset[str]] = {}

    def validate(self, tree: Record, valid: Record | None = None) -> None:
        """Raises RpcError at the first violation in `tree`. `valid` is a configuration known to be valid."""
        if tree is valid:
            return
        model = self._schema.model
        root = RootNode(tree, model.schema, model.schema_data, tree.timestamp)
        moved = _moved(tree, valid)
        try:
            model.schema._check_schema_pattern(root, _CONFIG)
            for name in tree:
                node = self._schema.root.children[name]
                self._member(node, root._member(name), valid.get(name) if valid is not None else None, moved)
        except ValidationError as error:
            raise self._rpc_error(error) from None

    def _member(self, node: Node, instance: Any, before: Value, moved: frozenset[str] | None) -> None:
        """One member of the root or of a top-level container."""
        if instance.value is before and not self._concerned(node, moved):
            return
        if node.kind is Kind.LIST:
            self._list(node, instance, before, moved)
        elif node.kind is Kind.CONTAINER and node.parent is self._schema.root:
            node.yang._check_schema_pattern(instance, _CONFIG)
            node.yang._check_must(instance)
            for name in instance.value:
                known = before.get(name) if before is not None else None
                self._member(node.children[name], instance._member(name), known, moved)
        else:
            instance.validate(_ALL, _CONFIG)

    def _list(self, node: Node, instance: Any, before: Rows | None, moved: frozenset[str] | None) -> None:
        if instance.value is not before:
            node.yang._check_list_props(instance)
            node.yang._check_cardinality(instance)
        same = set() if before is None or self._concerned(node, moved) else {id(entry) for entry in before}
        for index, entry in enumerate(instance.value):
            if id(entry) not in same:
                node.yang._validate(instance._entry(index), _ALL, _CONFIG)

    def _concerned(self, node: Node, moved: frozenset[str] | None) -> bool:
        """Whether constraints under `node` look at a part of the tree that has changed."""
        if moved is None:
            return True
        looks_at = self._looks_at.get(id(node))
        if looks_at is None:
            looks_at = self._looks_at[id(node)] = outside_references(node)
        return bool(moved) and (EVERYTHING in looks_at or bool(moved & looks_at))

    def _rpc_error(self, error: ValidationError) -> RpcError:
        reason = (error.tag or "").partition(":")[0]
        tag, app_tag = _APP_TAGS.get(reason, ("operation-failed", reason or None))
        if isinstance(error, YangTypeError):
            tag, app_tag = "invalid-value", None
        elif isinstance(error, SchemaError) and "not-allowed" in reason:
            tag, app_tag = "unknown-element", None
        message = error.message or reason
        if app_tag == "instance-required":
            message = f"refers to {error.instance.value!r}, which does not exist"
        return RpcError(tag, message, path=path_of(self._schema, _steps(error.instance)), app_tag=app_tag)


def _moved(tree: Record, valid: Record | None) -> frozenset[str] | None:
    """Top-level names whose subtrees are other objects than in `valid`; None if nothing is known valid."""
    if valid is None:
        return None
    return frozenset(name for name in {*tree, *valid} if tree.get(name) is not valid.get(name))


def _steps(instance: Any) -> list[str]:
    """The steps of a yangson instance's path, with a list entry's keys as predicates."""
    steps: list[str] = []
    text = str(instance.instance_route())
    module = ""
    for raw in _split(text):
        prefix, colon, _ = raw.partition(":")
        if colon and "[" not in prefix:
            module = prefix
        else:
            raw = f"{module}:{raw}"
        steps.append(raw.replace("[", f"[{module}:"))
    return steps


def _split(route: str) -> list[str]:
    """Steps of an instance route; slashes inside of quotes do not count."""
    steps, quote = [""], ""
    for char in route:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "/":
            steps.append("")
            continue
        steps[-1] += char
    return [step for step in steps if step]


def outside_references(unit: Node) -> frozenset[str]:
    """Top-level names that constraints under `unit` (a member of the root or of a top-level container) look
    at beyond the single entry; EVERYTHING where that cannot be told from their XPath."""
    top = unit
    while top.parent is not None and top.parent.kind is not Kind.ROOT:
        top = top.parent
    found: set[str] = set()
    _gather(unit, 0, top.iname, found)
    return frozenset(found)


def _gather(node: Node, depth: int, top: str, found: set[str]) -> None:
    yang: Any = node.yang
    expressions: list[tuple[Any, int]] = [(must.expression, depth) for must in yang.must]
    if yang.when is not None:
        expressions.append((yang.when, depth))
    around = yang.parent
    while around is not None and node.parent is not None and around is not node.parent.yang:
        if around.when is not None:  # of a choice, a case, a uses or an augment: asked at the data parent
            expressions.append((around.when, depth - 1))
        around = around.parent
    if node.leafy:
        expressions.extend((path, depth) for path in _reference_paths(yang.type, found))
    for expression, level in expressions:
        _References(level, top, found).walk(expression)
    for child in node.children.values():
        _gather(child, depth + 1, top, found)


def _reference_paths(yang_type: Any, found: set[str]) -> list[Any]:
    """Paths of leafrefs that need an instance; an instance-identifier may point anywhere."""
    if isinstance(yang_type, LeafrefType):
        return [yang_type.path] if yang_type.require_instance else []
    if isinstance(yang_type, InstanceIdentifierType) and yang_type.require_instance:
        found.add(EVERYTHING)
    if isinstance(yang_type, UnionType):
        return [path for member in yang_type.types for path in _reference_paths(member, found)]
    return []


class _References:
    """Walks an XPath and notes what it looks at outside of the entry. A place is a level below the entry
    (0 is the entry itself), or -1 for anywhere outside of it."""

    def __init__(self, depth: int, top: str, found: set[str]) -> None:
        self._depth = depth
        self._top = top
        self._found = found
        if depth < 0:
            found.add(top)

    def walk(self, expression: Any) -> None:
        self._walk(expression, self._depth)

    def _walk(self, expression: Any, level: int) -> int:
        """Notes references of `expression` evaluated at `level`; the level at which its result lies."""
        if isinstance(expression, LocationPath | PathExpr):
            left = expression.left
            if isinstance(left, Root):
                return self._absolute(expression.right, level)
            return self._walk(expression.right, self._walk(left, level))
        if isinstance(expression, Root):
            self._found.add(EVERYTHING)
            return -1
        if isinstance(expression, Step):
            return self._step(expression, level)
        if isinstance(expression, FuncCurrent):
            return self._depth
        if isinstance(expression, FuncDeref):
            self._found.add(EVERYTHING)
        for part in _parts(expression):
            level_of_part = self._walk(part, level)
            if isinstance(getattr(expression, "primary", None), Expr) and part is expression.primary:
                level = level_of_part
        return level

    def _absolute(self, first: Any, level: int) -> int:
        """A path from the root: its first step names the top-level node."""
        if not isinstance(first, Step) or first.axis is not Axis.child or not first.qname:
            self._found.add(EVERYTHING)
            return -1
        name, module = first.qname
        self._found.add(f"{module}:{name}" if module else EVERYTHING)
        for predicate in first.predicates:
            self._walk(predicate, -1)
        return -1

    def _step(self, step: Any, level: int) -> int:
        if step.axis is Axis.child:
            after = level + 1 if level >= 0 else -1
        elif step.axis is Axis.self:
            after = level
        elif step.axis is Axis.parent and level > 0:
            after = level - 1
        elif step.axis is Axis.parent and level == 0:
            self._found.add(self._top)
            after = -1
        else:
            self._found.add(EVERYTHING)
            after = -1
        if level == -1 and step.axis is Axis.parent:
            self._found.add(EVERYTHING)
        for predicate in step.predicates:
            self._walk(predicate, after)
        return after


def _parts(expression: Any) -> list[Any]:
    """Sub-expressions of any other kind of expression."""
    parts: list[Any] = []
    for value in vars(expression).values():
        if isinstance(value, Expr):
            parts.append(value)
        elif isinstance(value, list):
            parts.extend(item for item in value if isinstance(item, Expr))
    return parts
