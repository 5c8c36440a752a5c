"""Messages in, and the work that never ends: the commit's deadlines, and an observer for every device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ems.ports import DeviceStore
from ems.usecases.commit import DeviceCommit
from ems.usecases.observe import Observer
from qkit.bus import Bus
from qmodel.contracts.commit import CommitAtEms, CommitReply, Outcome, OutcomeAtNms
from qmodel.errors import BellweaveError
from qmodel.ids import new_id

_log = structlog.get_logger(__name__)

_TEND_EVERY_S = 0.5
_RESUME_EVERY_S = 5.0
_ROSTER_EVERY_S = 2.0


class NmsLine:
    """The way up to the NMS that coordinates a change: `ems.ports.ParentLine` over the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def outcome(self, parent: str, change_id: str) -> Outcome:
        instance = parent.partition(".")[2]
        request = OutcomeAtNms(request_id=new_id("ask"), change_id=change_id)
        try:
            return (await self._bus.request(instance, request, timeout_s=3.0)).outcome
        except BellweaveError as error:
            _log.warning("outcome-unknown", change_id=change_id, parent=parent, detail=error.detail)
            return Outcome.UNDECIDED


def serve(bus: Bus, commit: DeviceCommit) -> None:
    """What this EMS answers on the bus."""

    async def handle(request: CommitAtEms) -> CommitReply:
        return await commit.handle(request)

    bus.serve(CommitAtEms, handle, concurrency=64)


async def tend(commit: DeviceCommit) -> None:
    """Let time work on changes."""
    while True:
        try:
            await commit.desk.tend()
        except BellweaveError as error:
            _log.warning("changes-not-tended", detail=error.detail)
        await asyncio.sleep(_TEND_EVERY_S)


async def resume(commit: DeviceCommit) -> None:
    """Take up what was left by a stop, or has members of unknown state. Apart from `tend`, so that a device
    that does not answer delays nobody's deadline."""
    while True:
        try:
            await commit.resume()
        except BellweaveError as error:
            _log.warning("changes-not-resumed", detail=error.detail)
        await asyncio.sleep(_RESUME_EVERY_S)


class Roster:
    """One observer per device, as devices come and go. `notify` makes it look at once."""

    def __init__(self, store: DeviceStore, make: Callable[[str], Observer]) -> None:
        self._store = store
        self._make = make
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._observers: dict[str, Observer] = {}
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    def moved(self, element: str, ended: bool) -> None:
        """The element's configuration may have changed; `ended`: for good."""
        if element in self._observers:
            self._observers[element].moved(ended)

    async def run(self) -> None:
        try:
            while True:
                await self._adjust()
                self._changed.clear()
                try:
                    async with asyncio.timeout(_ROSTER_EVERY_S):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _adjust(self) -> None:
        try:
            names = set(await self._store.device_names())
        except BellweaveError as error:
            _log.warning("devices-not-read", detail=error.detail)
            return
        for name, task in list(self._tasks.items()):
            if name not in names:
                task.cancel()
            if task.done():
                if not task.cancelled() and task.exception() is not None:
                    _log.error("observer-failed", element=name, error=repr(task.exception()))
                del self._tasks[name], self._observers[name]
        for name in names - self._tasks.keys():
            observer = self._observers[name] = self._make(name)
            self._tasks[name] = asyncio.create_task(observer.run())
