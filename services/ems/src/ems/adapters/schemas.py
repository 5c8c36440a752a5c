"""The schema of each device, compiled from the modules that it says it has.

Sources come from our own folders where the revision is the same, otherwise from the device itself, which is
asked once and kept on disk. Devices with the same modules share one schema. A module that nobody has, or
that cannot be compiled, is left out with whatever needs it: its data are then kept as they are printed.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from ems.domain.device import Module
from qmodel.errors import Invalid
from qmodel.yang import YangModule, module_dirs
from qyang.schema import Schema

_log = structlog.get_logger(__name__)

Fetch = Callable[[Sequence[Module]], Awaitable[list[str | None]]]
"""Asks the device for the sources of modules, None for each that it does not give."""

_KEPT = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")
_REVISION = re.compile(r"(\d{4}-\d{2}-\d{2})?")
_REVISION_STATEMENT = re.compile(r"^\s*revision\s+[\"']?(\d{4}-\d{2}-\d{2})", re.MULTILINE)
_MOST_BYTES = 4_000_000


class SchemaBook:
    """`folder` keeps what devices gave, one folder a device; without it they are asked again at a start."""

    def __init__(self, folder: Path | None) -> None:
        self._temporary = TemporaryDirectory(prefix="bellweave-") if folder is None else None
        self._folder = Path(self._temporary.name) if self._temporary is not None else folder or Path()
        self._schemas: OrderedDict[str, Schema] = OrderedDict()
        self._compiling = asyncio.Lock()

    async def schema_of(self, device: str, modules: Iterable[Module], fetch: Fetch) -> Schema:
        """The schema of `device`, which has `modules`. Raises what `fetch` raises."""
        known = sorted({m for m in modules if _NAME.fullmatch(m.name) and _REVISION.fullmatch(m.revision)})
        own = self._folder / re.sub(r"[^A-Za-z0-9_.-]", "_", device)
        await self._complete(own, known, fetch)
        key = await asyncio.to_thread(_key, known, own)
        async with self._compiling:
            if key not in self._schemas:
                self._schemas[key] = await asyncio.to_thread(_compiled, device, known, own)
                if len(self._schemas) > _KEPT:
                    self._schemas.popitem(last=False)
            self._schemas.move_to_end(key)
            return self._schemas[key]

    async def _complete(self, own: Path, modules: list[Module], fetch: Fetch) -> None:
        """Asks the device for what neither our folders nor its own have."""
        folders = (own, *module_dirs())
        missing = await asyncio.to_thread(lambda: [m for m in modules if _source(m, folders) is None])
        if not missing:
            return
        for module, text in zip(missing, await fetch(missing), strict=True):
            if text is not None and len(text) <= _MOST_BYTES:
                await asyncio.to_thread(_keep, own, module, text)


def _keep(own: Path, module: Module, text: str) -> None:
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    _file(own, module).write_text(text, encoding="utf-8")


def _file(folder: Path, module: Module) -> Path:
    return folder / (f"{module.name}@{module.revision}.yang" if module.revision else f"{module.name}.yang")


def _source(module: Module, folders: Sequence[Path]) -> Path | None:
    """The file that has just this revision of the module."""
    for folder in folders:
        exact, plain = _file(folder, module), folder / f"{module.name}.yang"
        if exact.is_file():
            return exact
        if plain.is_file() and _newest_revision(plain.read_text("utf-8")) == module.revision:
            return plain
    return None


def _newest_revision(text: str) -> str:
    """That of a module's source, whose revisions go back in time; empty if it has none."""
    found = _REVISION_STATEMENT.search(text)
    return "" if found is None else found[1]


def _key(modules: list[Module], own: Path) -> str:
    told = hashlib.sha256()
    for module in modules:
        told.update(repr((module.name, module.revision, module.features, module.implemented)).encode())
        file = _file(own, module)
        if file.is_file():
            told.update(file.read_bytes())
    return told.hexdigest()


def _compiled(device: str, modules: list[Module], own: Path) -> Schema:
    """The schema of all modules; failing that of those that our own folders have; failing that, of none."""
    folders = (own, *module_dirs())
    have = [module for module in modules if _source(module, folders) is not None]
    ours = [module for module in have if _source(module, module_dirs()) is not None]
    for chosen in (have, ours):
        try:
            return Schema([_listed(module, chosen) for module in chosen], folders)
        except Invalid as error:
            _log.warning("schema-not-compiled", device=device, modules=len(chosen), error=error.detail)
    return Schema([], folders)


def _listed(module: Module, among: list[Module]) -> YangModule:
    """A module that is only imported, by its own account, still defines identities that the device prints as
    values: it counts as implemented unless another revision of it does."""
    others = any(other.name == module.name and other != module for other in among)
    implemented = module.implemented or not others
    return YangModule(module.name, module.revision, module.namespace, module.features, implemented)
