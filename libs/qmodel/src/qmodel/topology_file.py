"""The topology file: YAML (or JSON, which is YAML) text into a valid `Topology`, or an error with its line.

The NMS imports such files and the emulator builds its world from them. Files come from people and are not
trusted: size, depth and length are capped, and anchors, tags and repeated keys are refused. This is the one
module of qmodel that opens a file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

from qmodel.errors import Invalid, NotFound, TooLarge
from qmodel.topology import Topology

MAX_BYTES = 20_000_000
MAX_ITEMS = 100_000
"""Of any one list or mapping: more links than this are refused before they are looked at."""
MAX_DEPTH = 16
_SHOWN_PROBLEMS = 20
_PLACE = re.compile(r"^([a-z_]+)\[(\d+)\]")


def load_topology(source: Path | str) -> Topology:
    """The topology in a file (a `Path`) or in a text (a `str`).

    Raises NotFound for a file that cannot be read, TooLarge beyond the caps, Invalid for anything wrong
    inside: `where` is the JSON pointer of the first problem, `facts["problems"]` lists up to 20 with `where`,
    `line` and `reason`.
    """
    return parse_topology(_read(source) if isinstance(source, Path) else source)


def parse_topology(text: str) -> Topology:
    """The topology in `text`; pure. Raises as `load_topology` does."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise TooLarge(f"a topology file has at most {MAX_BYTES // 1_000_000} MB")
    document = _Document(text)
    try:
        data = document.data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 1
        raise _invalid([("/", line, f"not YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError as error:
        raise _invalid([("/", 1, f"not YAML: {str(error)[:200]}")]) from None
    if not isinstance(data, dict):
        raise _invalid([("/", 1, "a topology is a mapping that begins with 'bellweave_topology: 1'")])
    try:
        return Topology.model_validate(data)
    except ValidationError as error:
        raise _invalid(_located(error, text)) from None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"cannot read the topology file: {error.strerror}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"a topology file has at most {MAX_BYTES // 1_000_000} MB", where=str(path))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"not UTF-8 at byte {error.start}", where=str(path)) from None


class _Document:
    """Plain data from YAML events. Composing it here, not in PyYAML, is what allows the caps to bite early
    and lines to be known; `lines` maps JSON pointers to lines if they are wanted."""

    def __init__(self, text: str, *, with_lines: bool = False) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events = iter(yaml.parse(text, Loader=loader))
        self._resolver = Resolver()
        self._constructor = SafeConstructor()
        self.lines: dict[str, int] | None = {} if with_lines else None

    def data(self) -> Any:
        event = self._next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        data = self._value(event, "", 0)
        self._next()
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise Invalid("a topology file holds one document", where="/")
        return data

    def _next(self) -> yaml.Event:
        return next(self._events)

    def _value(self, event: yaml.Event, pointer: str, depth: int) -> Any:
        line = _line_of(event)
        if self.lines is not None:
            self.lines[pointer or "/"] = line
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _invalid([(pointer or "/", line, "anchors and aliases are not allowed")])
        if getattr(event, "tag", None) is not None:
            raise _invalid([(pointer or "/", line, "tags are not allowed")])
        if depth > MAX_DEPTH:
            raise _invalid([(pointer, line, f"nested deeper than {MAX_DEPTH}")])
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, pointer, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(pointer, depth)
        return self._mapping(pointer, depth)

    def _scalar(self, event: yaml.ScalarEvent, pointer: str, line: int) -> Any:
        tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        try:
            return self._constructor.construct_object(yaml.ScalarNode(tag, event.value))
        except (ConstructorError, ValueError) as error:
            raise _invalid([(pointer or "/", line, f"cannot read {event.value[:40]!r}: {error}")]) from None
        finally:
            self._constructor.constructed_objects = {}

    def _sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            _cap(len(items), pointer)
            items.append(self._value(event, f"{pointer}/{len(items)}", depth + 1))
        return items

    def _mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            _cap(len(items), pointer)
            line = _line_of(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _invalid([(pointer or "/", line, "a key must be plain text")])
            key = event.value
            here = f"{pointer}/{_escaped(key)}"
            if key in items:
                raise _invalid([(here, line, f"key {key[:60]!r} occurs twice")])
            items[key] = self._value(self._next(), here, depth + 1)
        return items


def _line_of(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _cap(count: int, pointer: str) -> None:
    if count >= MAX_ITEMS:
        raise TooLarge(f"more than {MAX_ITEMS} entries", where=pointer or "/")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _located(error: ValidationError, text: str) -> list[tuple[str, int, str]]:
    """(pointer, line, reason) of each problem; the text is read again for its lines only now."""
    document = _Document(text, with_lines=True)
    document.data()
    problems: list[tuple[str, int, str]] = []
    for item in error.errors(include_url=False, include_context=False)[:_SHOWN_PROBLEMS]:
        pointer = "".join(f"/{_escaped(str(part))}" for part in item["loc"])
        reason = str(item["msg"]).removeprefix("Value error, ")
        for one in reason.split("; ") if not pointer else (reason,):
            place = _PLACE.match(one)
            at = f"/{place.group(1)}/{place.group(2)}" if place else pointer or "/"
            problems.append((at, _line(document.lines or {}, at), one))
    return problems[:_SHOWN_PROBLEMS]


def _line(lines: dict[str, int], pointer: str) -> int:
    """The line of `pointer`, or of the nearest enclosing entry where it is absent."""
    while pointer not in lines and pointer not in {"", "/"}:
        pointer = pointer.rsplit("/", 1)[0]
    return lines.get(pointer or "/", 1)


def _invalid(problems: list[tuple[str, int, str]]) -> Invalid:
    detail = "; ".join(f"line {line}, {where}: {reason}" for where, line, reason in problems)
    return Invalid(
        detail,
        where=problems[0][0],
        problems=[{"where": where, "line": line, "reason": reason} for where, line, reason in problems],
    )
