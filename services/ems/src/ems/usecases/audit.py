"""Looks after one device's configuration: at once when the device tells of a change, otherwise on a schedule.

`observe` runs one beside its readings and wakes it. Devices without notifications are found by the schedule.
"""

from __future__ import annotations

import asyncio

import structlog

from ems.usecases.datastores import Datastores
from qmodel.errors import BellweaveError, Conflict

_log = structlog.get_logger(__name__)

_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0


class Audit:
    """`every_s` is real time between looks when nothing is told."""

    def __init__(self, element: str, datastores: Datastores, *, every_s: float) -> None:
        self._element = element
        self._datastores = datastores
        self._every_s = every_s
        self._wanted = asyncio.Event()
        self._wanted.set()

    def look(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async with asyncio.timeout(self._every_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                found = await self._datastores.follow(self._element)
                retry_s = _FIRST_RETRY_S
                if found.difference:
                    _log.info("drift", element=self._element, leaves=len(found.difference))
            except BellweaveError as error:
                if not isinstance(error, Conflict):  # a change is at work: it wakes us when it has ended
                    _log.info("not-audited", element=self._element, detail=error.detail, where=error.where)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
                self._wanted.set()
