"""A whole stack of separate processes for the end-to-end tests, and what a test does to it from outside.

`conftest` starts one for the tests of a worker and deletes it afterwards. Tests come in by the public doors,
by NETCONF (`devices`), and as nature and sabotage do: faults on devices, processes killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from bellweave_local.deployment import DEFAULT_DEPLOYMENT, load_deployment
from bellweave_local.state import StateDir, Status
from emulator.control import ask_control

CLOCK_SCALE = 120.0
CONFIRM_TIMEOUT_S = 10
EMS_SETTINGS = {"BELLWEAVE_POLL_S": "0.25", "BELLWEAVE_RPC_LIMIT_S": "2"}
"""A device that hangs costs one such limit for every try."""
NMS_SETTINGS = {"BELLWEAVE_FRESH_WITHIN_S": "1", "BELLWEAVE_CARRY_S": "1"}
SMS_SETTINGS = {"BELLWEAVE_CONFIRM_TIMEOUT_S": str(CONFIRM_TIMEOUT_S)}
FINAL = ("completed", "refused", "failed", "cancelled")
PATIENCE_S = 150.0
"""Longer than an order may take at all, on a busy machine."""
_COMMAND_LIMIT_S = 240
_REQUEST_LIMIT_S = 30.0
_LOOK_EVERY_S = 0.1
T = TypeVar("T")


class Ground:
    """A running stack. Users are those of the local issuer, instances those of the deployment."""

    def __init__(self, state: StateDir) -> None:
        self.state = state
        self._tokens: dict[str, str] = {}
        self._http = httpx.Client(timeout=_REQUEST_LIMIT_S)

    @property
    def status(self) -> Status:
        """As the supervisor tells it now."""
        found = self.state.read_status()
        assert found is not None
        return found

    def close(self) -> None:
        self._http.close()

    # The doors.

    def token(self, user: str) -> str:
        if user not in self._tokens:
            issuer = self.status.issuer
            assert issuer is not None
            account = next(one for one in issuer.users if one.name == user)
            form = {
                "grant_type": "password",
                "client_id": issuer.client_id,
                "username": account.name,
                "password": account.password,
            }
            answer = self._http.post(issuer.token_endpoint, data=form)
            assert answer.status_code == httpx.codes.OK, answer.text
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def send(
        self,
        method: str,
        instance: str,
        path: str,
        user: str | None,
        *,
        token: str | None = None,
        **body: Any,
    ) -> httpx.Response:
        """One request as it is, whatever the answer. `token` stands in for the user's own."""
        said = token or (self.token(user) if user else None)
        headers = {"Authorization": f"Bearer {said}"} if said else {}
        headers |= body.pop("headers", {})
        return self._http.request(method, f"{self.status.apis[instance]}{path}", headers=headers, **body)

    def get(self, instance: str, path: str, user: str = "operator", **params: Any) -> dict[str, Any]:
        answer = self.send("GET", instance, path, user, params=params)
        assert answer.is_success, f"{instance} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def items(self, instance: str, path: str, user: str = "operator", **params: Any) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": None}
        while True:
            page = self.get(instance, path, user, **params)
            found += page["items"]
            if not page["next"]:
                return found
            params["cursor"] = page["next"]

    # Orders and services.

    def place(self, body: dict[str, Any], user: str = "acme-admin") -> str:
        """Order it; the order's id."""
        answer = self.send("POST", "sms.main", "/orders", user, json=body)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["id"])

    def until(
        self, order_id: str, states: tuple[str, ...] = FINAL, user: str = "acme-admin"
    ) -> dict[str, Any]:
        """The order once it is in one of `states`, or has ended otherwise."""

        def look() -> dict[str, Any] | None:
            order = self._order_now(order_id, user)
            return order if order and order["state"] in (*states, *FINAL) else None

        return wait_for(f"order {order_id} to be {' or '.join(states)}", look)

    def order(self, body: dict[str, Any], user: str = "acme-admin") -> dict[str, Any]:
        """Order it and wait for the end."""
        return self.until(self.place(body, user), user=user)

    def end(self, service_id: str, user: str = "acme-admin") -> None:
        """Take a service down and wait until it is gone."""
        answer = self.send("DELETE", "sms.main", f"/services/{service_id}", user)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        wait_for(f"{service_id} to end", lambda: self._service_state(service_id, user) == "terminated")

    def _order_now(self, order_id: str, user: str) -> dict[str, Any] | None:
        """None while the SMS is away."""
        try:
            answer = self.send("GET", "sms.main", f"/orders/{order_id}", user)
        except httpx.TransportError:
            return None
        return dict(answer.json()) if answer.is_success else None

    def _service_state(self, service_id: str, user: str) -> str:
        return str(self.get("sms.main", f"/services/{service_id}", user)["state"])

    # Nature and sabotage.

    def fault(self, element: str, on: str, action: str, count: int | None = None) -> None:
        self._control({"do": "fault", "element": element, "on": on, "action": action, "count": count})

    def clear_faults(self) -> None:
        self._control({"do": "clear-faults"})

    def faults_left(self, element: str) -> list[dict[str, Any]]:
        return list(self._control({"do": "show"})["faults"].get(element, []))

    def _control(self, request: dict[str, Any]) -> Any:
        return asyncio.run(ask_control(self.state.root / "emulator", request))

    def kill(self, name: str) -> int:
        """kill -9; the process id that it had."""
        pid = self.status.process(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def back(self, name: str, pid: int) -> None:
        """Wait until the supervisor has another process ready in place of `pid`."""

        def replaced() -> bool:
            now = self.status.process(name)
            return now.state == "ready" and now.pid != pid

        wait_for(f"{name} to be back", replaced)


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """The first thing found by looking again and again; an AssertionError if there is nothing in time."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        found = look()
        if found:
            return found
        time.sleep(_LOOK_EVERY_S)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {what}")


@contextmanager
def running_stack() -> Iterator[Ground]:
    """The stack of `make up` with its example, on a faster domain clock; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="bellweave-e2e-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # root's PostgreSQL runs as another user and must pass through
        deployment = home / "deployment.yaml"
        deployment.write_text(yaml.safe_dump(_faster()))
        where = ("--state", str(home / "state"))
        try:
            _run("up", *where, "--deployment", str(deployment))
            ground = Ground(StateDir(home / "state"))
            try:
                yield ground
            finally:
                ground.close()
        finally:
            _run("wipe", *where, "--yes")


def _faster() -> dict[str, Any]:
    """`deploy/local/deployment.yaml` with shorter times."""
    described: dict[str, Any] = yaml.safe_load(DEFAULT_DEPLOYMENT.read_text())
    described["topologies"] = [str(path) for path in load_deployment(DEFAULT_DEPLOYMENT).topologies]
    described["clock_scale"] = CLOCK_SCALE
    shorter = {"ems": EMS_SETTINGS, "nms": NMS_SETTINGS, "sms": SMS_SETTINGS}
    for instance in described["instances"]:
        service = instance["name"].partition(".")[0]
        instance["settings"] = {**instance.get("settings", {}), **shorter.get(service, {})}
    return described


def _run(*arguments: str) -> None:
    command = (str(Path(sys.executable).with_name("bellweave-local")), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_LIMIT_S, check=False)
    assert done.returncode == 0, f"bellweave-local {arguments[0]}: {done.stdout}{done.stderr}"
