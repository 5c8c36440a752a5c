"""A service as its own process: it starts in any order, serves, says what is wrong, and ends in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from qkit.http import Health, make_app, serve
from qkit.settings import ServiceSettings
from qmodel.errors import Unavailable

CODE = """
import asyncio
from fastapi import APIRouter, Body, Depends
from qkit.auth import public
from qkit.service import Kit, Service, run
from qkit.settings import ServiceSettings

router = APIRouter()

@router.post("/echo", dependencies=[Depends(public)])
async def echo(body: dict) -> dict:
    return body

@router.get("/slow", dependencies=[Depends(public)])
async def slow() -> str:
    print("slow-began", flush=True)
    await asyncio.sleep(0.5)
    return "done"

async def build(kit: Kit) -> Service:
    async def act(key: str) -> None:
        if key == "die":
            dead.set()
    dead = asyncio.Event()
    async def background() -> None:
        await dead.wait()
        raise RuntimeError("the part failed")
    async def on_stop() -> None:
        print("on-stop", flush=True)
    loops = [kit.loop("probe", act)]
    return Service("Probe", [router], loops=loops, background=[background], on_stop=[on_stop])

run(ServiceSettings(), build, migrations=None)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """The process, its door, and what it wrote."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path, out: Path) -> None:
        self.process = process
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)
        self.log = log
        self.out = out

    async def until_ready(self) -> None:
        async with asyncio.timeout(60):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                try:
                    if (await self.http.get("/readyz")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)

    async def until_written(self, word: str) -> None:
        async with asyncio.timeout(60):
            while True:
                if word in self.out.read_text() + self.log.read_text():
                    return
                await asyncio.sleep(0.02)

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()


@pytest.fixture
async def probe(urls: Any, wired_nats: Any, tmp_path: Path) -> AsyncIterator[Running]:
    """A service `ems.north`, not yet known to be ready."""
    port = free_port()
    environment = {
        "SERVICE": "ems",
        "INSTANCE": "north",
        "HTTP_PORT": str(port),
        "DATABASE_URL": urls.owner,
        "DATABASE_API_URL": urls.api,
        "DATABASE_WORKER_URL": urls.worker,
        "NATS_URL": wired_nats.url,
        "NATS_USER": "ems.north",
        "NATS_PASSWORD": "ems.north",
        "OIDC_ISSUER": "https://issuer.test",
        "MAX_BODY_BYTES": "1000",
    }
    with (tmp_path / "log").open("wb") as log, (tmp_path / "out").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CODE,
            env=os.environ | {f"BELLWEAVE_{name}": value for name, value in environment.items()},
            stdout=out,
            stderr=log,
        )
    running = Running(process, port, tmp_path / "log", tmp_path / "out")
    yield running
    await running.http.aclose()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_a_service_serves_and_ends_in_order_when_told_to(probe: Running, urls: Any) -> None:
    await probe.until_ready()
    assert (await probe.http.get("/healthz")).status_code == 200
    big = b'{"x": "' + b"y" * 2000 + b'"}'

    async def in_parts() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 500):
            yield big[start : start + 500]

    headers = {"content-type": "application/json"}
    for content in (big, in_parts()):
        refused = await probe.http.post("/api/v1/echo", content=content, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (413, "urn:bellweave:problem:too-large")
    assert "bellweave_http_requests_total" in (await probe.http.get("/metrics")).text

    slow = asyncio.create_task(probe.http.get("/api/v1/slow"))
    await probe.until_written("slow-began")
    probe.process.send_signal(signal.SIGTERM)
    assert (await slow).json() == "done", "what had begun was finished"
    assert await probe.ended() == 0
    assert "on-stop" in probe.out.read_text()
    with psycopg.connect(urls.owner) as conn:
        assert conn.execute("SELECT count(*) FROM kit.lease").fetchone() == (0,)
    lines = [json.loads(line) for line in probe.log.read_text().splitlines()]
    assert {"started", "stopping"} <= {line["event"] for line in lines}
    assert all(line["service"] == "ems.north" for line in lines if line["event"] == "started")
    secrets = [
        psycopg.conninfo.conninfo_to_dict(url)["password"] for url in (urls.api, urls.worker, urls.owner)
    ]
    assert not any(str(secret) in probe.log.read_text() for secret in secrets)


async def test_a_service_of_which_a_part_fails_ends_with_an_error(probe: Running, urls: Any) -> None:
    await probe.until_ready()
    with psycopg.connect(urls.worker) as conn:
        conn.execute("INSERT INTO kit.work (loop, key, due_at) VALUES ('probe', 'die', now())")
        conn.execute("SELECT pg_notify('kit_work', 'probe')")
    assert await probe.ended() == 1
    assert "the part failed" in probe.log.read_text()
    with psycopg.connect(urls.owner) as conn:
        assert conn.execute("SELECT count(*) FROM kit.lease").fetchone() == (0,)


async def test_a_service_without_its_bus_says_so_and_recovers(probe: Running, wired_nats: Any) -> None:
    await probe.until_ready()
    wired_nats.kill()
    async with asyncio.timeout(60):
        while True:
            answer = await probe.http.get("/readyz")
            if answer.status_code == 503:
                break
            await asyncio.sleep(0.02)
    assert answer.json()["faults"] == {"bus": "the bus cannot be reached"}
    assert (await probe.http.get("/healthz")).status_code == 200, "a restart would help nobody"
    await asyncio.to_thread(wired_nats.start)
    await probe.until_ready()


async def test_a_service_waits_for_a_bus_that_comes_later(probe: Running, urls: Any, wired_nats: Any) -> None:
    wired_nats.kill()
    asked = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'ems.north worker'"
    async with asyncio.timeout(60):
        while True:  # until its next step is the bus
            with psycopg.connect(urls.worker) as conn:
                if conn.execute(asked).fetchone() == (True,):
                    break
            await asyncio.sleep(0.05)
    assert probe.process.returncode is None
    await asyncio.to_thread(wired_nats.start)
    await probe.until_ready()


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServiceSettings.model_construct(
            http_host="127.0.0.1", http_port=taken.getsockname()[1], max_body_bytes=1000, request_timeout_s=1
        )
        app = make_app(settings, title="x", verifier=None, routers=[], health=Health())  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match=str(settings.http_port)):
            await serve(app, settings, asyncio.Event())
