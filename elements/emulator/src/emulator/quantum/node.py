"""The element of one node of the world: what its configuration does there, and what it tells of it."""

from __future__ import annotations

from emulator.element import Behaviour
from emulator.netconf.device import Device, Provider
from emulator.quantum.inventory import Inventory
from emulator.quantum.names import ELEMENT_ALARM
from emulator.quantum.setup import setup_of
from emulator.quantum.state import NodeState, alarm_record
from emulator.world.world import World
from qmodel.topology import Node
from qyang.schema import Schema
from qyang.tree import Record


class QuantumNode(Behaviour):
    """A part of the world."""

    def __init__(self, node: Node, world: World, schema: Schema) -> None:
        self._node = node
        self._world = world
        self._schema = schema
        self._inventory = Inventory.of(world.plant, node)
        self._state = NodeState(world, self._inventory)

    def factory_config(self) -> Record:
        return self._inventory.factory_config()

    def check(self, tree: Record) -> None:
        self._inventory.check_present(self._schema, tree)

    def providers(self) -> dict[str, Provider]:
        return self._state.providers()

    def configure(self, running: Record) -> None:
        self._state.setup = setup_of(running)
        self._world.configure(self._node.id, self._state.setup)

    def start(self, device: Device) -> None:
        self._world.on_alarm[self._node.id] = lambda alarm: device.notify(ELEMENT_ALARM, alarm_record(alarm))

    def stop(self) -> None:
        self._world.on_alarm.pop(self._node.id, None)
