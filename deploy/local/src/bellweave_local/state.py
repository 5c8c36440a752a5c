"""The state directory of a stack: where things lie, its secrets and ports, and its status document.

The supervisor writes here; the other commands read. `status.json` is what `bellweave status --json` prints
and what the demo and end-to-end tests read; its shape is `Status`. Files with secrets are readable by their
owner only. Deleting the directory (after `down`) forgets the stack.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import BaseModel, Field

SCHEMA_VERSION = 1
DEFAULT_STATE = ".bellweave"
FIRST_PORT, LAST_PORT = 20000, 32767  # below the range from which systems take ports for outgoing connections
LOCK_PATIENCE_S = 1.0
Phase = Literal["starting", "ready", "failed", "stopping", "stopped"]
ProcessState = Literal["waiting", "starting", "ready", "restarting", "failed", "stopped", "external"]


class ProcessStatus(BaseModel):
    """One process of the stack, or the server elsewhere that stands in for it (state `external`)."""

    name: str
    kind: Literal["server", "issuer", "emulator", "service"]
    state: ProcessState = "waiting"
    pid: int | None = None
    address: str | None = Field(default=None, description="a URL; for services the base of their doors")
    port: int | None = None
    restarts: int = 0
    since: datetime | None = Field(default=None, description="when it entered this state, real time")
    problem: str | None = Field(default=None, description="why it last ended or could not start")
    log: str | None = None


class UserStatus(BaseModel):
    """A user of the local issuer."""

    name: str
    password: str
    tenant: str | None
    roles: list[str]


class IssuerStatus(BaseModel):
    url: str
    token_endpoint: str
    audience: str
    client_id: str
    users: list[UserStatus]


class ElementStatus(BaseModel):
    """An emulated device: where its NETCONF server listens and how to log in."""

    name: str
    host: str
    port: int
    user: str
    private_key: str = Field(description="path of the client key, OpenSSH format")
    host_key: str = Field(description="the server's public key, one OpenSSH line")
    operator: str
    ems: str = Field(description="the EMS instance that its topology names, such as `north`")


class DatabaseStatus(BaseModel):
    """Connection strings of one instance's database, per role."""

    owner: str
    api: str
    worker: str


class BusUser(BaseModel):
    name: str
    password: str


class ClockStatus(BaseModel):
    """The domain clock: `scale` domain seconds in one real second since `origin_s` (seconds since 1970)."""

    origin_s: float
    scale: float


class Status(BaseModel):
    """Everything about a running stack. Fields are only ever added within one `schema_version`."""

    schema_version: int = SCHEMA_VERSION
    state_dir: str
    phase: Phase = "starting"
    supervisor_pid: int | None = None
    updated_at: datetime
    clock: ClockStatus
    processes: list[ProcessStatus]
    apis: dict[str, str] = Field(default_factory=dict, description="instance to the base URL of its REST API")
    issuer: IssuerStatus | None = None
    databases: dict[str, DatabaseStatus] = Field(default_factory=dict)
    bus_users: list[BusUser] = Field(default_factory=list)
    elements: list[ElementStatus] = Field(default_factory=list)
    topologies: list[str] = Field(default_factory=list, description="paths of the declared networks")

    def process(self, name: str) -> ProcessStatus:
        """Raises KeyError for a name that the stack does not have."""
        for process in self.processes:
            if process.name == name:
                return process
        raise KeyError(name)


class StateDir:
    """Paths and small files of one stack. It starts nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @classmethod
    def chosen(cls, option: Path | None) -> StateDir:
        """The directory from the command line, else from BELLWEAVE_STATE, else `.bellweave` here."""
        return cls(option or Path(os.environ.get("BELLWEAVE_STATE") or DEFAULT_STATE))

    def create(self) -> None:
        """Root's PostgreSQL runs as another user and must be able to pass through, but not to list."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def private(self, *parts: str) -> Path:
        """A directory below the root that only its owner can enter; made when missing."""
        path = self.root.joinpath(*parts)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def write_status(self, status: Status) -> None:
        write_private(self.root / "status.json", status.model_dump_json(indent=2))

    def read_status(self) -> Status | None:
        """None if there was never a stack here. A stack whose supervisor is gone is `stopped`, however it
        ended."""
        try:
            status = Status.model_validate_json((self.root / "status.json").read_text())
        except FileNotFoundError:
            return None
        if self.is_running or status.phase == "stopped":
            return status
        gone = [
            process if process.state == "external" else process.model_copy(update=_GONE)
            for process in status.processes
        ]
        return status.model_copy(update={"phase": "stopped", "supervisor_pid": None, "processes": gone})

    @contextmanager
    def supervised(self) -> Iterator[bool]:
        """Hold the right to supervise this stack; yields False when another process has it."""
        with (self.root / "supervisor.lock").open("a") as lock:
            deadline_s = time.monotonic() + LOCK_PATIENCE_S
            while not (got := _try_lock(lock, fcntl.LOCK_EX)) and time.monotonic() < deadline_s:
                time.sleep(0.05)  # somebody may only be asking whether it is held
            if got:
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
            yield got

    def supervisor_pid(self) -> int | None:
        """The process that supervises this stack now; None when nobody does."""
        try:
            with (self.root / "supervisor.lock").open() as lock:
                return None if _try_lock(lock, fcntl.LOCK_SH) else int(lock.read() or 0) or None
        except FileNotFoundError:
            return None

    @property
    def is_running(self) -> bool:
        return self.supervisor_pid() is not None

    def secret(self, name: str) -> str:
        """A random secret of 256 bits, URL-safe base64, that stays the same for this stack."""
        return str(self._remember("secrets.json", name, lambda: secrets.token_urlsafe(32)))

    def port(self, name: str) -> int:
        """A loopback port that stays the same for this stack as long as nobody else takes it."""
        taken = {port for other, port in _read(self.root / "ports.json").items() if other != name}
        known = _read(self.root / "ports.json").get(name)
        if known is not None and is_free(known):
            return int(known)
        return int(self._remember("ports.json", name, lambda: free_port(taken), again=True))

    def clock_origin_s(self, now_s: float) -> float:
        """When this stack's domain clock started: now, the first time."""
        return float(self._remember("clock.json", "origin_s", lambda: now_s))

    def _remember(self, file: str, name: str, make: Any, *, again: bool = False) -> Any:
        path = self.root / file
        known = _read(path)
        if again or name not in known:
            known[name] = make()
            write_private(path, json.dumps(known, indent=1))
        return known[name]


_GONE = {"state": "stopped", "pid": None}


def _try_lock(file: TextIO, kind: int) -> bool:
    """The lock ends when the file is closed, also by the end of the process."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only from the moment it exists."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


def now() -> datetime:
    return datetime.now(UTC)


def free_port(taken: set[int], host: str = "127.0.0.1") -> int:
    """A port on which nobody listens and that no other stack is likely to choose: random in a wide range."""
    for _ in range(1000):
        port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 (no secret)
        if port not in taken and is_free(port, host):
            return port
    raise RuntimeError(f"no free port between {FIRST_PORT} and {LAST_PORT} on {host}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
