"""The steps of a network-wide commit at one NETCONF device: `ems.ports.DeviceSession`.

Each step is one flight of pipelined RPCs that ends in a read-back, and its outcome is what was read back:
an `<ok/>` proves nothing. What a device is found to do, never what product it is, decides how it is driven.

A device without candidate or without confirmed commit with persist gets no change (`NoConfirmedCommit`),
since it cannot take part in all-or-nothing; durable undo with compensation would be another adapter's way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ems.adapters.netconf import operations
from ems.adapters.netconf.candidate import Candidate, Prepared
from ems.adapters.netconf.errors import (
    ModelMissing,
    NoConfirmedCommit,
    ProtocolViolation,
    RpcRefused,
)
from ems.adapters.netconf.learning import all_or_nothing, learn
from ems.adapters.netconf.part import NODE, S, whole
from ems.adapters.netconf.session import NetconfSession
from ems.adapters.netconf.state import read_operational
from ems.domain.configuration import Configuration
from ems.domain.device import Profile, Traits
from ems.domain.observation import Operational, Step, judge
from ems.domain.quantum_node import MODULE
from ems.domain.snapshot import Snapshot
from qcommit.device import Seen
from qmodel.errors import BellweaveError, Conflict, TimedOut, Unavailable
from qyang.schema import Schema

_VALIDATE = "urn:ietf:params:netconf:capability:validate:"
_CANDIDATE = "urn:ietf:params:netconf:capability:candidate:1.0"
_STARTUP = "urn:ietf:params:netconf:capability:startup:1.0"

MakeSchema = Callable[[], Awaitable[Schema]]


class NetconfDevice:
    """See `ems.ports.DeviceSession` and the module. `modules` are those that the device is known to have,
    `make_schema` compiles them when the whole configuration is asked for the first time."""

    def __init__(
        self, session: NetconfSession, traits: Traits, modules: frozenset[str], make_schema: MakeSchema
    ) -> None:
        self._session = session
        self._traits = traits
        self._modules = modules
        self._make_schema = make_schema
        self._schema: Schema | None = None
        self._candidate = Candidate(session, NODE)

    @property
    def alive(self) -> bool:
        return self._session.alive

    @property
    def session_id(self) -> str:
        return str(self._session.session_id)

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def staged(self) -> bool:
        return self._candidate.staged and self.alive

    async def learn(self) -> Profile:
        return await learn(self._session)

    async def read_operational(self) -> Operational:
        return await read_operational(self._session)

    async def close(self) -> None:
        await self._session.close()

    async def configuration(self) -> Configuration:
        if self._schema is None:
            self._schema = await self._make_schema()
        return await Candidate(self._session, whole(self._schema)).running()

    async def replace(self, target: Configuration) -> Configuration:
        if _CANDIDATE not in self._session.capabilities:
            raise NoConfirmedCommit("the device has no candidate datastore")
        if self._candidate.staged or self._candidate.provisional is not None:
            raise Conflict("a change is under way in this session")
        candidate = Candidate(self._session, whole(target.schema))
        try:
            prepared = await candidate.edit(target, None, validate=self._asks_to_validate())
            if prepared.refusal is not None or prepared.running is None:
                raise prepared.refusal or Unavailable("the configuration could not be read")
            done = await self._committed(candidate, operations.COMMIT, None, prepared.running, target)
            if done.refusal is not None:
                raise done.refusal
            if _STARTUP in self._session.capabilities:
                await self._session.rpc(operations.SAVE)
        finally:
            if self.alive:
                await candidate.undo()
        return await candidate.running()

    async def end_session(self, session_id: str) -> None:
        if not session_id.isdecimal() or session_id == self.session_id:
            return
        try:
            await self._session.rpc(operations.kill_session(int(session_id)))
        except RpcRefused as refusal:
            if refusal.has("access-denied"):
                raise

    async def read(self, *, before: Snapshot | None = None, target: Snapshot | None = None) -> Step:
        try:
            return self._saw(await self._candidate.running(), before, target)
        except BellweaveError as error:
            return self._failed(error)

    async def stage(self, target: Snapshot, *, believed: Snapshot | None = None) -> Step:
        try:
            self._require_transactions()
            prepared = await self._candidate.edit(target, believed, validate=self._asks_to_validate())
        except BellweaveError as error:
            return self._failed(error)
        if prepared.refusal is not None:
            return self._refused(prepared)
        return Step(Seen.STAGED, self._traits, prepared.running)

    async def provision(
        self, persist_id: str, confirm_timeout_s: int, *, before: Snapshot, target: Snapshot
    ) -> Step:
        try:
            if not self.staged:
                raise Conflict("nothing is staged in this session")
            commit = operations.commit_confirmed(persist_id, confirm_timeout_s)
            undo = operations.cancel_commit(persist_id)
            step = await self._commit_staged(commit, undo, before=before, target=target)
        except BellweaveError as error:
            return self._failed(error)
        if step.seen is Seen.TARGET:
            self._candidate.provisional = persist_id
        return step

    async def confirm(self, persist_id: str, *, target: Snapshot, before: Snapshot | None = None) -> Step:
        try:
            if self._candidate.provisional != persist_id:
                # A confirming commit applies the candidate as it stands: make sure that it is the target.
                prepared = await self._candidate.renew()
                if prepared.refusal is not None:
                    return self._refused(prepared)
                if prepared.running != target:
                    return self._saw(prepared.running, before, target)
            commit = operations.commit_confirming(persist_id)
            return await self._commit_for_good(commit, before=before, target=target)
        except BellweaveError as error:
            return self._failed(error)

    async def cancel(self, persist_id: str, *, before: Snapshot, target: Snapshot | None = None) -> Step:
        try:
            (refusal,), running = await self._candidate.undo(operations.cancel_commit(persist_id))
        except BellweaveError as error:
            return self._failed(error)
        seen = judge(running, before=before, target=target, hoped=Seen.BEFORE)
        # With nothing pending the device refuses, too: what runs is what counts.
        return Step(seen, self._traits, running, None if seen is Seen.BEFORE else refusal)

    async def discard(self, *, before: Snapshot | None = None) -> Step:
        try:
            _, running = await self._candidate.undo()
        except BellweaveError as error:
            return self._failed(error)
        return Step(judge(running, before=before, target=None, hoped=Seen.BEFORE), self._traits, running)

    async def apply(
        self, target: Snapshot, *, persist_id: str | None = None, before: Snapshot | None = None
    ) -> Step:
        try:
            self._require_transactions()
            prepared = await self._candidate.edit(target, None, validate=self._asks_to_validate())
            if prepared.refusal is not None or prepared.running is None:
                return self._refused(prepared)
            step = await self._commit_staged(operations.COMMIT, None, before=prepared.running, target=target)
            if step.seen is Seen.REFUSED and persist_id is not None:
                # Something provisional is pending: naming it makes the candidate, which is the target, last.
                commit = operations.commit_confirming(persist_id)
                return await self._commit_for_good(commit, before=before, target=target)
            await self._candidate.undo()
            return await self._save(step) if step.seen is Seen.TARGET else step
        except BellweaveError as error:
            return self._failed(error)

    async def _commit_staged(
        self, commit: bytes, undo: bytes | None, *, before: Snapshot, target: Snapshot
    ) -> Step:
        done = await self._committed(self._candidate, commit, undo, before, target)
        return self._refused(done) if done.refusal is not None else self._saw(done.running, before, target)

    async def _committed(
        self, candidate: Candidate[S], commit: bytes, undo: bytes | None, before: S, target: S
    ) -> Prepared[S]:
        """Commit what is staged and read back. If the device was asked to validate, says ok and does not run
        the target, undo, and once more without asking; if that works it is remembered as a trait."""
        telling = candidate.validated and before != target
        done = await candidate.commit(commit, release=False)
        if done.refusal is None and telling and done.running != target:
            if undo is not None:
                await self._session.flight((undo,))
            again = await candidate.edit(target, before, validate=False)
            if again.refusal is None and (undo is None or again.running == before):
                done = await candidate.commit(commit, release=False)
        if done.refusal is None and telling and done.running == target and not candidate.validated:
            self._traits = self._traits.model_copy(update={"validate_then_commit": False})
        return done

    async def _commit_for_good(self, commit: bytes, *, before: Snapshot | None, target: Snapshot) -> Step:
        done = await self._candidate.commit(commit, release=True)
        if done.refusal is not None:
            return self._refused(done)
        step = self._saw(done.running, before, target)
        return await self._save(step) if step.seen is Seen.TARGET else step

    async def _save(self, step: Step) -> Step:
        """Copy running to startup, where there is one: a device that advertises it may not do so itself."""
        if _STARTUP not in self._session.capabilities:
            return step
        (reply,) = await self._session.flight((operations.SAVE,))
        return Step(step.seen, step.traits, step.running, reply.refusal)

    def _require_transactions(self) -> None:
        if MODULE not in self._modules:
            raise ModelMissing(f"the device does not implement {MODULE}: it is watched, not configured")
        if not all_or_nothing(self._session.capabilities):
            raise NoConfirmedCommit("the device has no candidate with persistent confirmed commit")

    def _asks_to_validate(self) -> bool:
        able = any(capability.startswith(_VALIDATE) for capability in self._session.capabilities)
        return able and self._traits.validate_then_commit is not False

    def _saw(self, running: Snapshot | None, before: Snapshot | None, target: Snapshot | None) -> Step:
        if running is None:
            return Step(Seen.OTHER, self._traits)
        seen = judge(running, before=before, target=target, hoped=Seen.TARGET)
        return Step(seen, self._traits, running)

    def _refused(self, prepared: Prepared[Snapshot]) -> Step:
        return Step(Seen.REFUSED, self._traits, prepared.running, prepared.refusal)

    def _failed(self, error: BellweaveError) -> Step:
        if isinstance(error, Unavailable | TimedOut | ProtocolViolation):
            self._session.abandon(error)
            return Step(Seen.UNREACHABLE, self._traits, error=error)
        return Step(Seen.REFUSED, self._traits, error=error)
