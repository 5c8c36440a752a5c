"""The datastores of one element: running, candidate, startup, locks, and the confirmed commit (RFC 6241).

Running and a commit that awaits confirmation are durable before anybody sees them. A candidate and locks die
with the process; a commit that was not confirmed is undone when the element starts again, as RFC 6241 wants
of a reboot. With a startup datastore that one is durable, and running dies with the process, too. Sessions
are told apart by number; who they are is the protocol's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lxml import etree

from emulator.datastore.durable import JsonFile
from qyang.changes import Change, changes
from qyang.edit import edit, parse_config
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record
from qyang.validation import Validator
from qyang.xmlout import to_xml

_log = logging.getLogger(__name__)

RUNNING = "running"
CANDIDATE = "candidate"
STARTUP = "startup"
DEFAULT_CONFIRM_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Lock:
    session_id: int
    since: datetime


@dataclass
class Pending:
    """A commit that awaits its confirmation: what to go back to (and whether that is known to be valid), and
    who may confirm it."""

    before: Record
    before_is_valid: bool
    session_id: int
    persist_id: str | None
    timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True)
class ConfigChanged:
    """Running has changed. `session_id` 0 is the element itself."""

    old: Record
    new: Record
    session_id: int
    edits: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class ConfirmEvent:
    """`event` is start, extend, complete, cancel or timeout (RFC 6470)."""

    event: str
    session_id: int
    timeout_s: float | None = None


Listener = Callable[[ConfigChanged | ConfirmEvent], None]
DeviceCheck = Callable[[Record], None]


class Datastores:
    """One element's configuration. All methods belong to one event loop; those that write are coroutines and
    take turns. Every refusal is an RpcError."""

    def __init__(
        self,
        schema: Schema,
        validator: Validator,
        file: JsonFile,
        factory: Record,
        names: tuple[str, ...] = (RUNNING, CANDIDATE),
    ) -> None:
        """`names` are the conventional datastores; without a candidate running is written directly."""
        self.schema = schema
        self.names = names
        self.startup: Record | None = None
        self.running = factory
        self.locks: dict[str, Lock] = {}
        self.pending: Pending | None = None
        self.listeners: list[Listener] = []
        self.device_check: DeviceCheck = lambda tree: None
        self._candidate: Record | None = None
        self._validator = validator
        self._valid: Record | None = None  # what running is, where it is known to be valid
        self._checked: Record | None = None  # what was found valid last
        self._file = file
        self._factory = factory
        self._writing = asyncio.Lock()
        self._texts: deque[tuple[Record, str]] = deque(maxlen=4)
        self._undoing: set[asyncio.Task[None]] = set()

    @property
    def candidate(self) -> Record:
        return self.running if self._candidate is None else self._candidate

    async def load(self) -> None:
        """Takes up where the element stopped: a provisional commit is undone, or running becomes what startup
        holds. If the factory's configuration is another than last time (hardware came or went), what is new
        in it is merged in."""
        stored = self._file.read() or {}
        pending = stored.get("pending")
        text = pending["before"] if pending else stored.get(STARTUP if STARTUP in self.names else RUNNING)
        running = self._factory if text is None else self._parse(text)
        if text is not None and stored.get("factory") != self._xml(self._factory):
            known = self._parse(stored["factory"]) if "factory" in stored else Record()
            running = _upgraded(self.schema, running, known, self._factory)
        self.running = running
        self.startup = None if text is None else running
        try:
            self.validate(running)
            self._valid = running
        except RpcError as error:
            if text is None and self._factory:
                raise  # what it is made with has to be right
            # Its hardware has gone: it keeps its word, and refuses until it is mended.
            _log.warning("configuration to start with is not valid: %s", error)
        await self._save(running, None)

    async def close(self) -> None:
        """Stops the timer; a pending commit stays on disk, to be undone at the next start."""
        self._stop_timer()
        for task in list(self._undoing):
            await task

    def of(self, name: str) -> Record:
        """The tree of a configuration datastore: one of `names`, or intended."""
        if name in (RUNNING, "intended"):
            return self.running
        if name == CANDIDATE and name in self.names:
            return self.candidate
        if name == STARTUP and name in self.names:
            return Record() if self.startup is None else self.startup
        raise RpcError("invalid-value", f"there is no datastore {name}", layer="protocol")

    def validate(self, tree: Record) -> None:
        """YANG's rules, then what only this device knows."""
        if tree is self._valid or tree is self._checked:
            return
        self._validator.validate(tree, self._valid)
        self.device_check(tree)
        self._checked = tree

    # --- locks -------------------------------------------------------------------------------------------

    def lock(self, name: str, session_id: int) -> None:
        self.of(name)
        held = self.locks.get(name)
        if held is not None:
            raise _locked("lock-denied", f"{name} is locked", held.session_id)
        if name == CANDIDATE and self._candidate is not None:
            raise _locked("lock-denied", "candidate has been modified and not committed or discarded", 0)
        if name == RUNNING and self.pending is not None and self.pending.session_id != session_id:
            raise _locked("lock-denied", "a confirmed commit is under way", self.pending.session_id)
        self.locks[name] = Lock(session_id, datetime.now(UTC))

    def unlock(self, name: str, session_id: int) -> None:
        self.of(name)
        held = self.locks.get(name)
        if held is None or held.session_id != session_id:
            raise RpcError("operation-failed", f"this session does not hold a lock on {name}")
        del self.locks[name]
        if name == CANDIDATE:
            self._candidate = None

    def require_access(self, name: str, session_id: int) -> None:
        """Refuses (in-use) where another session holds the lock."""
        held = self.locks.get(name)
        if held is not None and held.session_id != session_id:
            raise RpcError(
                "in-use", f"{name} is locked by another session", layer="protocol",
                info=(("session-id", str(held.session_id)),),
            )  # fmt: skip

    async def session_ended(self, session_id: int) -> None:
        """Releases its locks (a locked candidate is discarded) and undoes its unconfirmed commit."""
        for name in [name for name, lock in self.locks.items() if lock.session_id == session_id]:
            self.unlock(name, session_id)
        async with self._writing:
            pending = self.pending
            if pending is not None and pending.persist_id is None and pending.session_id == session_id:
                await self._revert(pending, "cancel", session_id)

    # --- candidate ---------------------------------------------------------------------------------------

    def set_candidate(self, tree: Record, session_id: int) -> None:
        self.require_access(CANDIDATE, session_id)
        self._candidate = None if tree is self.running else tree

    def discard(self, session_id: int) -> None:
        self.require_access(CANDIDATE, session_id)
        self._candidate = None

    # --- what is written directly ------------------------------------------------------------------------

    async def write_running(self, session_id: int, change: Callable[[Record], Record]) -> None:
        """Running becomes what `change` makes of it, if that is valid."""
        async with self._writing:
            self.require_access(RUNNING, session_id)
            tree = change(self.running)
            self.validate(tree)
            await self._save(tree, self.pending)
            self._becomes(tree, session_id)

    async def set_startup(self, tree: Record | None, session_id: int) -> None:
        """The element starts with `tree` from now on; None is what it had from the factory."""
        async with self._writing:
            self.require_access(STARTUP, session_id)
            if tree is not None:
                self.validate(tree)
            await self._file.write(self._document(STARTUP, tree))
            self.startup = tree

    # --- commit ------------------------------------------------------------------------------------------

    async def commit(
        self,
        session_id: int,
        *,
        confirmed: bool = False,
        timeout_s: float = DEFAULT_CONFIRM_TIMEOUT_S,
        persist: str | None = None,
        persist_id: str | None = None,
    ) -> None:
        """The candidate becomes running. With `confirmed` it is undone after `timeout_s` unless confirmed.

        `persist` names it and lets it outlive its session; `persist_id` is the one to confirm or extend."""
        async with self._writing:
            self.require_access(RUNNING, session_id)
            self.require_access(CANDIDATE, session_id)
            earlier = self._may_follow_up(session_id, persist_id)
            tree = self.candidate
            self.validate(tree)
            if not confirmed:
                await self._save(tree, None)
                self._stop_timer()
                self.pending = None
                self._becomes(tree, session_id)
                if earlier is not None:
                    self._tell(ConfirmEvent("complete", session_id))
                return
            if earlier is None:
                pending = Pending(self.running, self._valid is self.running, session_id, persist)
            else:
                name = earlier.persist_id if persist is None else persist
                pending = Pending(earlier.before, earlier.before_is_valid, session_id, name)
            await self._save(tree, pending)
            self._stop_timer()
            self.pending = pending
            loop = asyncio.get_running_loop()
            pending.timer = loop.call_later(timeout_s, self._timed_out, pending)
            self._becomes(tree, session_id)
            self._tell(ConfirmEvent("start" if earlier is None else "extend", session_id, timeout_s))

    async def cancel_commit(self, session_id: int, persist_id: str | None) -> None:
        async with self._writing:
            pending = self.pending
            if pending is None:
                raise RpcError("operation-failed", "no confirmed commit is under way", layer="protocol")
            self._may_follow_up(session_id, persist_id)
            await self._revert(pending, "cancel", session_id)

    def _may_follow_up(self, session_id: int, persist_id: str | None) -> Pending | None:
        """The pending commit that this request may confirm, extend or cancel."""
        pending = self.pending
        if pending is None:
            if persist_id is not None:
                raise RpcError("invalid-value", "no confirmed commit has this persist-id", layer="protocol")
            return None
        if pending.persist_id is not None and persist_id != pending.persist_id:
            raise RpcError(
                "invalid-value", "persist-id does not name the confirmed commit under way", layer="protocol"
            )
        if pending.persist_id is None and pending.session_id != session_id:
            raise RpcError(
                "in-use", "another session's confirmed commit is under way", layer="protocol",
                info=(("session-id", str(pending.session_id)),),
            )  # fmt: skip
        return pending

    def _timed_out(self, pending: Pending) -> None:
        async def undo() -> None:
            async with self._writing:
                if self.pending is pending:
                    await self._revert(pending, "timeout", 0)

        task = asyncio.get_running_loop().create_task(undo())
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _revert(self, pending: Pending, event: str, session_id: int) -> None:
        await self._save(pending.before, None)
        self._stop_timer()
        self.pending = None
        self._becomes(pending.before, session_id, is_valid=pending.before_is_valid)
        self._tell(ConfirmEvent(event, session_id))

    def _stop_timer(self) -> None:
        if self.pending is not None and self.pending.timer is not None:
            self.pending.timer.cancel()

    def _becomes(self, tree: Record, session_id: int, *, is_valid: bool = True) -> None:
        old, self.running = self.running, tree
        self._valid = tree if is_valid else None
        if self._candidate is tree:  # not what somebody has edited meanwhile
            self._candidate = None
        if old is not tree and old != tree:
            self._tell(ConfigChanged(old, tree, session_id, changes(self.schema, old, tree)))

    def _tell(self, event: ConfigChanged | ConfirmEvent) -> None:
        for listener in self.listeners:
            listener(event)

    # --- disk --------------------------------------------------------------------------------------------

    async def _save(self, running: Record, pending: Pending | None) -> None:
        if STARTUP in self.names:
            return
        document = self._document(RUNNING, running)
        if pending is not None:
            document["pending"] = {"before": self._xml(pending.before), "persist_id": pending.persist_id}
        await self._file.write(document)

    def _document(self, name: str, tree: Record | None) -> dict[str, object]:
        document: dict[str, object] = {"version": 1, "factory": self._xml(self._factory)}
        if tree is not None:
            document[name] = self._xml(tree)
        return document

    def _xml(self, tree: Record) -> str:
        """`tree` as text; what is written again and again (the factory's, the one to go back to) is kept."""
        known = next((text for kept, text in self._texts if kept is tree), None)
        if known is None:
            known = to_xml(self.schema.root, tree)
            self._texts.append((tree, known))
        return known

    def _parse(self, text: str) -> Record:
        return parse_config(self.schema, etree.fromstring(f"<config>{text}</config>"))


def _upgraded(schema: Schema, running: Record, known: Record, factory: Record) -> Record:
    """`running` with what `factory` has and `known` (the factory's configuration before) has not."""
    news = [change.target for change in changes(schema, known, factory) if change.operation == "create"]
    if not news:
        return running
    wanted = etree.fromstring(f"<config>{to_xml(schema.root, factory)}</config>")
    return edit(schema, running, wanted, "merge")


def _locked(tag: str, message: str, session_id: int) -> RpcError:
    return RpcError(tag, message, layer="protocol", info=(("session-id", str(session_id)),))
