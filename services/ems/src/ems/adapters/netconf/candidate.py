"""The candidate datastore in one session: locked, edited, committed, released, each in one flight.

`device` builds the steps of a network-wide commit on it. It remembers only what dies with the session. It
locks the candidate and never running: under a lock on running, some servers do not roll back.

The lock travels in the same flight as the edit. A server that refuses the lock to us refuses the edit as
well (RFC 6241, 7.2 and 7.5), and whatever the answers are, nothing is committed unless the lock was granted.
"""

from __future__ import annotations

from dataclasses import dataclass

from ems.adapters.netconf import operations
from ems.adapters.netconf.errors import LockDenied, ProtocolViolation, RpcRefused
from ems.adapters.netconf.exchange import Reply
from ems.adapters.netconf.quantum_node import FILTER, read_snapshot, write_edit
from ems.adapters.netconf.session import NetconfSession
from ems.domain.snapshot import Snapshot, change
from qmodel.errors import BellweaveError, Conflict

_GET_RUNNING = operations.get_config("running", FILTER)
_GET_CANDIDATE = operations.get_config("candidate", FILTER)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """What runs on the device, and why the candidate could not be made ready (None: it is)."""

    running: Snapshot | None
    refusal: BellweaveError | None


class Candidate:
    """Every method raises `Unavailable`, `TimedOut` or `ProtocolViolation` when an answer is missing or
    nonsense, and `RpcRefused` when the device refuses to be read."""

    def __init__(self, session: NetconfSession) -> None:
        self._session = session
        self._locked = False
        self.staged = False
        """Edited to a target, not committed."""
        self.validated = False
        """The device was asked to validate what is (or was last) staged."""
        self.provisional: str | None = None
        """Persist-id of what this session committed provisionally, the candidate untouched since."""

    async def running(self) -> Snapshot:
        (reply,) = await self._session.flight((_GET_RUNNING,))
        return _snapshot(reply)

    async def edit(self, target: Snapshot, believed: Snapshot | None, *, validate: bool) -> Prepared:
        """Make the candidate equal to running, then to `target`.

        The edit is the difference from what is `believed` to run. What runs is read in the same flight, and
        if the belief was wrong the flight is repeated from the truth.
        """
        running = await self.running() if believed is None else believed
        dirty = False
        for _ in range(_TRIES):
            refusal, seen = await self._edit_from(running, target, dirty=dirty, validate=validate)
            if isinstance(refusal, LockDenied) and not dirty and not refusal.holder:
                dirty = True  # nobody holds it; somebody left changes in it, which are discarded
            elif seen == running or isinstance(refusal, LockDenied):
                self.staged = refusal is None
                return Prepared(seen, refusal)
            running = seen
        return Prepared(running, Conflict("the configuration changes while it is being edited"))

    async def renew(self) -> Prepared:
        """Lock the candidate and make it equal to running, and see that it is: for a new session."""
        *locking, _, mine, theirs = await self._session.flight(
            (*self._lock(), operations.DISCARD, _GET_CANDIDATE, _GET_RUNNING)
        )
        self.staged = False
        denied = self._take_lock(locking)
        running = _snapshot(theirs)
        if denied is None and _snapshot(mine) != running:
            return Prepared(running, Conflict("the candidate differs from running after discard-changes"))
        return Prepared(running, denied)

    async def commit(self, commit: bytes, *, release: bool) -> Prepared:
        """Carry out `commit` (one of the forms of commit) and read back; `release` unlocks as well."""
        unlock = (operations.UNLOCK,) if release else ()
        committed, read, *_ = await self._session.flight((commit, _GET_RUNNING, *unlock))
        self.staged = False
        if release:
            self._locked = False
            self.provisional = None
        return Prepared(_snapshot(read), committed.refusal)

    async def undo(self, *before_it: bytes) -> tuple[list[RpcRefused | None], Snapshot]:
        """Send `before_it`, read back, and drop the candidate and its lock if they are ours."""
        clean = (operations.DISCARD, operations.UNLOCK) if self._locked else ()
        replies = await self._session.flight((*before_it, _GET_RUNNING, *clean))
        self.staged = self._locked = False
        self.provisional = None
        return [reply.refusal for reply in replies[: len(before_it)]], _snapshot(replies[len(before_it)])

    async def _edit_from(
        self, running: Snapshot, target: Snapshot, *, dirty: bool, validate: bool
    ) -> tuple[RpcRefused | None, Snapshot]:
        difference = change(running, target)
        locking = ((operations.DISCARD,) if dirty else ()) + self._lock()
        work = [operations.DISCARD]
        if difference:
            work.append(operations.edit_candidate(write_edit(difference)))
        if validate:
            work.append(operations.VALIDATE)
        self.staged = False
        self.provisional = None
        self.validated = validate
        replies = await self._session.flight((*locking, *work, _GET_RUNNING))
        denied = self._take_lock(replies[len(locking) - 1 : len(locking)] if self._lock() else [])
        refusals = (reply.refusal for reply in replies[len(locking) : -1])
        return denied or next(filter(None, refusals), None), _snapshot(replies[-1])

    def _lock(self) -> tuple[bytes, ...]:
        return () if self._locked else (operations.LOCK,)

    def _take_lock(self, answers: list[Reply]) -> RpcRefused | None:
        """Why the lock asked for was denied; None if it is held now, or was already by this session."""
        for answer in answers:
            denied = answer.refusal
            held = isinstance(denied, LockDenied) and denied.holder == self._session.session_id
            if denied is not None and not held:
                return denied
        self._locked = True
        return None


def _snapshot(reply: Reply) -> Snapshot:
    if reply.refusal is not None:
        raise reply.refusal
    try:
        return read_snapshot(reply.data)
    except BellweaveError as error:
        raise ProtocolViolation(f"cannot make sense of the configuration: {error.detail}") from None
