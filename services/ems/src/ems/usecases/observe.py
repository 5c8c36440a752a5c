"""Keeps looking at one device: its state by reading, its alarms as they come, its counters into usage, its
configuration by the audit.

`worker` runs one `Observer` per device. A reading that an alarm overtook does not touch alarms, so that an
old reading never clears a new alarm; of one that a change overtook only the counters count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from ems.domain.managed import ManagedState
from ems.domain.observation import ActiveAlarm
from ems.domain.report import Report, Told, of_alarm, of_reading, of_silence
from ems.ports import DeviceFleet, DeviceStore, ReportStore
from ems.usecases.audit import Audit
from qkit.tasks import together
from qmodel.errors import BellweaveError

_SAMPLE_EVERY = 10
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0


class Observer:
    """Watches `element` until cancelled. `now` is the domain clock, `poll_s` real time between readings."""

    def __init__(
        self,
        element: str,
        fleet: DeviceFleet,
        devices: DeviceStore,
        reports: ReportStore,
        audit: Audit,
        *,
        now: Callable[[], datetime],
        poll_s: float,
        silence_s: float,
    ) -> None:
        self.element = element
        self._fleet = fleet
        self._devices = devices
        self._reports = reports
        self._audit = audit
        self._now = now
        self._poll_s = poll_s
        self._silence_s = silence_s
        self._alarms_seen = 0
        self._moves = 0
        self._readings = 0
        self._read_at: datetime | None = None
        self._look = asyncio.Event()

    def moved(self, ended: bool) -> None:
        """The element's configuration may have changed: what is being read now no longer tells how it is.
        Once the change has ended it is read anew."""
        self._moves += 1
        if ended:
            self._look.set()
            self._audit.look()

    async def run(self) -> None:
        await together(self._read_on(), self._listen_on(), self._audit.run())

    async def _read_on(self) -> None:
        silent_s = 0.0
        while True:
            try:
                await self._read()
                silent_s = 0.0
                await self._reachable()
            except BellweaveError as error:
                silent_s += self._poll_s
                if silent_s >= self._silence_s:
                    await self._silent(error.detail)
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._look.wait()
            except TimeoutError:
                continue
            self._look.clear()

    async def _read(self) -> None:
        alarms_before, moves_before = self._alarms_seen, self._moves
        seen = await self._fleet.read_operational(self.element)
        self._readings += 1
        sample = self._readings % _SAMPLE_EVERY == 1
        at = seen.at or self._now()
        since, self._read_at = self._read_at or at, at

        def decide(told: Told) -> Report:
            moved = self._moves != moves_before
            current = not moved and self._alarms_seen == alarms_before
            report = of_reading(self.element, told, seen, at, since, with_alarms=current, with_samples=sample)
            return replace(report, readiness=None) if moved else report  # what was counted counts

        await self._reports.record(self.element, decide)

    async def _listen_on(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                watch = await self._fleet.watch(self.element)
            except BellweaveError:
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
                continue
            retry_s = _FIRST_RETRY_S
            self._look.set()  # whatever happened while nobody listened is read now
            self._audit.look()
            try:
                while True:
                    event = await watch.next_event()
                    if isinstance(event, ActiveAlarm):
                        await self._alarm(event)
                    else:
                        self._audit.look()
                    self._look.set()
            except BellweaveError:
                await watch.close()
            except asyncio.CancelledError:
                await watch.close()
                raise

    async def _alarm(self, alarm: ActiveAlarm) -> None:
        self._alarms_seen += 1
        await self._reports.record(self.element, lambda told: of_alarm(alarm, alarm.at))

    async def _reachable(self) -> None:
        device = await self._devices.device(self.element) if self._readings % _SAMPLE_EVERY == 1 else None
        if device is not None and device.state is ManagedState.UNREACHABLE:
            await self._devices.set_state(self.element, ManagedState.MANAGED, None)

    async def _silent(self, reason: str) -> None:
        at = self._now()
        await self._reports.record(self.element, lambda told: of_silence(self.element, told, reason, at))
        device = await self._devices.device(self.element)
        if device.state is ManagedState.MANAGED:
            await self._devices.set_state(self.element, ManagedState.UNREACHABLE, reason)
