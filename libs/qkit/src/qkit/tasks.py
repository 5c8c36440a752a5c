"""Ending tasks for good, where a library may swallow a cancellation.

`asyncio.wait_for` on Python 3.11 does so when what it waits for ends at the same moment; nats-py and psycopg
use it. A `TaskGroup` cancels its tasks once, and then waits for ever for one that has missed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

_AGAIN_S = 1.0


async def end(tasks: Iterable[asyncio.Future[None]]) -> None:
    """Cancel until they have ended."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_S)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails or this is cancelled; none is left running afterwards. Raises what failed."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        ending = asyncio.ensure_future(end(tasks))
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                continue  # we are ending already, and whoever is impatient must not leave any behind
