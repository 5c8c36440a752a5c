"""Carries out what the machine says: saves, sends, waits, and feeds back what was heard.

Every service constructs one `Runner` per level with its own `Log` (durable rows) and `Members` (messages to
peers or devices). A change is worked on by one `perform` at a time; the caller holds its lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from qcommit.machine import (
    Answer,
    AskParent,
    Change,
    Effect,
    Heard,
    Input,
    Learned,
    Limits,
    Save,
    Send,
    Tick,
    Told,
)
from qcommit.transitions import step
from qmodel.contracts.commit import Outcome, Verb, Vote


class Log(Protocol):
    """The durable rows of changes."""

    async def save(self, change: Change) -> None:
        """Write the change; raises when another process has taken it over (its epoch is higher)."""


class Members(Protocol):
    """Who is told: EMSs of an NMS, devices of an EMS. Both calls have their own time limits."""

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        """Tell `member` the verb and hear its vote; `vote` None when no answer came. Raises nothing."""

    async def ask_parent(self, change: Change) -> Outcome:
        """The parent's outcome; UNDECIDED also when it cannot be reached. Raises nothing."""


@dataclass
class _Flight:
    """What is under way for one `perform`."""

    tasks: set[asyncio.Task[Input]] = field(default_factory=set)
    answer: Vote | None = None


class Runner:
    """Runs changes of one level. `now_s` is real time in seconds since 1970."""

    def __init__(self, log: Log, members: Members, now_s: Callable[[], float], limits: Limits) -> None:
        self._log = log
        self._members = members
        self._now_s = now_s
        self.limits = limits

    async def perform(
        self, change: Change, happened: Input, called_off: asyncio.Event | None = None
    ) -> tuple[Change, Vote | None]:
        """Work on the change until the verb under way is answered, or nothing is left to wait for.

        Returns the change as it now stands and the answer (None: nothing to answer yet, try again later).
        At the root one call runs from plan to end. Once `called_off` is set, the parent's ABORT is taken at
        once. An error of the log stops the work where it is; the durable row says how it goes on.
        """
        flight = _Flight()
        waiting = {asyncio.create_task(_called_off(called_off or asyncio.Event()))}
        try:
            change = await self._advance(change, happened, flight)
            while flight.answer is None and flight.tasks:
                patience_s = max(0.0, change.deadline_s - self._now_s())
                done, _ = await asyncio.wait(
                    {*flight.tasks, *waiting}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                flight.tasks -= done
                waiting -= done
                for task in done:
                    change = await self._advance(change, task.result(), flight)
                if not done:
                    change = await self._advance(change, Tick(), flight)
            return change, flight.answer
        finally:
            for task in (*flight.tasks, *waiting):
                task.cancel()
            await asyncio.gather(*flight.tasks, *waiting, return_exceptions=True)

    async def _advance(self, change: Change, happened: Input, flight: _Flight) -> Change:
        change, effects = step(change, happened, self._now_s(), self.limits)
        for effect in effects:
            await self._carry_out(change, effect, flight)
        return change

    async def _carry_out(self, change: Change, effect: Effect, flight: _Flight) -> None:
        match effect:
            case Save():
                await self._log.save(change)
            case Send():
                flight.tasks.add(asyncio.create_task(self._send(change, effect)))
            case AskParent():
                flight.tasks.add(asyncio.create_task(self._ask(change)))
            case Answer(vote):
                flight.answer = vote

    async def _send(self, change: Change, send: Send) -> Input:
        wait_s = send.not_before_s - self._now_s()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return await self._members.tell(change, send.member, send.verb)

    async def _ask(self, change: Change) -> Input:
        return Learned(await self._members.ask_parent(change))


async def _called_off(event: asyncio.Event) -> Input:
    await event.wait()
    return Told(Verb.ABORT)
