"""What may vanish: read caches and rate limits in Redis. Fails open: without Redis everything still works.

Never a lock of record, never the only copy of anything.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

_LIMIT_S = 0.25
_REST_S = 2.0


class Cache:
    """`url` None: there is no Redis, nothing is cached and nothing limited."""

    def __init__(self, url: str | None, prefix: str) -> None:
        self._redis: Any = (
            None
            if url is None
            else Redis.from_url(url, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S)
        )
        self._prefix = prefix
        self._resting_until = 0.0
        self._log = structlog.get_logger("qkit.cache")

    async def get(self, key: str) -> bytes | None:
        found = await self._try("get", self._name(key))
        return found if isinstance(found, bytes) else None

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        await self._try("set", self._name(key), value, px=max(1, int(ttl_s * 1000)))

    async def forget(self, key: str) -> None:
        await self._try("delete", self._name(key))

    async def allow(self, key: str, limit: int, window_s: float) -> float:
        """Count one use of `key`, at most `limit` in each window; 0 to go on, else seconds to wait."""
        now_s = time.time()
        window = int(now_s // window_s)
        name = self._name(f"rate/{key}/{window}")
        used = await self._try("incr", name)
        if used == 1:
            await self._try("expire", name, int(window_s) + 1)
        if not isinstance(used, int) or used <= limit:
            return 0.0
        return (window + 1) * window_s - now_s

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    async def _try(self, command: str, *args: Any, **options: Any) -> Any:
        """After a failure Redis is left alone for two seconds: its absence must not slow every call."""
        if self._redis is None or time.monotonic() < self._resting_until:
            return None
        try:
            return await getattr(self._redis, command)(*args, **options)
        except (RedisError, OSError, TimeoutError) as error:
            self._resting_until = time.monotonic() + _REST_S
            self._log.warning("cache-unavailable", error=type(error).__name__)
            return None
