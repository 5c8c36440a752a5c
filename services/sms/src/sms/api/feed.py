"""Wakes event streams of this process when something was told, and counts them.

A hint only: a stream reads the journal, and looks now and then by itself since others write to it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from qmodel.errors import RateLimited


class Feed:
    """`max_streams` may be open at once."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._open = 0
        self._next = asyncio.Event()

    def changed(self) -> None:
        """Something new is in the journal."""
        self._next.set()
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Set with the next change; take it before reading, so that none is missed between."""
        return self._next

    def admit(self) -> None:
        """Raises RateLimited when no more streams may be opened."""
        if self._open >= self._max_streams:
            raise RateLimited("too many event streams are open", retry_after_s=5.0)

    @contextmanager
    def counted(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def wait(event: asyncio.Event, limit_s: float) -> None:
    """Until `event` is set, at most `limit_s` seconds."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
