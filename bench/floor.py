"""Floors: the same work done bare, without any of our code between the program and the server.

RPCs go over plain asyncssh channels, bus hops are plain NATS requests, durable writes are plain inserts; each
is a fixed list, run in the same run as what it is compared with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import asyncssh
import nats
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg

from bellweave_local.state import ElementStatus

LIMIT_S = 30.0
_HELLO = (
    b'<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities>'
    b"<capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>"
)
_END = b"\n##\n"
_RPC = b'<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="%d">%b</rpc>'


@dataclass
class BareSession:
    """One NETCONF session on a plain SSH channel: writes octets, counts ends of chunks, parses nothing."""

    connection: asyncssh.SSHClientConnection
    writer: asyncssh.SSHWriter[bytes]
    reader: asyncssh.SSHReader[bytes]
    sent: int = 0

    @classmethod
    async def open(cls, element: ElementStatus) -> BareSession:
        async with asyncio.timeout(LIMIT_S):
            return await cls._open(element)

    @classmethod
    async def _open(cls, element: ElementStatus) -> BareSession:
        connection = await asyncssh.connect(
            element.host,
            element.port,
            username=element.user,
            client_keys=[element.private_key],
            known_hosts=([asyncssh.import_public_key(element.host_key)], [], []),
            encryption_algs="^aes128-gcm@openssh.com",
        )
        writer, reader, _ = await connection.open_session(subsystem="netconf", encoding=None)
        writer.write(_HELLO)
        await reader.readuntil(b"]]>]]>")
        return cls(connection, writer, reader)

    async def flight(self, operations: Sequence[bytes]) -> None:
        """All operations in one write; waits for as many answers. Raises RuntimeError on an rpc-error."""
        message = bytearray()
        for operation in operations:
            self.sent += 1
            rpc = _RPC % (self.sent, operation)
            message += b"\n#%d\n%b%b" % (len(rpc), rpc, _END)
        self.writer.write(bytes(message))
        async with asyncio.timeout(LIMIT_S):
            for _ in operations:
                answer = await self.reader.readuntil(_END)
                if b"<rpc-error" in answer:
                    raise RuntimeError(answer.decode())

    async def close(self) -> None:
        self.connection.close()
        await self.connection.wait_closed()


async def bus_hop_s(url: str, user: str, password: str, rounds: int = 300) -> float:
    """Median time of one bare request and reply between two connections, in seconds."""
    caller = await nats.connect(url, user=user, password=password)
    callee = await nats.connect(url, user=user, password=password)
    try:
        await echo(callee, "bench.hop")
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            await caller.request("bench.hop", b"x" * 500, timeout=5)
            times.append(time.perf_counter() - begun)
        return median(times)
    finally:
        await caller.close()
        await callee.close()


async def echo(callee: Client, subject: str) -> None:
    """Answer every request on `subject` with its own octets."""

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await callee.subscribe(subject, cb=answer)
    await callee.flush()


async def durable_write_s(url: str, rounds: int = 100) -> float:
    """Median time of one bare insert of a kilobyte with its commit, in seconds."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute("CREATE TABLE bench_write (id bigint GENERATED ALWAYS AS IDENTITY, body text)")
        try:
            times = []
            for _ in range(rounds):
                begun = time.perf_counter()
                await conn.execute("INSERT INTO bench_write (body) VALUES (%s)", ("x" * 1000,))
                times.append(time.perf_counter() - begun)
            return median(times)
        finally:
            await conn.execute("DROP TABLE bench_write")
