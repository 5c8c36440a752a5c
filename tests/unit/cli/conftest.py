"""The command with services that answer from a table: no network, no terminal."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from bellweave.main import run
from bellweave.toolbox import Toolbox

Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]
APIS = {
    name: f"http://127.0.0.1:{port}/api/v1"
    for port, name in enumerate(
        ["sms.main", "bms.main", "nms.north", "nms.south", "ems.north", "ems.south"], 1001
    )
}
ISSUER = "http://127.0.0.1:1000"


def token(*roles: str, tenant: str | None = None) -> str:
    """Looks like a JWT; nobody here checks its signature."""
    claims = json.dumps({"roles": roles, "tenant": tenant}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


@dataclass
class Bench:
    """Run command lines with `run`; `answers` go by "METHOD sms.main/path", lists are used up in turn."""

    home: Path
    environment: dict[str, str]
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    out: str = ""
    err: str = ""

    def run(self, *arguments: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        tools = Toolbox(
            self.environment,
            self.home,
            httpx.MockTransport(self._answer),
            Console(file=out, width=200),
            Console(file=err, width=200),
            now_s=lambda: 1000.0,
        )
        status = run(arguments, tools)
        self.out, self.err = out.getvalue(), err.getvalue()
        return status

    def json(self, *arguments: str) -> Any:
        """The one JSON document on stdout of a command that worked."""
        status = self.run(*arguments, "--json")
        assert (status, self.err) == (0, "")
        return json.loads(self.out)

    def log_in(self, *roles: str, tenant: str | None = None) -> None:
        self.environment["BELLWEAVE_TOKEN"] = token(*roles, tenant=tenant)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        base = f"http://{request.url.host}:{request.url.port}"
        names = {url.removesuffix("/api/v1"): name for name, url in APIS.items()} | {ISSUER: "issuer"}
        path = request.url.path.removeprefix("/api/v1")
        answer = self.answers.get(f"{request.method} {names[base]}{path}")
        if isinstance(answer, list) and answer and not isinstance(answer[0], dict):
            answer = answer.pop(0)
        if answer is None:
            return problem(404, "not-found", f"there is nothing at {path}")
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def problem(status: int, kind: str, detail: str, **more: Any) -> httpx.Response:
    body = {
        "type": f"urn:bellweave:problem:{kind}",
        "title": kind,
        "status": status,
        "detail": detail,
        **more,
    }
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


@pytest.fixture
def refusal() -> Callable[..., httpx.Response]:
    """Makes a service's problem document."""
    return problem


@pytest.fixture
def make_token() -> Callable[..., str]:
    return token


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A local stack's status file, nobody logged in."""
    state = tmp_path / ".bellweave"
    state.mkdir()
    document = {
        "phase": "ready",
        "clock": {"origin_s": 0, "scale": 60},
        "apis": APIS,
        "processes": [
            {"name": name, "kind": "service", "state": "ready", "pid": 7, "address": url, "restarts": 0}
            for name, url in APIS.items()
        ],
        "issuer": {
            "url": ISSUER,
            "client_id": "bellweave",
            "users": [{"name": "acme-admin", "password": "s3cret", "tenant": "acme", "roles": ["tenant"]}],
        },
    }
    (state / "status.json").write_text(json.dumps(document))
    return Bench(tmp_path, {"BELLWEAVE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})
