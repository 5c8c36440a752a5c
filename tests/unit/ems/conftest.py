"""A NETCONF server's transactions in memory, with the habits that real ones were found to have.

Stands in for `NetconfSession`: it takes the very octets that would go over the wire. No network, no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from lxml import etree

from ems.adapters.netconf.errors import BASE, errors_of
from ems.adapters.netconf.exchange import Reply
from ems.adapters.netconf.quantum_node import read_snapshot, write_edit
from ems.domain.snapshot import Entry, Snapshot, change
from qmodel.errors import BellweaveError, Unavailable
from qmodel.yang import QUANTUM_NODE_NS

CAPABILITIES = frozenset(
    f"urn:ietf:params:netconf:capability:{each}"
    for each in ("candidate:1.0", "confirmed-commit:1.1", "validate:1.1", "startup:1.0")
)
Configuration = dict[tuple[str, tuple[str, ...]], Entry]


@dataclass
class StandInDevice:
    """What all sessions share. The flags are habits; `refuse` maps an operation to an error tag."""

    running: Configuration = field(default_factory=dict)
    startup: Configuration = field(default_factory=dict)
    candidate: Configuration = field(default_factory=dict)
    before_provisional: Configuration | None = None
    persist_id: str | None = None
    lock: int | None = None
    validated: bool = False
    sessions: int = 0
    log: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    loses_creates_after_validate: bool = False
    no_lock_while_pending: bool = False
    no_lock_when_dirty: bool = False
    applies_nothing: bool = False

    def set_running(self, snapshot: Snapshot) -> None:
        self.running = _configuration(snapshot)
        self.candidate = dict(self.running)

    def snapshot(self) -> Snapshot:
        return Snapshot.of(self.running.values())

    def time_out(self) -> None:
        """The confirm timeout is over, or the device has rebooted."""
        if self.before_provisional is not None:
            self.running = self.before_provisional
            self.candidate = dict(self.running)
            self.before_provisional = self.persist_id = None


class StandInSession:
    """One session of a `StandInDevice`; `dies_at` drops it instead of answering that operation."""

    def __init__(self, device: StandInDevice) -> None:
        device.sessions += 1
        self.device = device
        self.session_id = device.sessions
        self.capabilities = CAPABILITIES
        self.alive = True
        self.dies_at: str | None = None

    async def flight(self, operations: Any, limit_s: float | None = None) -> list[Reply]:
        replies = []
        for operation in operations:
            root = etree.fromstring(operation)
            name = _name_of(root)
            self.device.log.append(name)
            if not self.alive or name == self.dies_at:
                self.abandon(Unavailable("gone"))
                raise Unavailable("the connection to the device was lost")
            tag = self.device.refuse.get(name)
            inside = _error(tag) if tag else getattr(self, "_" + name.replace("-", "_"))(root)
            answer = etree.fromstring(f'<rpc-reply xmlns="{BASE}">{inside}</rpc-reply>')
            replies.append(Reply(answer, errors_of(answer)))
        return replies

    def abandon(self, error: BellweaveError) -> None:
        self.alive = False
        if self.device.lock == self.session_id:
            self.device.lock = None
            self.device.candidate = dict(self.device.running)

    async def close(self) -> None:
        self.abandon(Unavailable("closed"))

    def _lock(self, root: etree._Element) -> str:
        device = self.device
        if device.lock is not None:
            return _error("lock-denied", f"<session-id>{device.lock}</session-id>")
        if device.no_lock_while_pending and device.persist_id:
            return _error("in-use")
        if device.no_lock_when_dirty and device.candidate != device.running:
            return _error("resource-denied")
        device.lock = self.session_id
        return "<ok/>"

    def _unlock(self, root: etree._Element) -> str:
        if self.device.lock != self.session_id:
            return _error("operation-failed")
        self.device.lock = None
        return "<ok/>"

    def _discard_changes(self, root: etree._Element) -> str:
        if self._foreign_lock():
            return _error("in-use")
        self.device.candidate = dict(self.device.running)
        self.device.validated = False
        return "<ok/>"

    def _edit_config(self, root: etree._Element) -> str:
        if self._foreign_lock():
            return _error("in-use")
        edited = dict(self.device.candidate)
        (node,) = root.iterfind("config/*")
        for element in node:
            operation = element.attrib.pop(f"{{{BASE}}}operation")
            (entry,) = read_snapshot(_wrapped(element)).entries
            name = (entry.kind, entry.key)
            if (name in edited) != (operation in ("replace", "delete")):
                return _error("data-exists" if name in edited else "data-missing")
            edited.pop(name, None)
            if operation != "delete":
                edited[name] = entry
        self.device.candidate = edited
        return "<ok/>"

    def _validate(self, root: etree._Element) -> str:
        self.device.validated = True
        return "<ok/>"

    def _commit(self, root: etree._Element) -> str:
        if self._foreign_lock():
            return _error("in-use")
        if self.device.persist_id is not None:
            return _error("invalid-value")
        self._take_candidate()
        return "<ok/>"

    def _commit_confirmed(self, root: etree._Element) -> str:
        device = self.device
        if self._foreign_lock() or device.persist_id is not None:
            return _error("in-use")
        device.persist_id = root.findtext("persist")
        device.before_provisional = dict(device.running)
        self._take_candidate()
        return "<ok/>"

    def _confirm(self, root: etree._Element) -> str:
        if self.device.persist_id is None or root.findtext("persist-id") != self.device.persist_id:
            return _error("invalid-value")
        self._take_candidate()
        self.device.before_provisional = self.device.persist_id = None
        return "<ok/>"

    def _cancel_commit(self, root: etree._Element) -> str:
        if self.device.persist_id is None or root.findtext("persist-id") != self.device.persist_id:
            return _error("invalid-value")
        self.device.time_out()
        return "<ok/>"

    def _get_config(self, root: etree._Element) -> str:
        (source,) = root.iterfind("source/*")
        entries = getattr(self.device, str(source.tag)).values()
        inside = write_edit(change(Snapshot(), Snapshot.of(entries))).decode()
        return f"<data>{inside}</data>"

    def _copy_config(self, root: etree._Element) -> str:
        self.device.startup = dict(self.device.running)
        return "<ok/>"

    def _take_candidate(self) -> None:
        device = self.device
        if device.applies_nothing:
            device.candidate = dict(device.running)
        if device.loses_creates_after_validate and device.validated:
            device.candidate = {
                name: entry for name, entry in device.candidate.items() if name in device.running
            }
        device.running = dict(device.candidate)
        device.validated = False

    def _foreign_lock(self) -> bool:
        return self.device.lock not in (None, self.session_id)


def _name_of(root: etree._Element) -> str:
    name = str(root.tag)
    if name == "commit" and root.find("confirmed") is not None:
        return "commit-confirmed"
    return "confirm" if name == "commit" and root.find("persist-id") is not None else name


def _configuration(snapshot: Snapshot) -> Configuration:
    return {(entry.kind, entry.key): entry for entry in snapshot.entries}


def _wrapped(element: etree._Element) -> etree._Element:
    data = etree.Element(f"{{{BASE}}}data")
    etree.SubElement(data, f"{{{QUANTUM_NODE_NS}}}quantum-node").append(element)
    return data


def _error(tag: str, info: str = "") -> str:
    return (
        "<rpc-error><error-type>protocol</error-type>"
        f"<error-tag>{tag}</error-tag><error-severity>error</error-severity>"
        f"<error-info>{info}</error-info></rpc-error>"
    )


@pytest.fixture
def stand_in() -> StandInDevice:
    return StandInDevice()


@pytest.fixture
def log_in(stand_in: StandInDevice) -> Callable[[], StandInSession]:
    """Opens another session with the device."""
    return lambda: StandInSession(stand_in)
