"""The changes that one process is working on: one at a time each, found again after a restart.

A service's message handlers and its reconcile loop come here; the desk serializes what happens to a change,
keeps its live state, and falls back to the durable row when this process has not seen it or lost its way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from qcommit.machine import Change, Input, Resumed, Tick, Told
from qcommit.runner import Runner
from qmodel.contracts.commit import Outcome, Verb, Vote

_log = logging.getLogger(__name__)


@dataclass
class _Live:
    change: Change
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    called_off: asyncio.Event = field(default_factory=asyncio.Event)


class Desk:
    """`load` reads a change's durable row (None: no such row). `epoch` is this process's own: a change
    found in the database is taken over under it."""

    def __init__(
        self, runner: Runner, load: Callable[[str], Awaitable[Change | None]], epoch: Callable[[], int]
    ) -> None:
        self._runner = runner
        self._load = load
        self._epoch = epoch
        self._live: dict[str, _Live] = {}
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[tuple[Change | None, Vote | None]]] = set()

    def open(self, change: Change) -> None:
        """Begin to work on a planned change; no effect if this process knows it already."""
        self._live.setdefault(change.change_id, _Live(change))

    def knows(self, change_id: str) -> bool:
        return change_id in self._live

    def is_active(self, change_id: str) -> bool:
        """Whether this process works on the change and it has not ended."""
        live = self._live.get(change_id)
        return live is not None and not live.change.phase.final

    async def begin(self, change: Change) -> tuple[Change | None, Vote | None]:
        """Run a planned change of the root to its end. Its row is durable already."""
        self.open(change)
        return await self.told(change.change_id, Verb.VALIDATE)

    async def told(self, change_id: str, verb: Verb) -> tuple[Change | None, Vote | None]:
        """Carry out the parent's verb and return the change with the answer.

        (None, None) for a change that neither this process nor its rows know. The work goes on when the
        caller stops waiting."""
        return await self._shielded(self._told(change_id, verb))

    async def resume(self, change_id: str) -> tuple[Change | None, Vote | None]:
        """Take a change over from its durable row, or try the unknown members of an ended one again."""
        return await self._shielded(self._resume(change_id))

    async def tend(self) -> None:
        """Let time work on every live change that nobody is working on; forget those that ended."""
        for change_id, live in list(self._live.items()):
            if live.lock.locked():
                continue
            if live.change.phase.final:
                self._live.pop(change_id, None)
                continue
            try:
                await self._shielded(self._perform(change_id, lambda _: Tick()))
            except Exception:
                _log.exception("change %s: will be taken up again from its row", change_id)

    async def close(self) -> None:
        """Stop working; what is under way ends as if the process had been killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _told(self, change_id: str, verb: Verb) -> tuple[Change | None, Vote | None]:
        live = await self._find(change_id)
        if live is not None and verb is Verb.ABORT and live.lock.locked():
            live.called_off.set()
        return await self._perform(change_id, lambda _: Told(verb))

    async def _resume(self, change_id: str) -> tuple[Change | None, Vote | None]:
        return await self._perform(change_id, _once_more)

    async def _perform(
        self, change_id: str, happens: Callable[[Change], Input]
    ) -> tuple[Change | None, Vote | None]:
        """Work on the change in turn. Whoever waited meanwhile may hold what was forgotten: it looks anew, or
        two would work on one change, one of them from a state that the row has left behind."""
        while (live := await self._find(change_id)) is not None:
            async with live.lock:
                if self._live.get(change_id) is live:
                    return await self._work(live, happens(live.change))
        return None, None

    async def _find(self, change_id: str) -> _Live | None:
        async with self._loading:
            live = self._live.get(change_id)
            if live is not None:
                return live
            change = await self._load(change_id)
            if change is None:
                return None
            live = self._live.setdefault(change_id, _Live(change))
        if not change.phase.final:
            async with live.lock:
                await self._work(live, Resumed(self._epoch()))
        return live

    async def _work(self, live: _Live, happened: Input) -> tuple[Change, Vote | None]:
        """The caller holds the lock."""
        try:
            live.change, vote = await self._runner.perform(live.change, happened, live.called_off)
        except BaseException:
            # What is in memory may be ahead of the row: only the row counts from here on.
            self._live.pop(live.change.change_id, None)
            raise
        return live.change, vote

    async def _shielded(
        self, work: Awaitable[tuple[Change | None, Vote | None]]
    ) -> tuple[Change | None, Vote | None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


def _once_more(change: Change) -> Input:
    """What a change taken up again is told: its verb again for the unknown members of an ended one."""
    if change.phase.final and change.unknown:
        return Told(Verb.CONFIRM if change.outcome is Outcome.COMMIT else Verb.ABORT)
    return Tick()
