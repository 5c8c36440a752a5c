"""One child process: how it is started, watched and stopped. Embedded servers and the supervisor use it.

A child never outlives the process that started it, however that one ends: the kernel signals it then.
Nothing here knows what the child is.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

STOP_LIMIT_S = 10.0
LOG_LIMIT_BYTES = 10_000_000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Identity:
    """A system user to run a child as; only root can choose another one than its own."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to start. `stop_signal` asks it to end in order, `orphan_signal` is what the kernel sends it when
    its parent has died. Output is appended to `log`."""

    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    identity: Identity | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL


class StartFailed(Exception):
    """A child ended before it was ready, or was not ready in time. The text ends with its last log lines."""


class Child:
    """A started process. Start it from a thread that lives as long as the child shall (the main thread):
    the kernel takes the end of that thread for the end of the parent."""

    def __init__(self, command: Command) -> None:
        self.command = command
        rotate(command.log)
        identity = command.identity
        with open_private(command.log) as log:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=command.cwd,
                env=dict(command.env),
                start_new_session=True,
                user=identity.uid if identity else None,
                group=identity.gid if identity else None,
                extra_groups=[] if identity else None,
                preexec_fn=dies_with_parent(command.orphan_signal),  # noqa: PLW1509 (takes no lock)
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        if self.exit_code() is None:
            self._process.send_signal(self.command.stop_signal)

    def kill(self) -> None:
        """End it, with its process group, if it still runs."""
        if self.exit_code() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Ask it to stop; after `limit_s` seconds kill it."""
        self.ask_to_stop()
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until_ready(self, is_ready: Callable[[int], bool], limit_s: float) -> None:
        """Return once `is_ready(pid)`. Raises StartFailed when it ends before, or after `limit_s` seconds."""
        deadline_s = time.monotonic() + limit_s
        while not is_ready(self.pid):
            code = self.exit_code()
            if code is not None:
                raise StartFailed(f"{self.command.argv[0]} ended with {code}\n{tail(self.command.log)}")
            if time.monotonic() > deadline_s:
                raise StartFailed(
                    f"{self.command.argv[0]} not ready after {limit_s} s\n{tail(self.command.log)}"
                )
            time.sleep(0.02)


def dies_with_parent(signal_number: int) -> Callable[[], None] | None:
    """A function for the child to run before it becomes the program, on systems that know a death signal.

    Linux forgets the signal when the user changes, so it must run after that: subprocess does so."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask_kernel


def open_private(path: Path) -> BinaryIO:
    """Open for appending, readable by the owner only from the moment it exists."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def rotate(log: Path) -> None:
    """Keep one older log when this one is large, so that no process can fill the disk.

    The one that writes keeps its file: that is copied and emptied, and what it writes in between is lost."""
    if not log.exists() or log.stat().st_size <= LOG_LIMIT_BYTES:
        return
    older = log.with_suffix(".1.log")
    older.unlink(missing_ok=True)
    with log.open("rb") as full, open_private(older) as kept:
        shutil.copyfileobj(full, kept)
    os.truncate(log, 0)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200 * lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
