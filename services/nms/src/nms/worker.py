"""What comes in over the bus: requests of the SMS and of EMSs in doubt, events of our EMSs.

`app` registers it. It parses nothing itself and decides nothing: each message goes to its use case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from nms.ports import Binder, Store
from nms.usecases.alarm import Alarms
from nms.usecases.commit import Commits
from nms.usecases.link import Links
from nms.usecases.place import Places
from nms.usecases.settle import Settler
from nms.usecases.usage import Usages
from qcommit.desk import Desk
from qkit.bus import Bus
from qkit.database import Connection
from qkit.events import Consumer, EventMeta, Handlers
from qmodel.contracts import Done
from qmodel.contracts.commit import CommitAtNms, OutcomeAtNms, OutcomeReply
from qmodel.contracts.ems import AlarmChanged, ElementReadiness, UsageCounted
from qmodel.contracts.nms import Describe, DropChange, OfferBorders, PlaceLinks, RemoveLinks
from qmodel.errors import BellweaveError

_LOOK_S = 1.0
_TEND_S = 0.5
_RESTART_S = 2.0


class Requests:
    """Handlers of what we are asked; all are idempotent by the change that they name."""

    def __init__(self, places: Places, commits: Commits, settler: Settler) -> None:
        self._places = places
        self._commits = commits
        self._settler = settler

    def serve(self, bus: Bus) -> None:
        bus.serve(Describe, lambda ask: self._places.describe())
        bus.serve(OfferBorders, self._places.offers)
        bus.serve(PlaceLinks, self._places.place, concurrency=4)
        bus.serve(RemoveLinks, self._places.remove)
        bus.serve(DropChange, self._drop)
        bus.serve(CommitAtNms, self._commits.handle, concurrency=64)
        bus.serve(OutcomeAtNms, self._outcome)

    async def _drop(self, ask: DropChange) -> Done:
        await self._settler.drop(ask.change_id)
        return Done()

    async def _outcome(self, ask: OutcomeAtNms) -> OutcomeReply:
        return OutcomeReply(change_id=ask.change_id, outcome=await self._commits.outcome(ask.change_id))


class Events:
    """Handlers of what our EMSs tell."""

    def __init__(self, store: Binder, links: Links, alarms: Alarms, usages: Usages) -> None:
        self._store = store
        self._links = links
        self._alarms = alarms
        self._usages = usages

    def handlers(self) -> Handlers:
        return {ElementReadiness: self._readiness, AlarmChanged: self._alarm, UsageCounted: self._usage}

    async def _readiness(self, conn: Connection, event: ElementReadiness, meta: EventMeta) -> None:
        await self._links.reported(self._store.unit(conn), meta.source, event, meta.time)

    async def _alarm(self, conn: Connection, event: AlarmChanged, meta: EventMeta) -> None:
        await self._alarms.changed(self._store.unit(conn), meta.source, event, meta.time)

    async def _usage(self, conn: Connection, event: UsageCounted, meta: EventMeta) -> None:
        await self._usages.counted(self._store.unit(conn), meta.source, event)


class Listeners:
    """Consumes the events of every EMS that the topology names, from the moment it names it."""

    def __init__(self, store: Store, operator: str, consumer: Callable[[str], Consumer]) -> None:
        self._store = store
        self._operator = operator
        self._consumer = consumer
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("nms.listeners")

    async def run(self) -> None:
        """Look for new EMSs until cancelled; an interrupted consumer starts again."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _look(self) -> None:
        try:
            sources = await self._sources()
        except BellweaveError as error:
            self._log.warning("topology-not-read", detail=error.detail)
            return
        for source in sources:
            if source not in self._tasks:
                self._log.info("listening", source=source)
                self._tasks[source] = asyncio.create_task(self._listen(source))

    async def _sources(self) -> list[str]:
        row = await self._store.run(lambda unit: unit.topology())
        if row is None:
            return []
        names = {node.ems for node in row.topology.nodes if node.ems and node.operator == self._operator}
        return sorted(f"ems.{name.removeprefix('ems.')}" for name in names)

    async def _listen(self, source: str) -> None:
        while True:
            try:
                await self._consumer(source).run()
            except Exception:
                self._log.exception("listening-interrupted", source=source)
            await asyncio.sleep(_RESTART_S)


async def keep_time(desk: Desk) -> None:
    """Let time work on open changes: deadlines, and doubts that the parent resolves."""
    while True:
        await desk.tend()
        await asyncio.sleep(_TEND_S)
