"""Alarms of devices, as their EMS tells them: kept, and handed to healing.

`worker` calls it for every `AlarmChanged`. It judges no cause: that is `domain.rootcause`, when `heal` looks
at all alarms together.
"""

from __future__ import annotations

from datetime import datetime

from nms.ports import HEAL_LOOP, NETWORK_KEY, Unit
from nms.usecases.topology import Networks
from qmodel.contracts.ems import AlarmChanged


class Alarms:
    """`hold_off_s` (real time): how long symptoms are gathered before anything is concluded from them."""

    def __init__(self, networks: Networks, *, hold_off_s: float) -> None:
        self._networks = networks
        self._hold_off_s = hold_off_s

    async def changed(self, unit: Unit, ems: str, event: AlarmChanged, heard_at: datetime) -> None:
        """An alarm was raised, changed or cleared. One that is older than what is known is passed over.

        Raises Forbidden when the EMS speaks for another one's element."""
        await self._networks.check_source(unit, ems, event.alarm.element)
        if await unit.take_alarm(ems, event.alarm, heard_at):
            await unit.wake(HEAL_LOOP, NETWORK_KEY, self._hold_off_s)
