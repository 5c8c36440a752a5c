"""Files that survive kill -9: written whole beside the old one, synced, renamed, and the folder synced.

The only place of the emulator that writes state to disk.
"""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import Executor
from pathlib import Path
from typing import Any


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces the file at `path` by `data`. After return it is on disk; before, the old one is whole."""
    beside = path.with_name(f".{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> dict[str, Any] | None:
    """The document at `path`, or None if there is none. Raises ValueError if it is damaged."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(document, dict):
        raise ValueError(f"{path} does not hold an object")
    return document


class JsonFile:
    """One JSON document that is replaced durably, off the event loop."""

    def __init__(self, path: Path, executor: Executor) -> None:
        self.path = path
        self._executor = executor
        self._writing = asyncio.Lock()

    def read(self) -> dict[str, Any] | None:
        return read_json(self.path)

    async def write(self, document: dict[str, Any]) -> None:
        """Returns when the document is on disk. Writes take turns, and one that has begun also ends: a
        caller that is cancelled meanwhile is told so afterwards."""
        data = json.dumps(document, separators=(",", ":")).encode()
        loop = asyncio.get_running_loop()
        async with self._writing:
            writing = loop.run_in_executor(self._executor, write_durably, self.path, data)
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                raise
