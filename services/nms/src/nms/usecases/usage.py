"""Usage of links: each count of a metered counter is passed on once, whoever tells it how often.

`worker` calls it for every `UsageCounted`.
"""

from __future__ import annotations

import hashlib

from nms.ports import Unit
from nms.usecases.topology import Networks
from qmodel.contracts.ems import UsageCounted
from qmodel.contracts.nms import LinkUsage
from qmodel.errors import Invalid, NotFound


class Usages:
    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    async def counted(self, unit: Unit, ems: str, event: UsageCounted) -> None:
        """Pass on what is new in a span; also for a link that has been removed since.

        Raises Invalid for a span that runs backwards, NotFound for a link that never was, Forbidden when the
        EMS speaks for another one's element."""
        await self._networks.check_source(unit, ems, event.element)
        if event.to_count < event.from_count:
            raise Invalid("the counter runs backwards", where="/to_count")
        if not await unit.links([event.link_id]):
            raise NotFound(f"no link {event.link_id}", where="/link_id")
        quantity = await unit.count_usage(event)
        if quantity == 0:
            return
        await unit.emit(
            LinkUsage(
                operator=self._networks.operator,
                link_id=event.link_id,
                usage_id=usage_id(self._networks.operator, event),
                unit=event.unit,
                quantity=quantity,
                period_start=event.period_start,
                period_end=event.period_end,
            )
        )


def usage_id(operator: str, event: UsageCounted) -> str:
    """The same for the same span of the same counter."""
    counter = (operator, event.element, event.link_id, event.unit, event.boot_id)
    span = (str(event.from_count), str(event.to_count))
    return "use_" + hashlib.sha256("\n".join((*counter, *span)).encode()).hexdigest()[:40]
