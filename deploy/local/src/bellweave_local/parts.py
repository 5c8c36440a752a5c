"""The parts of a stack as the supervisor sees them: what to start, where it answers, how to know it is ready.

A part knows nothing of restarts and order; that is the supervisor's.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bellweave_local.process import Command
from bellweave_local.servers import EmbeddedServer
from bellweave_local.state import ElementStatus

HOST = "127.0.0.1"
PROBE_LIMIT_S = 2.0
Kind = Literal["server", "issuer", "emulator", "service"]


async def nothing() -> None:
    """What most parts need done once they answer."""


@dataclass(frozen=True)
class Elsewhere:
    """A server that somebody else runs, in the place of an embedded one. `settle` as for a part."""

    name: str
    address: str
    kind: Kind = "server"
    settle: Callable[[], Awaitable[None]] = nothing


class Part(ABC):
    """One process of the stack.

    `needs` names the parts that must have settled before it is started for the first time. `settle` is done
    once it answers, at every start, before others may rely on it: databases and roles, streams."""

    name: str
    kind: Kind
    log: Path
    needs: tuple[str, ...] = ()
    settle: Callable[[], Awaitable[None]]

    @property
    @abstractmethod
    def address(self) -> str:
        """The URL that people and other parts use; holds no secret."""

    @abstractmethod
    def prepare(self) -> None:
        """Put in place what the process needs; called before every start. May block for a second or two."""

    @abstractmethod
    def command(self) -> Command: ...

    @abstractmethod
    def is_ready(self, pid: int) -> bool:
        """Whether it answers. Blocks for PROBE_LIMIT_S at most."""

    def is_lingering(self, pid: int) -> bool:
        """Whether somebody told it to end and it waits for its clients. Returns at once."""
        return False


@dataclass
class ServerPart(Part):
    """An embedded server. `shown` gives its address without secrets."""

    name: str
    server: EmbeddedServer
    shown: Callable[[], str]
    settle: Callable[[], Awaitable[None]] = nothing
    kind: Kind = "server"

    def __post_init__(self) -> None:
        self.log = self.server.log

    @property
    def address(self) -> str:
        return self.shown()

    def prepare(self) -> None:
        self.server.prepare()

    def command(self) -> Command:
        return self.server.command()

    def is_ready(self, pid: int) -> bool:
        return self.server.is_ready(pid)

    def is_lingering(self, pid: int) -> bool:
        return self.server.is_lingering(pid)


@dataclass
class HttpPart(Part):
    """A process with a door on loopback: a service or the issuer. Ready when `ready_path` answers 200."""

    name: str
    kind: Kind
    argv: tuple[str, ...]
    log: Path
    home: Path
    port_number: int
    ready_path: str
    environment: Callable[[], Mapping[str, str]] = dict
    needs: tuple[str, ...] = ()
    settle: Callable[[], Awaitable[None]] = nothing

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port_number}"

    def prepare(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Command:
        environment = {**os.environ, **self.environment()}
        return Command(argv=self.argv, log=self.log, env=environment, cwd=self.home)

    def is_ready(self, pid: int) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port_number, timeout=PROBE_LIMIT_S)
        try:
            connection.request("GET", self.ready_path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@dataclass
class EmulatorPart(Part):
    """All emulated devices, in one process. It says in `elements.json` where each of them listens."""

    home: Path
    argv: tuple[str, ...]
    log: Path
    private_key: Path
    settle: Callable[[], Awaitable[None]] = nothing
    name: str = "emulator"
    kind: Kind = "emulator"

    @property
    def address(self) -> str:
        return self.home.as_uri()

    def prepare(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "elements.json").unlink(missing_ok=True)

    def command(self) -> Command:
        return Command(argv=self.argv, log=self.log, env=dict(os.environ), cwd=self.home)

    def is_ready(self, pid: int) -> bool:
        """The list is written when all of them listen; a door that opens confirms it."""
        elements = self.elements()
        if not elements:
            return False
        try:
            socket.create_connection((elements[-1].host, elements[-1].port), PROBE_LIMIT_S).close()
        except OSError:
            return False
        return True

    def elements(self) -> list[ElementStatus]:
        """The devices that it serves now; none while it starts."""
        try:
            listed = json.loads((self.home / "elements.json").read_text())["elements"]
        except FileNotFoundError:
            return []
        login = {"private_key": str(self.private_key)}
        return [ElementStatus.model_validate({**element, **login}) for element in listed]
