"""Server-sent events of an NMS: what it tells the bus, for people who watch.

The outbox is the source, so a watcher that comes back with Last-Event-ID has missed nothing that is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from nms.ports import Reads
from qmodel.errors import BellweaveError

POLL_S = 0.5
QUIET_S = 15.0


async def frames(
    reads: Reads, gone: Callable[[], Awaitable[bool]], after: int, *, poll_s: float = POLL_S
) -> AsyncIterator[str]:
    """Frames of the events after sequence `after`, until the watcher is `gone` or the database is.

    A comment every 15 seconds of silence lets either side notice a broken line."""
    quiet_s = 0.0
    yield ": watching\n\n"
    while not await gone():
        try:
            rows = await reads.told_after(after)
        except BellweaveError:
            return  # the watcher comes back with Last-Event-ID
        for row in rows:
            after = row["sequence"]
            yield f"id: {after}\nevent: {row['topic']}\ndata: {json.dumps(row['data'])}\n\n"
        quiet_s = 0.0 if rows else quiet_s + poll_s
        if quiet_s >= QUIET_S:
            quiet_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(poll_s)
