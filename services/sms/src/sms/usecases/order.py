"""An order's way through the network, from received to its end. `intake` puts orders in; here is the loop.

`Orders.reconcile` is run by key, at least once per wake and again after a crash: every step looks at the row,
acts idempotently under ids made from the order's own, and writes in one transaction. What cannot be had is
refused: first the decision is written, then everything is undone, then the order is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from qcommit.machine import Phase
from qmodel.clock import DomainClock
from qmodel.contracts.sms import ServiceState
from qmodel.errors import (
    BellweaveError,
    Conflict,
    DeviceError,
    Forbidden,
    Infeasible,
    Internal,
    Invalid,
    NotFound,
    QuotaExceeded,
    TimedOut,
    TooLarge,
    Unavailable,
)
from qmodel.links import LinkRequest, Placement
from sms.domain.link import Link
from sms.domain.note import placed_data, placed_text, refusal_texts
from sms.domain.order import Order, OrderState, advance, close, end, turn_back
from sms.domain.problem import no_placement, problem_of
from sms.domain.service import ENDED, Service, terminate
from sms.ports import ORDER_LOOP, SERVICE_LOOP, Errand, Networks, Planner, Quotas, Unit, Units
from sms.usecases.commit import CREATE, Commits
from sms.usecases.following import load_family, order_note, placed_anew, texts
from sms.usecases.sites import Sites

_IN_LINE_S = 5.0
_FINAL_ANSWERS = (Invalid, NotFound, Forbidden, QuotaExceeded, Infeasible, TooLarge)
"""Asked again, the answer would be the same."""

Step = Callable[[Order], Awaitable["Order | float | None"]]


@dataclass(frozen=True)
class OrderLimits:
    """`place_s`: real seconds from the order (or from its last attempt) until it must be committed;
    `attempts`: commits that may fail for a passing reason before the order fails."""

    place_s: float = 120.0
    attempts: int = 5


class Orders:
    """One instance per process; `reconcile` is the act of the loop `order`."""

    def __init__(
        self,
        units: Units,
        networks: Networks,
        quotas: Quotas,
        sites: Sites,
        planner: Planner,
        commits: Commits,
        clock: DomainClock,
        limits: OrderLimits,
    ) -> None:
        self._units = units
        self._networks = networks
        self._quotas = quotas
        self._sites = sites
        self._planner = planner
        self._commits = commits
        self._clock = clock
        self._limits = limits
        self._steps: dict[OrderState, Step] = {
            OrderState.RECEIVED: self._prepare,
            OrderState.PLACING: self._place,
            OrderState.COMMITTING: self._commit,
            OrderState.STABILIZING: self._watch,
        }

    async def reconcile(self, order_id: str) -> float | None:
        """Carry the order as far as it goes now; seconds until it wants to be looked at again, or None."""
        async with self._units.begin() as unit:
            order = await unit.order(order_id)
        while order is not None and not order.state.final:
            try:
                outcome = await (self._undo if order.ending else self._steps[order.state])(order)
            except Exception as error:
                outcome = await self._stumble(order, error)
            if not isinstance(outcome, Order):
                return outcome
            order = outcome
        return None

    async def _stumble(self, order: Order, error: Exception) -> Order:
        """A final answer ends the order; any other trouble goes back to the loop until its time is over."""
        if order.ending is not None:
            raise error
        if isinstance(error, _FINAL_ANSWERS) and order.state in (OrderState.RECEIVED, OrderState.PLACING):
            return await self._decide(order, OrderState.REFUSED, error)
        if self._clock.real_now_s() < order.deadline_s:
            raise error
        known = error if isinstance(error, BellweaveError) else Internal("internal error")
        late = TimedOut(f"it did not work out in time: {known.detail}", where=known.where)
        return await self._decide(order, OrderState.FAILED, late)

    # received

    async def _prepare(self, order: Order) -> Order | float | None:
        """Quota, sites and border offers; then the service as it is to be, durable before anybody places."""
        draft = await self._planner.draft(order)
        quota, links = await asyncio.gather(
            self._quotas.reserve(order.tenant, order.order_id, len(draft.wanted), draft.key_rate_bps),
            self._planner.links(order, draft),
            return_exceptions=True,
        )
        # Both are waited for: a reservation still under way could come after its release.
        if isinstance(quota, BaseException):
            raise quota
        if isinstance(links, BaseException):
            raise links
        async with self._units.begin() as unit:
            order = await _present(unit, order)
            if order.ending is not None:
                return order
            order = advance(order, OrderState.PLACING, service_id=order.planned_service_id)
            await unit.save_order(order)
            await unit.add_service(_service(order, self._clock), links)
            told = f"Quota granted: {quota.links_used} of {quota.links_limit} links in use."
            asked = sorted({segment.operator for link in links for segment in link.segments})
            across = sum(link.joint is not None for link in links)
            plan = f"{len(links)} links to place with {', '.join(asked)}"
            plan += f", {across} of them across operators." if across else "."
            await unit.note(
                order_note(order, "quota", told, self._clock, **quota.model_dump()),
                order_note(order, "placing", plan, self._clock, links=len(links), operators=asked),
            )
        return order

    # placing

    async def _place(self, order: Order) -> Order | float | None:
        """Place at every operator at once, claim the elements, and make the change durable."""
        async with self._units.begin() as unit:
            links = await unit.links(order.planned_service_id)
        placements = await self._ask_to_place(order, links)
        links = placed_anew(links, placements)
        claims = [f"{p.operator}/{element}" for p in placements for element in p.elements]
        planned = await self._plan(order, links, claims)
        if planned is not None:
            return planned
        await self._commits.stand_in_line(ORDER_LOOP, _errand(order), claims)
        planned = await self._plan(order, links, claims)  # it may have become free before we stood there
        if planned is not None:
            return planned
        if self._clock.real_now_s() >= order.deadline_s:
            raise Unavailable("the elements were busy all the time")
        return _IN_LINE_S

    async def _ask_to_place(self, order: Order, links: Sequence[Link]) -> list[Placement]:
        """Raises Infeasible with the refusals of all operators, or else what went wrong first."""
        asked: dict[str, list[LinkRequest]] = {}
        for link in links:
            for segment in link.segments:
                asked.setdefault(segment.operator, []).append(segment.request)
        answers = await asyncio.gather(
            *(
                self._networks.place(self._sites.instance_of(operator), order.change_id, requests)
                for operator, requests in sorted(asked.items())
            ),
            return_exceptions=True,
        )
        placements: list[Placement] = []
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        refused = [error for error in errors if isinstance(error, Infeasible)]
        if refused:
            raise no_placement(refused, {link.link_id: (link.a, link.b) for link in links})
        for error in sorted(errors, key=lambda e: isinstance(e, BellweaveError) and e.transient):
            raise error
        for answer in answers:
            if not isinstance(answer, BaseException):
                placements.extend(answer)
        return placements

    async def _plan(self, order: Order, links: Sequence[Link], claims: Sequence[str]) -> Order | None:
        """None if the elements are not free."""
        operators = sorted({segment.operator for link in links for segment in link.segments})
        change = self._commits.change(order.change_id, operators)
        try:
            async with self._units.begin() as unit:
                order = await _present(unit, order)
                if order.ending is not None:
                    return order
                await self._commits.plan(unit, change, claims, _errand(order))
                order = advance(order, OrderState.COMMITTING)
                await unit.save_order(order)
                await unit.save_placed(links)
                await unit.note(
                    order_note(
                        order,
                        "placed",
                        texts([placed_text(link) for link in links]),
                        self._clock,
                        change_id=change.change_id,
                        links=[placed_data(link) for link in links],
                    )
                )
        except Conflict as busy:
            if "holder" not in busy.facts:
                raise
            return None
        await self._commits.run(change)
        return await self._after_commit(order)

    # committing

    async def _commit(self, order: Order) -> Order | float | None:
        """Come here again after an abort or a crash: bring the change to its end and go by that."""
        change = await self._commits.resume(order.change_id)
        if change is not None and change.phase is Phase.COMMITTED:
            return await self._after_commit(order, committed=True)
        async with self._units.begin() as unit:
            votes = await unit.refused_votes(order.change_id)
        reason = (change.refusal if change else None) or "the change was lost"
        where = change.refused_where if change else None
        if votes:
            refusal = DeviceError(reason, where=where, change_id=order.change_id, members=votes)
            return await self._decide(order, OrderState.REFUSED, refusal)
        if order.attempt >= self._limits.attempts or self._clock.real_now_s() >= order.deadline_s:
            late = TimedOut(f"given up after {order.attempt} attempts: {reason}", where=where)
            return await self._decide(order, OrderState.FAILED, late)
        await self._drop(order)
        async with self._units.begin() as unit:
            order = await _present(unit, order)
            if order.ending is not None:
                return order
            await unit.drop_service(order.planned_service_id)
            text = f"Attempt {order.attempt} was undone ({reason}); trying again."
            await unit.note(order_note(order, "placing", text, self._clock, reason=reason))
            order = turn_back(order)
            await unit.save_order(order)
        return order

    # stabilizing

    async def _watch(self, order: Order) -> Order | float | None:
        """Links come up by what the operators report; here only time runs out."""
        left_s = order.deadline_s - self._clock.real_now_s()
        if left_s > 0:
            return left_s
        async with self._units.begin() as unit:
            links = await unit.links(order.planned_service_id)
        late = [link for link in links if link.state.value != "up"]
        what = texts([f"{link.a} – {link.b} is {link.state.value} {link.cause}".strip() for link in late])
        where = late[0].link_id if late else None
        error = TimedOut(f"not all links came up in time: {what}", where=where)
        return await self._decide(order, OrderState.FAILED, error)

    # the unhappy end

    async def _decide(self, order: Order, ending: OrderState, error: BellweaveError) -> Order:
        """Write how the order ends, before anything is undone."""
        async with self._units.begin() as unit:
            order = await _present(unit, order)
            if order.state.final or order.ending is not None:
                return order
            order = end(order, ending, problem_of(error))
            await unit.save_order(order)
        return order

    async def _undo(self, order: Order) -> Order | float | None:
        """Leave nothing behind, then close the order."""
        if order.state is OrderState.COMMITTING:
            change = await self._commits.resume(order.change_id)
            if change is not None and change.phase is Phase.COMMITTED:
                order = await self._after_commit(order, committed=True)
        if order.state is OrderState.STABILIZING:
            async with self._units.begin() as unit:
                family = await load_family(unit, order.planned_service_id)
                if family is not None and family.service.state not in ENDED:
                    reason = str((order.problem or {}).get("detail", "the order was called off"))
                    service = terminate(family.service, reason, ends_as=ServiceState.FAILED)
                    await unit.save_service(service)
                    await unit.wake(SERVICE_LOOP, service.service_id)
                    return None  # its last step wakes us
            return await self._close(order, keep_service=True)
        await self._drop(order)
        await self._quotas.release(order.tenant, order.order_id)
        return await self._close(order, keep_service=False)

    async def _drop(self, order: Order) -> None:
        """Have every operator forget what it may hold for the present attempt."""
        await asyncio.gather(
            *(self._networks.drop(instance, order.change_id) for instance in await self._asked(order))
        )

    async def _asked(self, order: Order) -> list[str]:
        """NMSs that may have been asked to place: those of the segments, which are durable before."""
        async with self._units.begin() as unit:
            links = await unit.links(order.planned_service_id)
        operators = {segment.operator for link in links for segment in link.segments}
        return [self._sites.instance_of(operator) for operator in sorted(operators)]

    async def _close(self, order: Order, *, keep_service: bool) -> Order:
        async with self._units.begin() as unit:
            order = close(await _present(unit, order), keep_service=keep_service)
            if not keep_service:
                await unit.drop_service(order.planned_service_id)
            await unit.save_order(order)
            await self._commits.step_aside(unit, order.order_id)
            problem = order.problem or {}
            lines = [str(problem.get("detail", "")), *refusal_texts(problem.get("refusals", ()))]
            await unit.note(
                order_note(
                    order, order.state.value, texts([x for x in lines if x]), self._clock, problem=problem
                )
            )
        return order

    async def _after_commit(self, order: Order, *, committed: bool = False) -> Order:
        """The order as the commit's own transaction left it."""
        async with self._units.begin() as unit:
            now = await unit.order(order.order_id)
        if now is None or (committed and now.state is OrderState.COMMITTING):
            raise Unavailable("the commit is not in the order's row", where=order.order_id)
        return now


async def _present(unit: Unit, order: Order) -> Order:
    """The order as its row has it, locked. Raises Conflict if somebody moved it on meanwhile."""
    now = await unit.order(order.order_id, lock=True)
    if now is None or now.state is not order.state or now.attempt != order.attempt:
        raise Unavailable("the order has moved on meanwhile", where=order.order_id)
    return now


def _errand(order: Order) -> Errand:
    return Errand(order.change_id, CREATE, order.order_id, order.planned_service_id, order.tenant)


def _service(order: Order, clock: DomainClock) -> Service:
    return Service(
        service_id=order.planned_service_id,
        order_id=order.order_id,
        tenant=order.tenant,
        kind=order.ask.kind,
        sites=order.ask.sites,
        security_level=order.ask.security_level.value,
        created_at=clock.now(),
        name=order.name,
    )
