"""Elements of any YANG modules, without a world behind them: they keep what they are told.

For whoever tests a NETCONF client. All elements of a process share one schema.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulator.element import Behaviour, Element
from emulator.netconf.abilities import ALL, Abilities, netconf_modules
from emulator.netconf.capabilities import SelfDescription
from emulator.netconf.server import Access, ServerLimits
from qmodel.yang import module_dirs
from qyang.module_set import module_set
from qyang.schema import Schema
from qyang.validation import Validator

_DISK_THREADS = 4
_STARTS_AT_ONCE = 16


@dataclass(frozen=True)
class Serving:
    """`modules` are looked for in `folders`, then among the IETF's and IANA's; `features` are
    `module:feature`, None means all. `port` is the first of `count` in a row, 0 takes free ones."""

    modules: Sequence[str]
    access: Access
    folders: Sequence[Path] = ()
    features: Sequence[str] | None = None
    abilities: Abilities = ALL
    host: str = "127.0.0.1"
    port: int = 0
    count: int = 1
    limits: ServerLimits = field(default_factory=ServerLimits)


@asynccontextmanager
async def serve_modules(serving: Serving, state_dir: Path) -> AsyncIterator[list[Element]]:
    """The elements, listening while the context is open.

    Raises Invalid for modules that are not there or make no sense together, OSError if a port is taken."""
    folders = (*serving.folders, *module_dirs())
    base = netconf_modules(serving.abilities)
    schema = Schema(module_set(serving.modules, folders, serving.features, base), folders)
    about, validator = SelfDescription(schema, serving.abilities), Validator(schema)
    with ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk") as executor:
        elements = [
            Element(name, Behaviour(), about, validator, state_dir / name, executor)
            for name in (f"element-{number}" for number in range(1, serving.count + 1))
        ]
        try:
            await _start(elements, serving)
            yield elements
        finally:
            await asyncio.gather(*(element.close() for element in elements))


async def _start(elements: Sequence[Element], serving: Serving) -> None:
    gate = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def start(index: int, element: Element) -> None:
        async with gate:
            port = serving.port + index if serving.port else 0
            await element.start(serving.host, port, serving.access, serving.limits)

    await asyncio.gather(*(start(index, element) for index, element in enumerate(elements)))
