"""The door as a socket sees it: heads without end, half requests, and a connection used again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from qkit.http import Health, make_app, serve
from qkit.settings import ServiceSettings

ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    settings = ServiceSettings.model_construct(
        http_host="127.0.0.1", http_port=number, max_body_bytes=1000, request_timeout_s=5
    )
    app = make_app(settings, title="x", verifier=None, routers=[], health=Health())  # type: ignore[arg-type]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, settings, stop))
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", number)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
    yield number
    stop.set()
    await serving


async def say(port: int, *parts: bytes) -> bytes:
    """Send `parts` and read until the server closes; what it answered."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


async def pour(port: int, begun: bytes, part: bytes, limit_bytes: int) -> tuple[int, bytes]:
    """Send `part` again and again until the server closes; bytes sent, and its answer if it still came."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent, answer = 0, b""
        try:
            writer.write(begun)
            while sent < limit_bytes and not reader.at_eof():
                writer.write(part)
                await writer.drain()
                sent += len(part)
            answer = await reader.read() if reader.at_eof() else b""
        except ConnectionError:
            pass
        writer.close()
        return sent, answer


TRAILERS = b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"


@pytest.mark.parametrize(
    ("begun", "part"),
    [
        (ALIVE, b"X-More: " + b"a" * 50_000 + b"\r\n"),
        (ALIVE + b"X-Long: ", b"a" * 50_000),
        (b"GET /", b"a" * 50_000),
        (TRAILERS, b"X-More: " + b"a" * 50_000 + b"\r\n"),
    ],
    ids=["many headers", "one long header", "a long path", "trailers"],
)
async def test_a_head_without_end_is_cut_off(port: int, begun: bytes, part: bytes) -> None:
    sent, answer = await pour(port, begun, part, limit_bytes=20_000_000)
    assert sent < 20_000_000, "the server stopped us"
    assert b"200 OK" not in answer


async def test_a_connection_is_used_again_after_headers_and_bodies_of_any_legal_size(port: int) -> None:
    one = ALIVE + b"X-Some: " + b"a" * 20_000 + b"\r\n\r\n"
    posted = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"b" * 900
    last = ALIVE + b"Connection: close\r\n\r\n"
    answer = await say(port, *[one] * 8, posted, last)
    assert answer.count(b"HTTP/1.1 200 OK") == 9
    assert answer.count(b"HTTP/1.1 405") == 1


async def test_what_is_not_http_is_400(port: int) -> None:
    assert (await say(port, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
