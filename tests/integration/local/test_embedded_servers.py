"""The embedded servers start, answer, keep their data, and never outlive the process that started them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import nats
import nats.errors
import psutil
import psycopg
import pytest
import redis
from nats.aio.client import Client

from bellweave_local.process import StartFailed
from bellweave_local.servers import NatsServer, NatsUser, PostgresServer, RedisServer, temporary

ORPHAN = """
import os, signal
from contextlib import ExitStack
from bellweave_local.servers import NatsServer, PostgresServer, RedisServer, temporary
with ExitStack() as stack:
    for kind in (RedisServer, NatsServer, PostgresServer):
        server = stack.enter_context(temporary(kind))
        print(server.home, server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_postgres_keeps_committed_rows_over_a_crash() -> None:
    with temporary(PostgresServer) as server:
        url = server.url()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (1)")
        server.kill()
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_postgres_is_utf8_and_wants_the_password(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url()) as connection:
        found = connection.execute("SHOW server_encoding").fetchone()
    assert found == ("UTF8",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.url(password="wrong"))


def test_postgres_listens_on_no_network(postgres_server: PostgresServer) -> None:
    assert not [c for c in psutil.Process(postgres_server.pid).net_connections("inet")]


def test_postgres_works_below_a_very_long_path() -> None:
    with temporary(RedisServer) as somewhere:
        home = somewhere.home / ("long" * 30)
        with PostgresServer(home, durable=False) as server, psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_postgres_of_another_version_is_refused_by_name() -> None:
    with temporary(PostgresServer, durable=False) as server:
        server.stop()
        (server.home / "data" / "PG_VERSION").write_text("12\n")
        with pytest.raises(StartFailed, match="made by PostgreSQL 12"):
            server.start()


async def test_nats_user_may_do_only_what_is_allowed() -> None:
    user = NatsUser("alice", "secret", publish=("own.>",), subscribe=("own.>",))
    with temporary(NatsServer, users=[user]) as server:
        refusals: asyncio.Queue[Exception] = asyncio.Queue()
        client = await nats.connect(server.url, user="alice", password="secret", error_cb=refusals.put)
        own = await client.subscribe("own.box")
        await client.publish("own.box", b"hello")
        assert (await own.next_msg(timeout=5)).data == b"hello"
        await client.publish("foreign.box", b"hello")
        refusal = await asyncio.wait_for(refusals.get(), 5)
        await client.close()
    assert "foreign.box" in str(refusal)


async def test_nats_refuses_a_wrong_password(nats_server: NatsServer) -> None:
    client = Client()
    with pytest.raises(nats.errors.Error, match="Authorization"):
        await client.connect(nats_server.url, user="tests", password="wrong", allow_reconnect=False)
    await client.close()


async def test_jetstream_keeps_messages_and_address_over_a_crash() -> None:
    users = [NatsUser("tests", "tests", publish=(">",), subscribe=(">",))]
    with temporary(NatsServer, users=users, durable=True) as server:
        url = server.url
        client = await nats.connect(url, user="tests", password="tests")
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await client.jetstream().publish("kept", b"1")
        await client.close()
        server.kill()
        server.start()
        assert server.url == url
        client = await nats.connect(url, user="tests", password="tests")
        assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
        await client.close()


def test_redis_answers_and_forgets(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("key", "value")
        assert client.get("key") == b"value"
    redis_server.stop()
    redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.get("key") is None


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with temporary(NatsServer) as first, pytest.raises(StartFailed, match="address already in use"):
        NatsServer(tmp_path, port=first.port).start()


def test_no_server_outlives_a_killed_parent() -> None:
    command = [sys.executable, "-c", ORPHAN]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    started = [line.split() for line in ended.stdout.splitlines()]
    assert len(started) == 3, ended.stderr
    deadline_s = time.monotonic() + 20
    while (alive := [pid for _, pid in started if is_alive(int(pid))]) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    for home, _ in started:
        subprocess.run(["rm", "-rf", home], check=True, timeout=20)
    assert not alive
