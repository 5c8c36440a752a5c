"""What comes in over the bus: the SMS's quota questions, and its events of services and their usage.

`app` registers it. It decides nothing: each message goes to its use case, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bms.domain.quota import Amount, Quota
from bms.domain.rating import Usage
from bms.ports import KnownService, Unit, Units
from bms.usecases import quota, usage
from qkit.bus import Bus
from qkit.database import Connection
from qkit.events import EventMeta, Handlers
from qmodel.contracts import Done
from qmodel.contracts.bms import QuotaReply, ReleaseQuota, ReserveQuota
from qmodel.contracts.sms import ServiceStateChanged, ServiceUsage
from qmodel.errors import Invalid

Bind = Callable[[Connection], Unit]


class Requests:
    """Answers what the SMS asks. Both questions are idempotent by their order."""

    def __init__(self, units: Units) -> None:
        self._units = units

    def serve(self, bus: Bus) -> None:
        bus.serve(ReserveQuota, self.reserve)
        bus.serve(ReleaseQuota, self.release)

    async def reserve(self, ask: ReserveQuota) -> QuotaReply:
        amount = Amount.asked(ask.links, ask.key_rate_bps)
        async with self._units.begin() as unit:
            return _reply(await quota.reserve(unit, ask.tenant, ask.order_id, amount))

    async def release(self, ask: ReleaseQuota) -> Done:
        async with self._units.begin() as unit:
            await quota.release(unit, ask.tenant, ask.order_id)
        return Done()


class Events:
    """Handlers for the events of an SMS; `bind` makes a unit of a consumer's transaction."""

    def __init__(self, bind: Bind) -> None:
        self._bind = bind

    def handlers(self) -> Handlers:
        return {ServiceUsage: self._usage, ServiceStateChanged: self._service}

    async def _usage(self, conn: Connection, event: ServiceUsage, meta: EventMeta) -> None:
        await usage.record(
            self._bind(conn),
            Usage(
                usage_id=event.usage_id,
                tenant=event.tenant,
                service_id=event.service_id,
                link_id=event.link_id,
                unit=event.unit,
                quantity=event.quantity,
                period_start=_at(event.period_start),
                period_end=_at(event.period_end),
            ),
        )

    async def _service(self, conn: Connection, event: ServiceStateChanged, meta: EventMeta) -> None:
        await usage.learn_service(
            self._bind(conn),
            KnownService(
                service_id=event.service_id,
                tenant=event.tenant,
                order_id=event.order_id,
                kind=event.kind,
                state=event.state.value,
                changed_at=_at(event.at),
            ),
        )


def _reply(held: Quota) -> QuotaReply:
    return QuotaReply(
        links_used=held.links_used,
        links_limit=held.links_limit,
        key_rate_used_bps=held.key_rate_used_bps,
        key_rate_limit_bps=held.key_rate_limit_bps,
    )


def _at(time: datetime) -> datetime:
    """A point in time. Raises Invalid for one that does not say where."""
    if time.tzinfo is None:
        raise Invalid("a time without an offset from UTC is no point in time")
    return time
