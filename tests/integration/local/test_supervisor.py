"""A whole stack of real servers and stand-in services, started and stopped by the command people use."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import nats
import psutil
import psycopg
import pytest
import yaml

from bellweave_local.servers import NatsServer, PostgresServer, RedisServer
from bellweave_local.servers.base import reachable_temporary_directory
from bellweave_local.state import StateDir

STAND_IN = Path(__file__).with_name("stand_in.py")
LIMIT_S = 60.0


def instance(name: str, *arguments: str, peers: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "peers": list(peers), "command": ["{python}", str(STAND_IN), *arguments]}


class LocalStack:
    """A state directory of its own and the commands upon it."""

    def __init__(self, home: Path, *instances: dict[str, Any]) -> None:
        self.home = home
        self.state = home / "state"
        deployment = {"instances": list(instances), "emulator": False}
        (home / "deployment.yaml").write_text(yaml.safe_dump(deployment))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("bellweave-local")
        return subprocess.run(
            [program, *arguments, "--state", str(self.state)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        deployment = str(self.home / "deployment.yaml")
        return self.run("up", "--no-seed", "--deployment", deployment, **environment)

    def status(self) -> dict[str, Any]:
        found = StateDir(self.state).read_status()
        assert found is not None
        return found.model_dump(mode="json")

    def processes(self) -> dict[str, dict[str, Any]]:
        return {process["name"]: process for process in self.status()["processes"]}

    def living(self) -> list[str]:
        """Command lines of processes that have to do with this stack."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd", "status"]):
            if process.info["status"] == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            if str(self.home) in " ".join((process.info["cwd"] or "", *(process.info["cmdline"] or ()))):
                found.append(" ".join(process.info["cmdline"] or ()))
        return found


def eventually(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bellweave-", dir=reachable_temporary_directory()))
    path.chmod(0o711)
    yield path
    if (path / "state").exists():
        subprocess.run(
            [Path(sys.executable).with_name("bellweave-local"), "down", "--state", path / "state"],
            capture_output=True,
            timeout=120,
            check=False,
        )
    shutil.rmtree(path)


@pytest.fixture
def stack(home: Path) -> LocalStack:
    return LocalStack(home, instance("sms.main", peers=("nms.north",)), instance("nms.north"))


def test_up_shows_every_part_and_down_leaves_no_process(stack: LocalStack) -> None:
    up = stack.up()
    assert up.returncode == 0, up.stdout + up.stderr
    processes = stack.processes()
    assert set(processes) == {"postgres", "nats", "redis", "issuer", "sms.main", "nms.north"}
    assert {process["state"] for process in processes.values()} == {"ready"}
    assert all(psutil.pid_exists(process["pid"]) for process in processes.values())
    shown = stack.run("status", "--json")
    assert json.loads(shown.stdout)["processes"] == list(processes.values())
    assert stack.living()
    down = stack.run("down")
    assert down.returncode == 0, down.stderr
    assert stack.living() == []
    assert stack.status()["phase"] == "stopped"
    assert "stopping on SIGTERM" in stack.run("logs", "supervisor").stdout


def test_a_killed_process_comes_back_at_its_address(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    before = stack.processes()
    for name in ("postgres", "nats", "redis", "issuer", "sms.main"):
        os.kill(before[name]["pid"], signal.SIGKILL)

    def all_back() -> bool:
        now = stack.processes()
        same = all(now[name]["address"] == before[name]["address"] for name in now)
        fresh = all(now[n]["pid"] not in (None, before[n]["pid"]) for n in before if n != "nms.north")
        return same and fresh and all(process["state"] == "ready" for process in now.values())

    assert eventually(all_back), stack.processes()
    assert stack.processes()["sms.main"]["restarts"] >= 1
    assert stack.processes()["nms.north"]["pid"] == before["nms.north"]["pid"]


def test_restart_replaces_one_process(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    before = stack.processes()
    assert stack.run("restart", "nms.north").returncode == 0
    after = stack.processes()
    assert after["nms.north"]["pid"] != before["nms.north"]["pid"]
    assert after["sms.main"]["pid"] == before["sms.main"]["pid"]
    unknown = stack.run("restart", "nobody")
    assert unknown.returncode == 1
    assert "no process 'nobody'" in unknown.stderr


def test_a_database_told_to_end_does_not_wait_for_its_clients(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    before = stack.processes()["postgres"]["pid"]
    with psycopg.connect(stack.status()["databases"]["sms.main"]["owner"]):
        os.kill(before, signal.SIGTERM)
        assert eventually(lambda: stack.processes()["postgres"]["pid"] not in (None, before))
    assert eventually(lambda: stack.processes()["postgres"]["state"] == "ready")


def test_a_killed_supervisor_takes_all_with_it_and_up_starts_again_on_the_same_data(
    stack: LocalStack,
) -> None:
    assert stack.up().returncode == 0
    first = stack.status()
    os.kill(first["supervisor_pid"], signal.SIGKILL)
    assert eventually(lambda: stack.living() == []), stack.living()
    assert stack.status()["phase"] == "stopped"
    assert stack.up().returncode == 0
    second = stack.status()
    assert second["databases"] == first["databases"]
    assert second["apis"] == first["apis"]
    assert second["clock"] == first["clock"]
    assert second["issuer"] == first["issuer"]


def test_up_twice_keeps_the_running_stack(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    before = stack.processes()
    assert stack.up().returncode == 0
    assert {n: p["pid"] for n, p in stack.processes().items()} == {n: p["pid"] for n, p in before.items()}


def test_up_at_the_same_time_twice_starts_one_stack(stack: LocalStack) -> None:
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: stack.up(), range(2)))
    assert [up.returncode for up in ended] == [0, 0], [up.stderr for up in ended]
    assert len([line for line in stack.living() if "bellweave_local.supervisor" in line]) == 1


def test_wipe_deletes_a_stack_and_nothing_else(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    assert stack.run("wipe", "--yes").returncode == 0
    assert not stack.state.exists()
    assert stack.living() == []
    stack.state.mkdir()
    (stack.state / "precious").write_text("kept")
    refused = stack.run("wipe", "--yes")
    assert refused.returncode == 1
    assert (stack.state / "precious").exists()


def test_two_stacks_run_side_by_side(home: Path) -> None:
    stacks = []
    for name in ("one", "two"):
        (home / name).mkdir(mode=0o711)
        stacks.append(LocalStack(home / name, instance("sms.main")))
    try:
        assert [stack.up().returncode for stack in stacks] == [0, 0]
        ports = [p["port"] for stack in stacks for p in stack.processes().values() if p["port"]]
        assert len(ports) == len(set(ports)) > 0
    finally:
        for stack in stacks:
            stack.run("down")
    assert [stack.living() for stack in stacks] == [[], []]


def test_a_service_that_never_works_is_named_with_its_last_words(home: Path) -> None:
    stack = LocalStack(home, instance("sms.main"), instance("bms.main", "--broken"))
    up = stack.up()
    assert up.returncode == 1
    assert "bms.main" in up.stderr
    assert "this stand-in never works" in up.stderr
    assert stack.processes()["bms.main"]["state"] == "failed"
    assert stack.processes()["sms.main"]["state"] == "ready"


def test_servers_elsewhere_are_used_instead_of_embedded_ones(
    stack: LocalStack, postgres_server: PostgresServer, nats_server: NatsServer, redis_server: RedisServer
) -> None:
    up = stack.up(
        BELLWEAVE_DATABASE_ADMIN_URL=postgres_server.url(),
        BELLWEAVE_NATS_URL=nats_server.url.replace("//", "//tests:tests@"),
        BELLWEAVE_REDIS_URL=redis_server.url,
    )
    assert up.returncode == 0, up.stdout + up.stderr
    processes = stack.processes()
    for name in ("postgres", "nats", "redis"):
        assert processes[name]["state"] == "external"
        assert processes[name]["pid"] is None
        assert "tests:tests" not in processes[name]["address"]
    assert processes["sms.main"]["state"] == "ready"
    assert not [line for line in stack.living() if "nats-server" in line or "redis" in line]


def test_a_server_elsewhere_that_does_not_answer_is_named_and_has_no_log_here(stack: LocalStack) -> None:
    up = stack.up(BELLWEAVE_DATABASE_ADMIN_URL="postgresql://root:hush@127.0.0.1:9/postgres")
    assert up.returncode == 1
    assert "postgres:" in up.stderr
    assert "Traceback" not in up.stderr
    logs = stack.run("logs", "postgres")
    assert logs.returncode == 1
    assert "postgres runs elsewhere; its log is not here" in logs.stderr


def test_files_with_secrets_are_for_their_owner_only(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    secrets = [stack.state / name for name in ("status.json", "secrets.json", "nats/nats-server.json")]
    secrets += [stack.state / "issuer" / name for name in ("users.json", "signing-key.pem")]
    assert {oct(path.stat().st_mode & 0o777) for path in secrets} == {"0o600"}
    password = stack.status()["issuer"]["users"][0]["password"]
    assert password not in (stack.state / "issuer" / "users.json").read_text()


async def test_each_service_has_its_own_rights_on_the_bus(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    status = stack.status()
    user = next(user for user in status["bus_users"] if user["name"] == "nms.north")
    address = next(p["address"] for p in status["processes"] if p["name"] == "nats")
    refused: asyncio.Queue[Exception] = asyncio.Queue()
    login = {"user": user["name"], "password": user["password"]}
    client = await nats.connect(address, error_cb=refused.put, **login)
    await client.publish("evt.nms.north.true", b"")
    await client.publish("evt.sms.main.forged", b"")
    first = await asyncio.wait_for(refused.get(), 5)
    await client.close()
    assert "evt.sms.main.forged" in str(first)
    assert refused.empty()


def test_the_issuer_signs_tokens_that_verify_against_its_published_key(stack: LocalStack) -> None:
    assert stack.up().returncode == 0
    issuer = stack.status()["issuer"]
    user = next(user for user in issuer["users"] if user["name"] == "acme-admin")
    form = {
        "grant_type": "password",
        "client_id": issuer["client_id"],
        "username": user["name"],
        "password": user["password"],
    }
    with httpx.Client(timeout=20) as client:
        discovered = client.get(f"{issuer['url']}/.well-known/openid-configuration").json()
        answer = client.post(discovered["token_endpoint"], data=form)
        keys = client.get(discovered["jwks_uri"]).json()["keys"]
        wrong = client.post(discovered["token_endpoint"], data={**form, "password": "guess"})
        odd = client.post(discovered["token_endpoint"], data={"grant_type": "client_credentials"})
        large = client.post(discovered["token_endpoint"], data={**form, "password": "x" * 20_000})
    assert discovered["issuer"] == issuer["url"]
    claims = jwt.decode(
        answer.json()["access_token"],
        jwt.PyJWK(keys[0]).key,
        algorithms=["ES256"],
        audience="bellweave",
        issuer=issuer["url"],
    )
    assert (claims["sub"], claims["tenant"], claims["roles"]) == ("acme-admin", "acme", ["tenant"])
    assert claims["exp"] - claims["iat"] == 3600
    assert answer.headers["Cache-Control"] == "no-store"
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    assert (odd.status_code, odd.json()["error"]) == (400, "unsupported_grant_type")
    assert (large.status_code, large.json()["error"]) == (400, "invalid_request")
