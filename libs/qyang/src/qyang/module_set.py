"""A module set out of files: what a server of some modules implements, and what they import.

Called by whoever serves or mirrors modules that nobody has listed. It reads statements only; whether the
modules make sense together is for the compiler to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from yangson.exceptions import YangsonException
from yangson.statement import ModuleParser

from qmodel.errors import Invalid
from qmodel.yang import YangModule

_NEEDS_MODULE = frozenset(("augment", "base", "deviation", "must", "path", "when"))
"""Statements whose argument names nodes or identities of a module that must be there, not only its types."""
_PREFIX = re.compile(r"([A-Za-z_][\w.-]*):(?=[A-Za-z_])")


def module_set(
    names: Iterable[str],
    folders: Sequence[Path],
    features: Iterable[str] | None = None,
    base: Sequence[YangModule] = (),
) -> tuple[YangModule, ...]:
    """Modules `names` implemented, after those of `base`, with all that any of them imports.

    `features` are `module:feature`; None means every feature that there is. An imported module is implemented
    too where an implemented one names its nodes or identities (RFC 7950, 5.6.5). The first of `folders` that
    has a module gives it. Raises Invalid if a module is not found or cannot be read."""
    reading = _Reading(folders, None if features is None else frozenset(features))
    for module in base:
        reading.listed[module.name, module.revision] = module
    for name in names:
        reading.add(name, None, implemented=True)
    for module in base:
        reading.add_imports(reading.statement(module.name, module.revision), module.implemented)
    unknown = sorted((reading.features or frozenset()) - reading.features_seen)
    if unknown:
        raise Invalid(f"no module that is served has feature {', '.join(unknown)}")
    return tuple(reading.listed.values())


class _Reading:
    def __init__(self, folders: Sequence[Path], features: frozenset[str] | None) -> None:
        self.listed: dict[tuple[str, str], YangModule] = {}
        self.features = features
        self.features_seen: set[str] = set()
        self._folders = folders
        self._statements: dict[tuple[str, str | None], Any] = {}

    def add(self, name: str, revision: str | None, *, implemented: bool) -> None:
        statement = self.statement(name, revision)
        found = _revision(statement)
        known = self.listed.get((name, found))
        if known is not None and (known.implemented or not implemented):
            return
        parts = [statement, *(self.statement(*each) for each in self._submodules(statement))]
        offered = [each.argument for part in parts for each in part.find_all("feature")]
        self.features_seen.update(f"{name}:{feature}" for feature in offered)
        on = [each for each in offered if self.features is None or f"{name}:{each}" in self.features]
        namespace = statement.find1("namespace")
        if namespace is None:
            raise Invalid(f"{name!r} is a submodule; name the module that includes it")
        self.listed[name, found] = YangModule(
            name, found, namespace.argument, tuple(on), implemented, self._submodules(statement)
        )
        for part in parts:
            self.add_imports(part, implemented)

    def add_imports(self, statement: Any, implemented: bool) -> None:
        needed = _prefixes_needed(statement) if implemented else set()
        for each in statement.find_all("import"):
            revision = each.find1("revision-date")
            wanted = None if revision is None else revision.argument
            if wanted is None and any(name == each.argument for name, _ in self.listed):
                wanted = max(known for name, known in self.listed if name == each.argument)
            prefix = each.find1("prefix").argument
            imported = self.statement(each.argument, wanted)
            leafs = implemented and _uses_references(statement, prefix, imported)
            self.add(each.argument, wanted, implemented=prefix in needed or leafs)

    def statement(self, name: str, revision: str | None) -> Any:
        """The whole module or submodule, parsed once."""
        key = (name, revision)
        if key not in self._statements:
            self._statements[key] = self._read(name, revision)
        return self._statements[key]

    def _read(self, name: str, revision: str | None) -> Any:
        for folder in self._folders:
            dated = sorted(folder.glob(f"{name}@*.yang"), reverse=True)
            for path in (folder / f"{name}.yang", *dated):
                if path.is_file():
                    statement = _parsed(path, name)
                    if revision in (None, _revision(statement)):
                        return statement
        wanted = f"{name}@{revision}" if revision else name
        raise Invalid(f"no YANG module {wanted!r} in {', '.join(map(str, self._folders))}")

    def _submodules(self, statement: Any) -> tuple[tuple[str, str], ...]:
        """Names and revisions of all that a module includes, directly or not."""
        found: dict[str, str] = {}
        waiting = [statement]
        while waiting:
            for each in waiting.pop().find_all("include"):
                if each.argument not in found:
                    dated = each.find1("revision-date")
                    part = self.statement(each.argument, dated.argument if dated else None)
                    found[each.argument] = _revision(part)
                    waiting.append(part)
        return tuple(found.items())


def _parsed(path: Path, name: str) -> Any:
    try:
        parser = ModuleParser(path.read_text(encoding="utf-8"))
        parser.opt_separator()
        statement = parser.statement()
    except (OSError, UnicodeDecodeError, YangsonException) as error:
        raise Invalid(f"{path}: {error or type(error).__name__}") from None
    if statement.keyword not in ("module", "submodule") or statement.argument != name:
        raise Invalid(f"{path} does not hold YANG module {name!r}")
    return statement


def _revision(statement: Any) -> str:
    revision = statement.find1("revision")
    return "" if revision is None else str(revision.argument)


def _prefixes_needed(statement: Any) -> set[str]:
    """Prefixes of the modules whose nodes or identities `statement` names."""
    found = set()
    for each in _all_below(statement):
        if each.keyword in _NEEDS_MODULE:
            found.update(_PREFIX.findall(each.argument or ""))
    return found


def _uses_references(statement: Any, prefix: str, imported: Any) -> bool:
    """Whether a leaf of `statement` has a type of `imported` that refers to nodes there."""
    types = {each.argument for each in _all_below(statement) if each.keyword == "type"}
    return any(
        f"{prefix}:{typedef.argument}" in types
        and any(each.keyword == "path" for each in _all_below(typedef))
        for typedef in imported.find_all("typedef")
    )


def _all_below(statement: Any) -> Iterator[Any]:
    for each in statement.substatements or ():
        yield each
        yield from _all_below(each)
