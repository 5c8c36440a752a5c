"""One emulated element: its datastores, what it does about them, and the NETCONF server in front of both."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import asyncssh

from emulator.datastore.durable import JsonFile, write_durably
from emulator.datastore.store import ConfigChanged, ConfirmEvent, Datastores
from emulator.faults import Faults
from emulator.netconf.capabilities import SelfDescription
from emulator.netconf.device import Device, Provider
from emulator.netconf.server import Access, NetconfServer, ServerLimits
from qyang.tree import Record
from qyang.validation import Validator


class Behaviour:
    """What an element is beyond its datastores. This one is nothing: it keeps what it is told."""

    def factory_config(self) -> Record:
        return Record()

    def check(self, tree: Record) -> None:
        """Refuses (RpcError) a configuration that YANG allows and this element cannot have."""

    def providers(self) -> dict[str, Provider]:
        """Operational state by top-level instance name."""
        return {}

    def configure(self, running: Record) -> None:
        """Running is this from now on."""

    def start(self, device: Device) -> None:
        """The element is about to listen; `device` sends notifications."""

    def stop(self) -> None:
        """The element is about to close."""


class Element:
    """A named element of some behaviour."""

    def __init__(
        self,
        name: str,
        behaviour: Behaviour,
        about: SelfDescription,
        validator: Validator,
        home: Path,
        executor: Executor,
    ) -> None:
        """`home` is where the element keeps its state; it is made if it is not there."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = name
        self.faults = Faults()
        self._behaviour = behaviour
        file = JsonFile(home / "datastores.json", executor)
        self.stores = Datastores(about.schema, validator, file, behaviour.factory_config(), about.datastores)
        self.stores.device_check = behaviour.check
        self.stores.listeners.append(self._take_effect)
        self.device = Device(self.name, about, self.stores, behaviour.providers(), self.faults)
        self._server: NetconfServer | None = None
        self.host_key = _host_key(home / "host_key")
        self.port = 0

    async def start(self, host: str, port: int, access: Access, limits: ServerLimits) -> None:
        """Takes up its stored configuration and listens; port 0 takes a free one."""
        await self.stores.load()
        self._behaviour.configure(self.stores.running)
        self._behaviour.start(self.device)
        self._server = NetconfServer(self.device, self.host_key, access, limits)
        self.port = await self._server.start(host, port)

    async def close(self) -> None:
        self._behaviour.stop()
        if self._server is not None:
            await self._server.close()
        await self.stores.close()

    def _take_effect(self, event: ConfigChanged | ConfirmEvent) -> None:
        if isinstance(event, ConfigChanged):
            self._behaviour.configure(self.stores.running)


def _host_key(path: Path) -> asyncssh.SSHKey:
    """The element's own key, made once."""
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519")
    write_durably(path, key.export_private_key("openssh"))
    return key
