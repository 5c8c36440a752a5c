"""One emulated element: its datastores, its part of the world, and the NETCONF server in front of both."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import asyncssh

from emulator.datastore.durable import JsonFile, write_durably
from emulator.datastore.store import ConfigChanged, ConfirmEvent, Datastores
from emulator.faults import Faults
from emulator.netconf.capabilities import SelfDescription
from emulator.netconf.device import Device
from emulator.netconf.server import Access, NetconfServer, ServerLimits
from emulator.quantum.inventory import Inventory
from emulator.quantum.names import ELEMENT_ALARM
from emulator.quantum.setup import setup_of
from emulator.quantum.state import NodeState, alarm_record
from emulator.world.world import World, WorldAlarm
from qmodel.topology import Node
from qyang.validation import Validator


class Element:
    """The element of one node of the world."""

    def __init__(
        self,
        node: Node,
        world: World,
        about: SelfDescription,
        validator: Validator,
        home: Path,
        executor: Executor,
    ) -> None:
        """`home` is where the element keeps its state; it is made if it is not there."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        assert node.element is not None
        self.name = node.element
        self.node = node
        self.faults = Faults()
        self._world = world
        self._home = home
        inventory = Inventory.of(world.plant, node)
        self._state = NodeState(world, inventory)
        self.stores = Datastores(
            about.schema, validator, JsonFile(home / "datastores.json", executor), inventory.factory_config()
        )
        self.stores.device_check = lambda tree: inventory.check_present(about.schema, tree)
        self.stores.listeners.append(self._take_effect)
        self.device = Device(self.name, about, self.stores, self._state.providers(), self.faults)
        self._server: NetconfServer | None = None
        self.host_key = _host_key(home / "host_key")
        self.port = 0

    async def start(self, host: str, port: int, access: Access, limits: ServerLimits) -> None:
        """Takes up its stored configuration and listens; port 0 takes a free one."""
        await self.stores.load()
        self._configure()
        self._world.on_alarm[self.node.id] = self._tell_alarm
        self._server = NetconfServer(self.device, self.host_key, access, limits)
        self.port = await self._server.start(host, port)

    async def close(self) -> None:
        self._world.on_alarm.pop(self.node.id, None)
        if self._server is not None:
            await self._server.close()
        await self.stores.close()

    def _take_effect(self, event: ConfigChanged | ConfirmEvent) -> None:
        if isinstance(event, ConfigChanged):
            self._configure()

    def _configure(self) -> None:
        self._state.setup = setup_of(self.stores.running)
        self._world.configure(self.node.id, self._state.setup)

    def _tell_alarm(self, alarm: WorldAlarm) -> None:
        self.device.notify(ELEMENT_ALARM, alarm_record(alarm))


def _host_key(path: Path) -> asyncssh.SSHKey:
    """The element's own key, made once."""
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519")
    write_durably(path, key.export_private_key("openssh"))
    return key
