"""The command as people run it: its own process, a real issuer, a real BMS behind its REST door."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from bellweave_local.issuer.store import LOCAL_ACCOUNTS, write_accounts
from bellweave_local.servers import NatsServer, PostgresServer
from bellweave_local.state import free_port
from qkit.migrations import RoleUrls, prepare_database
from qkit.streams import ensure_streams

PLAN = {
    "name": "standard",
    "prices": [{"unit": "key-bits", "price_per": "1000", "amount": "0.02"}],
    "monthly_fee": "10.00",
}
QUOTA = {"links": 50, "key_rate_bps": 1_000_000}


@dataclass(frozen=True)
class Machine:
    """A directory with a local stack's status file, and the processes that it names."""

    root: Path
    bms_url: str
    bms: subprocess.Popen[bytes]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "BELLWEAVE_STATE": str(self.root),
            "BELLWEAVE_HOME": str(self.root / "home"),
        }
        command = [sys.executable, "-m", "bellweave", *arguments]
        return subprocess.run(
            command, env=environment, cwd=self.root, capture_output=True, text=True, timeout=60, check=False
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def sign_up_acme(self) -> None:
        """As billing, who is logged in."""
        token = json.loads((self.root / "home" / "session.json").read_text())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        for path, body in (
            ("plans", PLAN),
            ("customers", {"tenant": "acme", "name": "Acme"}),
            ("contracts", {"tenant": "acme", "plan": "standard", "quota": QUOTA}),
        ):
            httpx.post(f"{self.bms_url}/{path}", json=body, headers=headers).raise_for_status()


@pytest.fixture
def machine(postgres_server: PostgresServer, nats_server: NatsServer, tmp_path: Path) -> Iterator[Machine]:
    passwords = {account.name: secrets.token_hex(8) for account in LOCAL_ACCOUNTS}
    users = tmp_path / "issuer"
    users.mkdir()
    write_accounts(users, passwords)
    asyncio.run(ensure_streams(nats_server.url, "tests", "tests", {"sms.main": ["bms.main"]}))
    issuer_port, bms_port = free_port(set()), free_port(set())
    issuer, bms_url = f"http://127.0.0.1:{issuer_port}", f"http://127.0.0.1:{bms_port}/api/v1"
    with (
        database(postgres_server) as roles,
        process(["-m", "bellweave_local.issuer", str(users), str(issuer_port)], {}),
        process(["-m", "bms"], settings(roles, nats_server.url, issuer, bms_port)) as bms,
    ):
        answers(f"{issuer}/jwks.json")
        answers(f"http://127.0.0.1:{bms_port}/readyz")
        document = {
            "phase": "ready",
            "apis": {"bms.main": bms_url},
            "processes": [{"name": "bms.main", "kind": "service", "state": "ready", "pid": bms.pid}],
            "issuer": {
                "url": issuer,
                "client_id": "bellweave",
                "users": [{"name": name, "password": password} for name, password in passwords.items()],
            },
        }
        (tmp_path / "status.json").write_text(json.dumps(document))
        yield Machine(tmp_path, bms_url, bms)


@contextmanager
def database(server: PostgresServer) -> Iterator[RoleUrls]:
    name = f"t_{secrets.token_hex(6)}"
    passwords = {role: secrets.token_hex(8) for role in ("owner", "api", "worker")}
    yield asyncio.run(prepare_database(server.url(), name, passwords))
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in passwords:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_{role}")))


def settings(roles: RoleUrls, nats_url: str, issuer: str, port: int) -> dict[str, str]:
    told = {
        "DATABASE_URL": roles.owner,
        "DATABASE_API_URL": roles.api,
        "DATABASE_WORKER_URL": roles.worker,
        "NATS_URL": nats_url,
        "NATS_USER": "tests",
        "NATS_PASSWORD": "tests",
        "OIDC_ISSUER": issuer,
        "HTTP_PORT": str(port),
        "CLOCK_SCALE": "60",
        "CLOCK_ORIGIN_S": str(time.time()),
    }
    return {f"BELLWEAVE_{name}": value for name, value in told.items()}


@contextmanager
def process(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Ended at the end, by force if it must be."""
    started = subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def answers(url: str) -> None:
    """Wait until `url` answers with success."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_billing_closes_an_invoice_and_its_tenant_reads_it(machine: Machine) -> None:
    assert machine.json("login", "billing")["roles"] == ["billing"]
    machine.sign_up_acme()
    made = machine.json("invoice", "create", "acme", "--idempotency-key", "k")
    assert (made["number"], made["total"]) == ("BW-000001", "10.00")
    assert machine.json("invoice", "create", "acme", "--idempotency-key", "k") == made
    export = machine.run("invoice", "show", "BW-000001", "--csv")
    assert "Total" in export.stdout
    assert machine.run("login", "acme-admin").returncode == 0
    assert machine.json("invoice", "show", "BW-000001") == made
    assert machine.json("quota")["links_limit"] == 50
    assert "0 of 50 in use" in machine.run("quota").stdout
    assert machine.json("usage") == {"items": []}


def test_refusals_come_from_the_service_with_their_reason(machine: Machine) -> None:
    machine.run("login", "acme-admin")
    refused = machine.run("invoice", "create", "acme", "--json")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert json.loads(refused.stderr)["status"] == 403
    machine.run("login", "globex-admin")
    assert json.loads(machine.run("quota", "acme", "--json").stderr)["status"] == 404
    wrong = machine.run("login", "billing", "--password", "wrong", "--json")
    assert (wrong.returncode, wrong.stdout) == (1, "")


def test_a_service_that_is_gone_cannot_be_reached_and_status_says_so(machine: Machine) -> None:
    machine.run("login", "acme-admin")
    before = json.loads(machine.run("status", "--json").stdout)
    assert before["readiness"]["bms.main"]["status"] == "ready"
    machine.bms.terminate()
    assert machine.bms.wait(20) == 0
    gone = machine.run("usage", "--json")
    assert (gone.returncode, gone.stdout) == (3, "")
    status = machine.run("status", "--json")
    assert status.returncode == 1
    assert json.loads(status.stdout)["readiness"]["bms.main"]["status"] == "unreachable"
