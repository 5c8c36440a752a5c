"""The candidate datastore in one session: locked, edited, committed, released, each in one flight.

`device` builds the steps of a network-wide commit on it. It remembers only what dies with the session. It
locks the candidate and never running: under a lock on running, some servers do not roll back.

The lock travels in the same flight as the edit. A server that refuses the lock to us refuses the edit as
well (RFC 6241, 7.2 and 7.5), and whatever the answers are, nothing is committed unless the lock was granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from ems.adapters.netconf import operations
from ems.adapters.netconf.errors import LockDenied, ProtocolViolation, RpcRefused
from ems.adapters.netconf.exchange import Reply
from ems.adapters.netconf.part import Part, S
from ems.adapters.netconf.session import NetconfSession
from qmodel.errors import BellweaveError, Conflict

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Prepared(Generic[S]):
    """What runs on the device, and why the candidate could not be made ready (None: it is)."""

    running: S | None
    refusal: BellweaveError | None


class Candidate(Generic[S]):
    """Every method raises `Unavailable`, `TimedOut` or `ProtocolViolation` when an answer is missing or
    nonsense, and `RpcRefused` when the device refuses to be read."""

    def __init__(self, session: NetconfSession, part: Part[S]) -> None:
        self._session = session
        self._part = part
        self._locked = False
        self.staged = False
        """Edited to a target, not committed."""
        self.validated = False
        """The device was asked to validate what is (or was last) staged."""
        self.provisional: str | None = None
        """Persist-id of what this session committed provisionally, the candidate untouched since."""

    async def running(self) -> S:
        (reply,) = await self._session.flight((self._part.get_running,))
        return self._read(reply)

    async def edit(self, target: S, believed: S | None, *, validate: bool) -> Prepared[S]:
        """Make the candidate equal to running, then to `target`.

        The edit is the difference from what is `believed` to run. What runs is read in the same flight, and
        if the belief was wrong the flight is repeated from the truth.
        """
        running = await self.running() if believed is None else believed
        left_dirty = False
        for _ in range(_TRIES):
            denied, refusal, seen = await self._edit_from(running, target, validate, clean_first=left_dirty)
            if denied is not None and (left_dirty or not _by_nobody(denied)):
                return Prepared(seen, denied)
            if denied is None and seen == running:
                self.staged = refusal is None
                return Prepared(seen, refusal)
            # Nobody holds it: somebody left changes in the candidate, which are discarded.
            left_dirty = denied is not None
            running = seen
        return Prepared(running, Conflict("the configuration changes while it is being edited"))

    async def renew(self) -> Prepared[S]:
        """Make the candidate equal to running, locked if the device lets us, and see that it is.

        For a session that did not provision itself: some devices lock nothing while a confirmed commit is
        pending, and then the comparison has to do.
        """
        self.staged = False
        for _ in range(2):
            *locking, _, mine, theirs = await self._session.flight(
                (*self._lock(), operations.DISCARD, self._part.get_candidate, self._part.get_running)
            )
            denied = self._take_lock(locking)
            running = self._read(theirs)
            if denied is None or not _by_nobody(denied):
                break
        if denied is not None and not _by_nobody(denied):
            return Prepared(running, denied)
        if self._read(mine) != running:
            return Prepared(running, Conflict("the candidate differs from running after discard-changes"))
        return Prepared(running, None)

    async def commit(self, commit: bytes, *, release: bool) -> Prepared[S]:
        """Carry out `commit` (one of the forms of commit) and read back; `release` unlocks as well."""
        unlock = (operations.UNLOCK,) if release and self._locked else ()
        committed, read, *_ = await self._session.flight((commit, self._part.get_running, *unlock))
        self.staged = False
        if release:
            self._locked = False
            self.provisional = None
        return Prepared(self._read(read), committed.refusal)

    async def undo(self, *before_it: bytes) -> tuple[list[RpcRefused | None], S]:
        """Send `before_it`, read back, and drop the candidate and its lock if they are ours."""
        clean = (operations.DISCARD, operations.UNLOCK) if self._locked else ()
        replies = await self._session.flight((*before_it, self._part.get_running, *clean))
        self.staged = self._locked = False
        self.provisional = None
        return [reply.refusal for reply in replies[: len(before_it)]], self._read(replies[len(before_it)])

    async def _edit_from(
        self, running: S, target: S, validate: bool, *, clean_first: bool
    ) -> tuple[RpcRefused | None, RpcRefused | None, S]:
        """Why the lock was denied, why the edit was refused, and what runs."""
        locking = self._lock()
        first = (operations.DISCARD,) if clean_first else ()
        content = self._part.write(running, target)
        edit = (operations.edit_candidate(content),) if content else ()
        check = (operations.VALIDATE,) if validate else ()
        self.staged = False
        self.provisional = None
        self.validated = validate
        replies = await self._session.flight(
            (*first, *locking, operations.DISCARD, *edit, *check, self._part.get_running)
        )
        start = len(first) + len(locking)
        denied = self._take_lock(replies[len(first) : start])
        edited = replies[start + 1 : start + 1 + len(edit)]
        if denied is not None and any(reply.refusal is None for reply in edited):
            # The device edits without a lock: leave nothing in a candidate that somebody may commit.
            await self._session.flight((operations.DISCARD,))
        refusals = (reply.refusal for reply in replies[start:-1])
        return denied, next(filter(None, refusals), None), self._read(replies[-1])

    def _read(self, reply: Reply) -> S:
        if reply.refusal is not None:
            raise reply.refusal
        try:
            return self._part.read(reply.data)
        except BellweaveError as error:
            detail = f"cannot make sense of the configuration: {error.detail}"
            raise ProtocolViolation(detail, where=error.where) from None

    def _lock(self) -> tuple[bytes, ...]:
        return () if self._locked else (operations.LOCK,)

    def _take_lock(self, answers: list[Reply]) -> RpcRefused | None:
        """Why the lock asked for was denied; None if it is held now, or was already by this session."""
        for answer in answers:
            denied = answer.refusal
            if denied is not None and _holder(denied) != self._session.session_id:
                return denied
        self._locked = True
        return None


def _holder(denied: RpcRefused) -> int | None:
    return denied.holder if isinstance(denied, LockDenied) else None


def _by_nobody(denied: RpcRefused) -> bool:
    """Whether a lock was denied because of the candidate's state and not because of a holder: changes left in
    it, or a confirmed commit that is pending. Servers differ in the tag."""
    return denied.tag in ("lock-denied", "in-use", "resource-denied") and not _holder(denied)
