"""A network of emulated elements in one process: the world, an element per own node, the control door.

`serve_network` is the way in, for the command and for tests. What the elements are and where they listen is
written to `elements.json` in the state folder once all of them listen.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.control import ControlDoor
from emulator.datastore.durable import JsonFile, read_json, write_durably
from emulator.element import Element
from emulator.netconf.abilities import QUANTUM_NODE, netconf_modules
from emulator.netconf.capabilities import SelfDescription
from emulator.netconf.server import Access, ServerLimits
from emulator.quantum.node import QuantumNode
from emulator.world.plant import Line, Plant
from emulator.world.world import World
from qmodel.clock import DomainClock
from qmodel.errors import NotFound
from qmodel.topology import Topology
from qmodel.yang import QUANTUM_NODE_MODULES, module_dirs
from qyang.schema import Schema
from qyang.validation import Validator

_log = logging.getLogger(__name__)
_DISK_THREADS = 8
_STARTS_AT_ONCE = 16


@dataclass(frozen=True)
class NetworkSettings:
    """Where and for whom the elements listen. `port_base` 0 takes free ports, which stay the same over
    restarts; `tick_s` is real time between two publications of counters."""

    access: Access
    host: str = "127.0.0.1"
    port_base: int = 0
    tick_s: float = 0.5
    limits: ServerLimits = field(default_factory=ServerLimits)


class Network:
    """The running network."""

    def __init__(
        self, topologies: Sequence[Topology], state_dir: Path, clock: DomainClock, settings: NetworkSettings
    ) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state_dir = state_dir
        self.settings = settings
        self._executor = ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk")
        self._world_file = JsonFile(state_dir / "world.json", self._executor)
        self._counters_file = JsonFile(state_dir / "counters.json", self._executor)
        self.world = World(Plant(topologies), clock, self._world_file.read())
        stored = self._counters_file.read()
        if stored is not None:
            self.world.counters.restore(stored["counters"])
        schema = Schema(dict.fromkeys((*QUANTUM_NODE_MODULES, *netconf_modules(QUANTUM_NODE))), module_dirs())
        about, validator = SelfDescription(schema, QUANTUM_NODE), Validator(schema)
        self.elements: dict[str, Element] = {}
        self._nodes = {str(node.element): node for node in self.world.plant.elements()}
        for name, node in self._nodes.items():
            behaviour = QuantumNode(node, self.world, schema)
            home = state_dir / "elements" / name
            self.elements[name] = Element(name, behaviour, about, validator, home, self._executor)
        self.control = ControlDoor(self)
        self._ticking: asyncio.Task[None] | None = None
        self._saving = asyncio.Lock()

    def element(self, name: str) -> Element:
        """Raises NotFound."""
        if name not in self.elements:
            raise NotFound(f"no element {name!r}")
        return self.elements[name]

    async def start(self) -> None:
        """All elements listen, then `elements.json` is written. Raises OSError if a given port is taken."""
        known = read_json(self.state_dir / "ports.json") or {}
        gate = asyncio.Semaphore(_STARTS_AT_ONCE)

        async def start_one(index: int, element: Element) -> None:
            async with gate:
                await self._start_element(element, index, known.get(element.name, 0))

        await asyncio.gather(*(start_one(i, each) for i, each in enumerate(self.elements.values())))
        ports = {name: element.port for name, element in self.elements.items()}
        write_durably(self.state_dir / "ports.json", json.dumps(ports).encode())
        await self.control.start()
        write_durably(self.state_dir / "elements.json", json.dumps(self.listing(), indent=1).encode())
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Ends sessions, publishes what was counted, and stops. Unconfirmed commits are undone at the next
        start, or now if they belonged to a session."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await self.control.close()
        await asyncio.gather(*(element.close() for element in self.elements.values()))
        await self.save()
        self._executor.shutdown(wait=True)

    def listing(self) -> dict[str, Any]:
        """What `elements.json` holds: where each element listens, and the control door."""
        elements = [
            {
                "name": element.name,
                "element": element.name,
                "node": self._nodes[element.name].id,
                "operator": self._nodes[element.name].operator,
                "ems": self._nodes[element.name].ems,
                "host": self.settings.host,
                "port": element.port,
                "user": self.settings.access.user,
                "host_key": element.host_key.export_public_key("openssh").decode().strip(),
            }
            for element in self.elements.values()
        ]
        return {"elements": elements, "control": {"socket": str(self.control.path)}}

    async def cut(self, name: str) -> list[Line]:
        lines = self.world.cut(name)
        await self.save()
        return lines

    async def splice(self, name: str) -> list[Line]:
        lines = self.world.splice(name)
        await self.save()
        return lines

    async def save(self) -> None:
        """Counters up to now become durable and are published; so do cuts and warm lasers."""
        async with self._saving:
            self.world.settle_all()
            rows = self.world.counters.snapshot()
            if rows is not None:
                await self._counters_file.write({"counters": rows})
                self.world.counters.publish(rows)
            stored = self.world.to_store()
            if stored is not None:
                await self._world_file.write(stored)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.settings.tick_s)
            try:
                await self.save()
            except OSError:
                _log.exception("the world could not be saved; counters stay where they are")

    async def _start_element(self, element: Element, index: int, known_port: int) -> None:
        settings = self.settings
        port = settings.port_base + index if settings.port_base else known_port
        try:
            await element.start(settings.host, port, settings.access, settings.limits)
        except OSError:
            if settings.port_base or not known_port:
                raise
            _log.warning("%s: port %d is taken by somebody else; taking another", element.name, known_port)
            await element.start(settings.host, 0, settings.access, settings.limits)


@asynccontextmanager
async def serve_network(
    topologies: Sequence[Topology], state_dir: Path, clock: DomainClock, settings: NetworkSettings
) -> AsyncIterator[Network]:
    """A network that serves while the context is open."""
    network = Network(topologies, state_dir, clock, settings)
    try:
        await network.start()
        yield network
    finally:
        await network.close()
