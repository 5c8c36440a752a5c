"""The SMS as the root of the network-wide commit: plans it, runs it over the NMSs, and keeps its rows.

`orders` and `services` call `plan` in the transaction that makes a change durable, and then `run`. The state
machine is `qcommit`; here are its durable rows (`_Rows`) and its members, the operators (`_Operators`). The
row that says COMMIT is the commit point of the whole network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from qcommit.desk import Desk
from qcommit.machine import Change, Heard, Level, Limits, Member, Phase
from qcommit.runner import Runner
from qmodel.clock import DomainClock
from qmodel.contracts.commit import Outcome, Verb, Vote
from qmodel.errors import BellweaveError, Conflict, Unavailable
from sms.domain.note import Note
from sms.domain.order import Order, OrderState, advance, postpone
from sms.domain.queue import Waiting, who_may_go
from sms.domain.service import stabilize
from sms.domain.votes import Ballot, sentence
from sms.ports import SETTLE_LOOP, ChangeRows, Errand, Networks, Unit, Units
from sms.usecases.following import (
    Family,
    load_family,
    move_along,
    order_note,
    real_now,
    service_note,
    state_changed,
)
from sms.usecases.sites import Sites
from sms.usecases.stabilizing import patience_s

_log = logging.getLogger(__name__)

CREATE, REMOVE = "create", "remove"
_SETTLE_AGAIN_S = 10.0


class Commits:
    """`epoch` is this process's own. One instance per process."""

    def __init__(
        self,
        units: Units,
        rows: ChangeRows,
        networks: Networks,
        sites: Sites,
        epoch: Callable[[], int],
        clock: DomainClock,
        limits: Limits,
        confirm_timeout_s: float = 60.0,
    ) -> None:
        self._units = units
        self._rows = rows
        self._epoch = epoch
        self._clock = clock
        self._confirm_timeout_s = confirm_timeout_s
        ballots: dict[str, Ballot] = {}
        log = _Rows(units, ballots, clock)
        members = _Operators(networks, sites, ballots, clock)
        self._desk = Desk(Runner(log, members, clock.real_now_s, limits), rows.change, epoch)
        self._ballots = ballots

    def change(self, change_id: str, operators: Iterable[str]) -> Change:
        """A change as planned, for `plan`."""
        return Change(
            change_id=change_id,
            level=Level.ROOT,
            epoch=self._epoch(),
            members=tuple(Member(operator) for operator in sorted(set(operators))),
            confirm_timeout_s=self._confirm_timeout_s,
        )

    async def plan(self, unit: Unit, change: Change, claims: Iterable[str], errand: Errand) -> None:
        """Make the planned change durable and claim its elements (`operator/element`), in the caller's
        transaction. Raises Conflict naming the `holder`, also when an older change waits for any of them."""
        wanted = frozenset(claims)
        for waiting in await unit.line():
            if waiting.key == errand_key(errand):
                break
            if waiting.claims & wanted:
                raise Conflict("an older change waits for the same elements", holder=waiting.key)
        await unit.leave_line(errand_key(errand))
        await unit.plan(change, sorted(wanted), errand, real_now(self._clock))

    async def stand_in_line(self, loop: str, errand: Errand, claims: Iterable[str]) -> None:
        """Wait for elements: whoever gives them back wakes the oldest one that can go on."""
        async with self._units.begin() as unit:
            await unit.wait_in_line(Waiting(loop, errand_key(errand), frozenset(claims)))

    async def step_aside(self, unit: Unit, key: str) -> None:
        """Wait no longer, and let those pass who stood behind."""
        await unit.leave_line(key)
        await _wake_line(unit)

    async def run(self, change: Change) -> Change:
        """Run a change that this process has just planned to its end."""
        ended, _ = await self._desk.begin(change)
        return _ended(ended, change.change_id)

    async def resume(self, change_id: str) -> Change | None:
        """Bring a change to its end that may have been begun by another process; None if there is no row.

        Raises Unavailable while it cannot be told how it ends."""
        change, _ = await self._desk.resume(change_id)
        return None if change is None else _ended(change, change_id)

    async def settle(self, change_id: str) -> float | None:
        """For the reconcile loop: try the members of unknown state of an ended change again."""
        change, _ = await self._desk.resume(change_id)
        return _SETTLE_AGAIN_S if change is not None and change.unknown else None

    async def outcome(self, change_id: str) -> Outcome:
        """What an NMS in doubt is told. No row means abort."""
        return await self._rows.outcome(change_id)

    async def tend(self) -> None:
        """Let time work on what is live, forget what has ended. To be called about twice a second."""
        await self._desk.tend()
        for change_id in [c for c in self._ballots if not self._desk.knows(c)]:
            del self._ballots[change_id]

    async def close(self) -> None:
        await self._desk.close()


def errand_key(errand: Errand) -> str:
    """The key of the loop that carries the errand on."""
    return errand.order_id if errand.purpose == CREATE else errand.service_id


def _ended(change: Change | None, change_id: str) -> Change:
    if change is None or not change.phase.final:
        raise Unavailable("the change has not ended yet", where=change_id, retry_after_s=0.5)
    return change


class _Rows:
    """Implements `qcommit.runner.Log`."""

    def __init__(self, units: Units, ballots: dict[str, Ballot], clock: DomainClock) -> None:
        self._units = units
        self._ballots = ballots
        self._clock = clock

    async def save(self, change: Change) -> None:
        async with self._units.begin() as unit:
            errand = await unit.errand(change.change_id)
            if errand is None:
                raise Unavailable("the change is not planned", where=change.change_id)
            await self._tell(unit, change, errand)
            if change.phase is Phase.COMMITTED:
                await self._carry_over(unit, errand)
            ballot = self._ballots.get(change.change_id, Ballot())
            await unit.save_change(change, ballot.all(), real_now(self._clock))
            if change.phase.final:
                await _wake_line(unit)
                if change.unknown:
                    await unit.wake(SETTLE_LOOP, change.change_id, _SETTLE_AGAIN_S)

    async def _carry_over(self, unit: Unit, errand: Errand) -> None:
        """What is in the network is now also true in our rows."""
        family = await load_family(unit, errand.service_id)
        if family is None or errand.purpose != CREATE or family.order.state is not OrderState.COMMITTING:
            return
        service = stabilize(family.service)
        order = postpone(
            _forward(family.order), self._clock.real_now_s() + patience_s(family.links, self._clock)
        )
        await unit.save_order(order)
        await unit.save_service(service)
        expected = service.expected_active_at or self._clock.now() + timedelta(
            seconds=max((p.settle_s for link in family.links for p in link.placements), default=0.0)
        )
        text = f"Committed in every operator; {len(family.links)} links stabilize."
        await unit.emit(state_changed(service, self._clock))
        await unit.note(
            order_note(order, "stabilizing", text, self._clock, expected_at=expected.isoformat()),
            service_note(service, "stabilizing", text, self._clock),
        )
        await move_along(unit, Family(order, service, family.links), service.state, self._clock)

    async def _tell(self, unit: Unit, change: Change, errand: Errand) -> None:
        ballot = self._ballots.get(change.change_id)
        order = await unit.order(errand.order_id, lock=True)
        service = await unit.service(errand.service_id)
        if ballot is None or order is None or service is None:
            return
        notes: list[Note] = []
        for verb, votes in ballot.untold():
            text = sentence(verb, votes)
            if errand.purpose == CREATE:
                notes.append(order_note(order, verb.value, text, self._clock, members=votes))
            else:
                notes.append(service_note(service, verb.value, text, self._clock, members=votes))
        if change.phase is Phase.CONFIRMING and errand.purpose == CREATE:
            text = "Every operator has provisioned: committed."
            notes.append(order_note(order, "decide", text, self._clock, change_id=change.change_id))
        await unit.note(*notes)


def _forward(order: Order) -> Order:
    """A cancelled order's commit may still go through; then it stabilizes before it is undone."""
    return advance(order, OrderState.STABILIZING, despite_ending=True)


async def _wake_line(unit: Unit) -> None:
    """Wake those whose turn it may be now."""
    for waiting in who_may_go(await unit.line()):
        await unit.wake(waiting.loop, waiting.key)


class _Operators:
    """Implements `qcommit.runner.Members`: one NMS per operator."""

    def __init__(
        self, networks: Networks, sites: Sites, ballots: dict[str, Ballot], clock: DomainClock
    ) -> None:
        self._networks = networks
        self._sites = sites
        self._ballots = ballots
        self._clock = clock

    async def tell(self, change: Change, member: str, verb: Verb) -> Heard:
        started_s = self._clock.real_now_s()
        try:
            instance = self._sites.instance_of(member)
            reply = await self._networks.commit(instance, change, verb)
        except BellweaveError as error:
            if error.transient:
                return Heard(member, verb, None, detail=error.detail, where=error.where)
            _log.warning("nms of %s answered %s with an error: %s", member, verb.value, error.detail)
            refused = Vote.REFUSED if verb in (Verb.VALIDATE, Verb.PROVISION) else None
            return Heard(member, verb, refused, detail=error.detail, where=error.where)
        elapsed_s = self._clock.real_now_s() - started_s
        self._ballots.setdefault(change.change_id, Ballot()).hear(verb, member, reply, elapsed_s)
        return Heard(
            member,
            verb,
            reply.vote,
            expires_at_s=reply.expires_at_s,
            detail=reply.detail,
            where=reply.where,
        )

    async def ask_parent(self, change: Change) -> Outcome:
        """The root has no parent: without its own COMMIT there is none."""
        return Outcome.UNDECIDED
