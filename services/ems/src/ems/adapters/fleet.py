"""The sessions of all devices: one for commits and reads per device, opened when needed, kept while it lives.

Implements `ems.ports.DeviceHands` over any `DeviceAdapter`. Use cases come here instead of opening sessions;
traits that a session finds out are stored at once.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from ems.domain.configuration import Configuration
from ems.domain.device import Traits
from ems.domain.observation import Operational, Step
from ems.domain.snapshot import Snapshot
from ems.ports import DeviceAdapter, DeviceSession, DeviceStore, DeviceWatch, Order, Sight
from qcommit.device import Action, Seen
from qmodel.errors import BellweaveError

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass
class _Held:
    session: DeviceSession
    traits: Traits
    change_id: str | None = None
    believed: Snapshot | None = None


class Fleet:
    """`at_once` bounds how many logins are under way at the same time."""

    def __init__(self, adapter: DeviceAdapter, store: DeviceStore, *, at_once: int) -> None:
        self._adapter = adapter
        self._store = store
        self._held: dict[str, _Held] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._logins = asyncio.Semaphore(at_once)

    def staged(self, element: str, change_id: str) -> bool:
        held = self._held.get(element)
        return held is not None and held.session.alive and held.session.staged and held.change_id == change_id

    async def act(self, element: str, action: Action, order: Order) -> Sight:
        try:
            held = await self._session(element)
            step = await self._step(held, action, order)
        except BellweaveError as error:
            return Sight(Seen.UNREACHABLE, detail=error.detail, where=element)
        try:
            await self._remember(element, held, step)
        except BellweaveError as error:  # what was seen counts all the same; the trait is found again
            _log.warning("trait-not-kept", element=element, detail=error.detail)
        if step.seen is Seen.UNREACHABLE:
            await self.drop(element)
        detail = None if step.error is None else step.error.detail
        where = None if step.error is None else f"{element}{step.error.where or ''}"
        return Sight(_seen(action, step.seen), step.running, detail, where)

    async def _step(self, held: _Held, action: Action, order: Order) -> Step:
        session, before, target = held.session, order.before, order.target
        held.change_id = order.change_id
        match action:
            case Action.READ:
                return await session.read(before=before, target=target)
            case Action.STAGE:
                return await session.stage(target, believed=held.believed)
            case Action.PROVISION:
                return await session.provision(
                    order.persist_id,
                    math.ceil(order.confirm_timeout_s),
                    before=before or Snapshot(),
                    target=target,
                )
            case Action.CONFIRM:
                return await session.confirm(order.persist_id, target=target, before=before)
            case Action.CANCEL:
                return await session.cancel(order.persist_id, before=before or Snapshot(), target=target)
            case Action.DISCARD:
                return await session.discard(before=before)
            case Action.APPLY:
                return await session.apply(target, persist_id=order.persist_id, before=before)
            case Action.RESTORE:
                return await session.apply(before or Snapshot(), persist_id=order.persist_id, before=target)

    async def read_operational(self, element: str) -> Operational:
        """Raises `DeviceError`, `Unavailable`, `TimedOut`, `NotFound`."""
        held = await self._session(element)
        return await self._kept(element, held, held.session.read_operational())

    async def configuration(self, element: str) -> Configuration:
        """Everything that the device runs. Raises as `read_operational` does."""
        held = await self._session(element)
        return await self._kept(element, held, held.session.configuration())

    async def replace(self, element: str, target: Configuration) -> Configuration:
        """Raises as `read_operational` does."""
        held = await self._session(element)
        held.change_id = held.believed = None
        return await self._kept(element, held, held.session.replace(target))

    async def _kept(self, element: str, held: _Held, asked: Awaitable[T]) -> T:
        """What was asked of the device; a session that broke over it is dropped."""
        try:
            return await asked
        except BellweaveError:
            if not held.session.alive:
                await self.drop(element)
            raise

    async def watch(self, element: str) -> DeviceWatch:
        """A subscription to the device's notifications. Raises as `read_operational` does."""
        access = await self._store.access(element)
        async with self._logins:
            return await self._adapter.watch(access.address, access.login)

    async def drop(self, element: str) -> None:
        held = self._held.pop(element, None)
        if held is not None:
            await held.session.close()

    async def close(self) -> None:
        await asyncio.gather(*(self.drop(element) for element in list(self._held)))

    async def _session(self, element: str) -> _Held:
        async with self._opening[element]:
            held = self._held.get(element)
            if held is not None and held.session.alive:
                return held
            await self.drop(element)
            access = await self._store.access(element)
            async with self._logins:
                session = await self._adapter.open(access.address, access.login, access.traits)
            held = self._held[element] = _Held(session, access.traits)
            return held

    async def _remember(self, element: str, held: _Held, step: Step) -> None:
        if step.running is not None:
            held.believed = step.running
        if step.traits != held.traits:
            _log.info("trait-found", element=element, traits=step.traits.model_dump(exclude_none=True))
            await self._store.set_traits(element, step.traits)
            held.traits = step.traits


def _seen(action: Action, seen: Seen) -> Seen:
    """`apply` towards the configuration before calls that its target; for the change it is BEFORE."""
    if action is not Action.RESTORE:
        return seen
    return {Seen.TARGET: Seen.BEFORE, Seen.BEFORE: Seen.TARGET}.get(seen, seen)
