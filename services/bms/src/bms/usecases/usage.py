"""Usage's life: it is recorded once, rated at once or as soon as it can be, and never lost.

The worker calls `record` and `learn_service` in the consumer's transaction, and `Rating` from its loop.
"""

from __future__ import annotations

from bms.domain.rating import Charge, Usage, rate
from bms.ports import RATING_LOOP, KnownService, Unit, Units

_LOOK_AGAIN_S = 2.0
_BATCH = 200


async def record(unit: Unit, usage: Usage) -> None:
    """Keep `usage` with its charge, or with the reason why it has none yet. Told again, nothing happens."""
    terms = await unit.terms(usage.tenant)
    outcome = rate(usage, terms, await unit.service_tenant(usage.service_id))
    if isinstance(outcome, Charge):
        if await unit.add_usage(usage, None):
            await unit.add_charge(outcome)
    elif await unit.add_usage(usage, outcome):
        # What was missing may be written at this moment, unseen by us: look once more after both are there.
        await unit.wake(RATING_LOOP, usage.tenant, _LOOK_AGAIN_S)


async def learn_service(unit: Unit, service: KnownService) -> None:
    """Know whose service it is; usage that came before is rated soon."""
    if await unit.put_service(service):
        await unit.wake(RATING_LOOP, service.tenant)


class Rating:
    """The rating loop's act: rates a tenant's suspended usage whose reason is gone."""

    def __init__(self, units: Units) -> None:
        self._units = units

    async def reconcile(self, tenant: str) -> None:
        after: str | None = ""
        while after is not None:
            async with self._units.begin() as unit:
                after = await self._batch(unit, tenant, after)

    async def _batch(self, unit: Unit, tenant: str, after: str) -> str | None:
        """Look at the next records; the last one's id, or None when there are no more."""
        terms = await unit.terms(tenant)
        waiting = [] if terms is None else await unit.suspended_usage(tenant, after, _BATCH)
        for usage, reason in waiting:
            outcome = rate(usage, terms, await unit.service_tenant(usage.service_id))
            if isinstance(outcome, Charge):
                await unit.add_charge(outcome)
                await unit.set_suspended(usage.usage_id, None)
            elif outcome is not reason:
                await unit.set_suspended(usage.usage_id, outcome)
        return waiting[-1][0].usage_id if len(waiting) == _BATCH else None
