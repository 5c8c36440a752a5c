"""Redis holds what may vanish: with it things are faster and limited, without it everything goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from qkit.cache import Cache


@pytest.fixture
async def cache(redis_server: Any) -> AsyncIterator[Cache]:
    made = Cache(redis_server.url, "sms.main")
    yield made
    await made.close()


async def test_a_value_is_kept_until_it_is_forgotten(cache: Cache) -> None:
    assert await cache.get("a") is None
    await cache.put("a", b"\x00one", ttl_s=60)
    assert await cache.get("a") == b"\x00one"
    await cache.forget("a")
    assert await cache.get("a") is None


async def test_every_value_has_an_end_and_its_owners_name(cache: Cache, redis_server: Any) -> None:
    await cache.put("a", b"one", ttl_s=60)
    await cache.put("tiny", b"one", ttl_s=0.0001)
    await cache.allow("login", 5, 60)
    redis = Redis.from_url(redis_server.url)
    names = [name async for name in redis.scan_iter()]
    assert len(names) >= 2
    assert all(str(name, "utf-8").startswith("sms.main/") for name in names)
    assert all([await redis.pttl(name) != -1 for name in names]), "nothing stays for ever"
    await redis.aclose()


async def test_a_rate_is_limited_for_each_key(cache: Cache) -> None:
    window_s = 100_000.0
    waits = [await cache.allow("alice", 3, window_s) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(0 < wait <= window_s for wait in waits[3:])
    assert await cache.allow("bob", 3, window_s) == 0


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1"], ids=["none", "away"])
async def test_without_redis_everything_goes_on(url: str | None) -> None:
    cache = Cache(url, "sms.main")
    await cache.put("a", b"one", ttl_s=60)
    assert await cache.get("a") is None
    assert [await cache.allow("alice", 1, 60) for _ in range(3)] == [0, 0, 0]
    await cache.close()


async def test_a_redis_that_goes_away_is_no_error(cache: Cache, redis_server: Any) -> None:
    await cache.put("a", b"one", ttl_s=60)
    redis_server.kill()
    assert await cache.get("a") is None
    assert await cache.allow("alice", 1, 60) == 0
