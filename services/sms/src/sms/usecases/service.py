"""A service's life after its order: what operators report about it, and how it is taken down.

Two loops come here. `heard`, keyed by operator, lets services follow what that operator's events said;
`service`, keyed by service, removes one from the network under the same commit that made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from qcommit.machine import Change, Phase
from qmodel.clock import DomainClock
from qmodel.contracts.sms import ServiceState
from qmodel.errors import Conflict, NotFound, Unavailable
from sms.domain.link import Link
from sms.domain.service import ENDED, Service, terminate, terminated, try_removal_again
from sms.ports import ORDER_LOOP, SERVICE_LOOP, Errand, Networks, Quotas, Unit, Units
from sms.usecases.commit import REMOVE, Commits
from sms.usecases.following import load_family, move_along, service_note, state_changed
from sms.usecases.sites import Sites

_IN_LINE_S = 5.0
_AGAIN_S = 1.0
_HEARD_AT_ONCE = 100


class Services:
    """One instance per process; `follow_operator` and `reconcile` are the acts of its two loops."""

    def __init__(
        self,
        units: Units,
        networks: Networks,
        quotas: Quotas,
        sites: Sites,
        commits: Commits,
        clock: DomainClock,
    ) -> None:
        self._units = units
        self._networks = networks
        self._quotas = quotas
        self._sites = sites
        self._commits = commits
        self._clock = clock

    async def follow_operator(self, operator: str) -> float | None:
        """Let every service move along that this operator's reports concern, each in its own transaction."""
        async with self._units.begin() as unit:
            heard = await unit.heard_of(operator, _HEARD_AT_ONCE)
        for service_id, upto in heard:
            async with self._units.begin() as unit:
                family = await load_family(unit, service_id)
                if family is not None:
                    await move_along(unit, family, family.service.state, self._clock)
                await unit.forget_heard(operator, service_id, upto)
        return 0.0 if len(heard) == _HEARD_AT_ONCE else None

    async def reconcile(self, service_id: str) -> float | None:
        """Take the service down if that was asked for; seconds until the next look, or None."""
        async with self._units.begin() as unit:
            service = await unit.service(service_id)
            links = await unit.links(service_id)
        if service is None or service.state is not ServiceState.TERMINATING:
            return None
        change = await self._commits.resume(service.removal_change_id)
        if change is None:
            change = await self._remove(service, links)
            if change is None:
                return _IN_LINE_S
        if change.phase is not Phase.COMMITTED:
            return await self._try_again(service, links, change.refusal or "it was aborted")
        await self._quotas.release(service.tenant, service.order_id)
        await self._finish(service_id)
        return None

    async def _remove(self, service: Service, links: Sequence[Link]) -> Change | None:
        """Hold the removal at every operator, plan and run its commit; None if elements are busy."""
        change_id = service.removal_change_id
        asked: dict[str, list[str]] = {}
        for link in links:
            for segment in link.segments:
                asked.setdefault(segment.operator, []).append(link.link_id)
        answers = await asyncio.gather(
            *(self._hold_removal(operator, change_id, ids) for operator, ids in sorted(asked.items()))
        )
        claims = [claim for answer in answers for claim in answer]
        change = self._commits.change(change_id, asked)
        errand = _errand(service)
        for first_try in (True, False):
            try:
                async with self._units.begin() as unit:
                    await unit.order(service.order_id, lock=True)
                    await self._commits.plan(unit, change, claims, errand)
                return await self._commits.run(change)
            except Conflict as busy:
                if "holder" not in busy.facts:
                    raise
                if first_try:  # it may become free before we stand there
                    await self._commits.stand_in_line(SERVICE_LOOP, errand, claims)
        return None

    async def _hold_removal(self, operator: str, change_id: str, link_ids: Sequence[str]) -> list[str]:
        elements = await self._networks.remove(self._sites.instance_of(operator), change_id, link_ids)
        return [f"{operator}/{element}" for element in elements]

    async def _try_again(self, service: Service, links: Sequence[Link], reason: str) -> float:
        """A removal that aborted is tried again, without end: what was asked for is that nothing is left."""
        operators = sorted({segment.operator for link in links for segment in link.segments})
        await asyncio.gather(
            *(
                self._networks.drop(self._sites.instance_of(operator), service.removal_change_id)
                for operator in operators
            )
        )
        async with self._units.begin() as unit:
            await unit.order(service.order_id, lock=True)
            now = await unit.service(service.service_id)
            if now is None or now.removal != service.removal:
                raise Unavailable("the service has moved on meanwhile", where=service.service_id)
            await unit.save_service(try_removal_again(now))
            text = f"Removing it was undone ({reason}); trying again."
            await unit.note(service_note(now, "removing", text, self._clock))
        return _AGAIN_S

    async def _finish(self, service_id: str) -> None:
        async with self._units.begin() as unit:
            family = await load_family(unit, service_id)
            if family is None or family.service.state in ENDED:
                return
            before = family.service.state
            gone = replace(family, service=terminated(family.service))
            await move_along(unit, gone, before, self._clock)
            if not family.order.state.final:
                await unit.wake(ORDER_LOOP, family.order.order_id)


@dataclass(frozen=True)
class Termination:
    """A tenant's wish to end a service, in the tenant's own transaction."""

    clock: DomainClock

    async def ask(self, unit: Unit, service_id: str, expect: Callable[[int], None]) -> Service:
        """Begin to take the service down. Raises NotFound for one that is not the tenant's, Conflict while it
        is being provisioned, and what `expect` raises about its present version."""
        family = await load_family(unit, service_id)
        if family is None:
            raise NotFound("there is no such service", where=service_id)
        service = family.service
        expect(service.version)
        ending = terminate(service, "terminated by the tenant")
        if ending is not service:
            await unit.save_service(ending)
            await unit.emit(state_changed(ending, self.clock))
            text = f"Service {ending.name or service_id} is terminating"
            await unit.note(service_note(ending, "terminating", text, self.clock))
            await unit.wake(SERVICE_LOOP, service_id)
        return ending


def _errand(service: Service) -> Errand:
    return Errand(service.removal_change_id, REMOVE, service.order_id, service.service_id, service.tenant)
