"""What all embedded servers have in common; subclasses say how one is prepared, started and known ready."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sysconfig
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from bellweave_local.process import Child, Command
from bellweave_local.servers.identity import is_reachable, unprivileged

START_LIMIT_S = 60.0
SOCKET_PATH_LIMIT = 100  # sun_path holds 104 to 108 bytes
LONGEST_SOCKET_NAME = ".s.PGSQL.5432.lock"


class EmbeddedServer(ABC):
    """A server in `home`, a directory that it owns. Not started twice at once; can be started again after a
    stop or a kill, on the same data and at the same address."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "server.log"
        self._child: Child | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Put in place what it needs on disk. May take a second or two; does nothing the second time."""

    @abstractmethod
    def command(self) -> Command:
        """How to start it, after `prepare`."""

    @abstractmethod
    def is_ready(self, pid: int) -> bool:
        """Whether the server that runs as `pid` answers. Returns at once."""

    def is_lingering(self, pid: int) -> bool:
        """Whether it was told to end, takes no new clients, and waits for the old ones to leave."""
        return False

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{type(self).__name__} in {self.home} is not running")
        return self._child.pid

    def start(self, limit_s: float = START_LIMIT_S) -> None:
        """Start it and return when it answers. Raises StartFailed with the end of its log."""
        try:
            self.prepare()
            self._child = Child(self.command())
            self._child.wait_until_ready(self.is_ready, limit_s)
        except BaseException:
            self.kill()
            self.tidy()
            raise

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None
        self.tidy()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def socket_directory(self) -> Path:
        """In the home; a short private one elsewhere when that path is too long for a socket's address."""
        inside = self.home / "run"
        if len(str(inside / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:16]
        return reachable_temporary_directory() / f"bellweave-{digest}"

    def tidy(self) -> None:
        """Remove what lies outside the home; it is made again at the next start."""
        if self.socket_directory().parent != self.home:
            shutil.rmtree(self.socket_directory(), ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


Server = TypeVar("Server", bound=EmbeddedServer)


@contextmanager
def temporary(kind: type[Server], **options: Any) -> Iterator[Server]:
    """A running server in a directory of its own that is removed afterwards. `options` go to the server."""
    home = Path(tempfile.mkdtemp(prefix="bellweave-", dir=reachable_temporary_directory()))
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        with kind(home, **options) as server:
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


def reachable_temporary_directory() -> Path:
    """Where also the unprivileged user that runs PostgreSQL for root can go."""
    for candidate in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        if candidate.is_dir() and is_reachable(candidate, unprivileged()):
            return candidate
    raise RuntimeError("no temporary directory that an unprivileged user can enter")


def script(name: str) -> Path:
    """An executable that a wheel put beside this Python, or else one on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = beside if beside.exists() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"no {name} beside {beside.parent} or on the PATH; run make setup")
    return Path(found)


def package_directory(package: str) -> Path:
    """Where an installed package's files lie, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {package} is not installed; run make setup")
    return Path(spec.origin).parent
