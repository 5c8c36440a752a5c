"""Wakes the relay and the reconcile loops when a transaction that concerns them commits.

One connection per process listens on PostgreSQL's NOTIFY channels. A wake-up is a hint: whoever waits also
polls slowly, so a lost notification costs time and nothing else. It never carries data.
"""

from __future__ import annotations

import asyncio

import psycopg
import structlog

OUTBOX_CHANNEL = "kit_outbox"
WORK_CHANNEL = "kit_work"
_RECONNECT_S = 1.0


class Wakeups:
    """Hands out one event per (channel, payload) and sets it on notification, or on reconnection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._events: dict[tuple[str, str], asyncio.Event] = {}
        self._log = structlog.get_logger("qkit.wakeups")

    def event(self, channel: str, payload: str = "") -> asyncio.Event:
        """The event of `payload` on `channel`; whoever waits clears it."""
        return self._events.setdefault((channel, payload), asyncio.Event())

    async def run(self) -> None:
        """Listen until cancelled, reconnecting for ever."""
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                self._log.warning("listening-interrupted", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self) -> None:
        conn = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=5, application_name="qkit-wakeups"
        )
        async with conn:
            await conn.execute(f"LISTEN {OUTBOX_CHANNEL}")
            await conn.execute(f"LISTEN {WORK_CHANNEL}")
            for event in self._events.values():  # what was notified before we listened
                event.set()
            async for notice in conn.notifies():
                waited_for = self._events.get((notice.channel, notice.payload))
                if waited_for is not None:
                    waited_for.set()


async def wait_for(event: asyncio.Event, limit_s: float) -> None:
    """Wait for `event` at most `limit_s` seconds, then clear it."""
    try:
        async with asyncio.timeout(max(limit_s, 0.0)):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
