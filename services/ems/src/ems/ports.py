"""Protocols that the EMS's use cases need from the outside; `app` puts the real things in.

Devices first: an adapter speaks one protocol (NETCONF now; RESTCONF, SCPI and QKD 015 fit as well) and
hides it: what goes in and comes out is snapshots, steps and observations of `ems.domain`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ems.domain.configuration import Configuration, Content
from ems.domain.device import DeviceAddress, Login, Profile, Traits
from ems.domain.drift import Cause, Comparison, Datastore, Drift, Policy, Revision
from ems.domain.managed import Access, ManagedDevice, ManagedState
from ems.domain.observation import DeviceEvent, Operational, Step
from ems.domain.report import Report, Told
from ems.domain.snapshot import Snapshot
from qcommit.device import Action, Seen
from qcommit.machine import Change
from qmodel.contracts.commit import Outcome
from qmodel.contracts.ems import DriftState
from qmodel.nodeconfig import NodeConfig


class DeviceSession(Protocol):
    """A login at one device, and the steps of a network-wide commit there.

    Steps are called one after another; reads may run beside them. A step never raises for what a device
    does: an unreachable device is `Seen.UNREACHABLE`, and the session is then over (open another one; every
    step also works in a fresh session). A refusal is `Seen.REFUSED` with the typed error. Whatever else is
    returned was read back from the device.
    """

    @property
    def alive(self) -> bool: ...

    @property
    def session_id(self) -> str:
        """The device's name for this session: store it, so that a successor can end it."""
        ...

    @property
    def traits(self) -> Traits: ...

    @property
    def staged(self) -> bool:
        """This session holds a candidate edited to the target and has not committed it."""
        ...

    async def learn(self) -> Profile:
        """Modules, hardware, ports. Raises `DeviceError`, `Unavailable`, `TimedOut`."""
        ...

    async def read(self, *, before: Snapshot | None = None, target: Snapshot | None = None) -> Step:
        """Read the running configuration and compare."""
        ...

    async def stage(self, target: Snapshot, *, believed: Snapshot | None = None) -> Step:
        """Lock the candidate, edit it to `target`, validate. `STAGED` with what runs now, or `REFUSED`.

        `believed` is what the device is thought to run: right, it saves a round trip; wrong, it is noticed.
        """
        ...

    async def provision(
        self, persist_id: str, confirm_timeout_s: int, *, before: Snapshot, target: Snapshot
    ) -> Step:
        """Commit what is staged until it is confirmed or the timeout is over; a read-back `TARGET` is yes."""
        ...

    async def confirm(self, persist_id: str, *, target: Snapshot, before: Snapshot | None = None) -> Step:
        """Make the provisional configuration last. `TARGET` only if the device took it."""
        ...

    async def cancel(self, persist_id: str, *, before: Snapshot, target: Snapshot | None = None) -> Step:
        """Take the provisional configuration back, discard and unlock."""
        ...

    async def discard(self, *, before: Snapshot | None = None) -> Step:
        """Drop what is staged and unlock; nothing was committed."""
        ...

    async def apply(
        self, target: Snapshot, *, persist_id: str | None = None, before: Snapshot | None = None
    ) -> Step:
        """Commit `target` for good, whatever runs now: forward after a decision, or back to before.

        `persist_id` names a provisional commit that may still be pending."""
        ...

    async def configuration(self) -> Configuration:
        """Everything that runs. Raises `DeviceError`, `Unavailable`, `TimedOut`."""
        ...

    async def replace(self, target: Configuration) -> Configuration:
        """Make the device run `target`, a configuration of the schema that it has now, and no commit under
        way; what was read back afterwards. Raises as `configuration`, and then the device is as before."""
        ...

    async def end_session(self, session_id: str) -> None:
        """End another session at the device, and with it its locks. Does nothing if there is none."""
        ...

    async def read_operational(self) -> Operational:
        """Raises `DeviceError`, `Unavailable`, `TimedOut`."""
        ...

    async def close(self) -> None: ...


class DeviceWatch(Protocol):
    """A subscription to a device's notifications, on a session of its own."""

    async def next_event(self) -> DeviceEvent:
        """The next event; `Unavailable` or `DeviceError` once the subscription is over."""
        ...

    async def close(self) -> None: ...


class DeviceAdapter(Protocol):
    """Opens sessions. Raises `DeviceError` subclasses, `Unavailable`, `TimedOut`, and `Invalid` for keys that
    cannot be read."""

    async def fetch_host_key(self, host: str, port: int) -> str:
        """The unverified key of whoever answers there: for an operator to pin, never on our own."""
        ...

    async def open(self, address: DeviceAddress, login: Login, traits: Traits) -> DeviceSession: ...

    async def watch(self, address: DeviceAddress, login: Login) -> DeviceWatch: ...


class DeviceFleet(Protocol):
    """Live sessions of devices, by name. Raises `NotFound`, `DeviceError`, `Unavailable`, `TimedOut`."""

    async def read_operational(self, element: str) -> Operational: ...

    async def configuration(self, element: str) -> Configuration: ...

    async def replace(self, element: str, target: Configuration) -> Configuration: ...

    async def watch(self, element: str) -> DeviceWatch: ...

    async def drop(self, element: str) -> None:
        """Close what is open; the next use logs in again."""
        ...


@dataclass(frozen=True)
class Sight:
    """What was seen on a device after one action, and the refusal that explains it."""

    seen: Seen
    running: Snapshot | None = None
    detail: str | None = None
    where: str | None = None


class DeviceHands(Protocol):
    """Carries out single actions of a commit on managed devices, whatever protocol they speak."""

    def staged(self, element: str, change_id: str) -> bool:
        """Whether the element's session holds the candidate of this very change, not yet committed."""
        ...

    async def act(self, element: str, action: Action, order: Order) -> Sight:
        """Do it and look. Raises nothing for what devices or networks do."""
        ...


@dataclass(frozen=True)
class Order:
    """What an action needs to know of its change. `before` is None until it was seen."""

    change_id: str
    persist_id: str
    confirm_timeout_s: float
    target: Snapshot
    before: Snapshot | None = None


class ParentLine(Protocol):
    """The way up to whoever decides."""

    async def outcome(self, parent: str, change_id: str) -> Outcome:
        """UNDECIDED also when the parent cannot be reached. Raises nothing."""
        ...


@dataclass(frozen=True)
class StoredPlan:
    """A change from its row, with what the EMS put beside it."""

    change: Change
    targets: dict[str, NodeConfig]
    before: dict[str, Snapshot]


class CommitStore(Protocol):
    """The durable side of an EMS's part in the network-wide commit."""

    async def unmanaged(self, elements: Sequence[str]) -> dict[str, str]:
        """Those that cannot be part of a change now, each with the reason."""
        ...

    async def claimed(self, change_id: str, elements: Sequence[str]) -> dict[str, str]:
        """Element → another change that holds it durably."""
        ...

    async def insert_change(
        self, change: Change, targets: dict[str, NodeConfig], before: dict[str, Snapshot]
    ) -> None: ...

    async def save_change(self, change: Change, targets: dict[str, NodeConfig]) -> None:
        """Save; once committed, the targets are the intended configurations."""
        ...

    async def stored_change(self, change_id: str) -> StoredPlan | None: ...

    async def unfinished_changes(self) -> list[str]: ...


class Vault(Protocol):
    """Keeps credentials unreadable at rest."""

    def seal(self, login: Login) -> bytes: ...

    def open(self, token: bytes) -> Login:
        """Raises Internal when it was sealed by another key."""
        ...


class DeviceStore(Protocol):
    """Devices and how they are doing."""

    async def add_device(self, device: ManagedDevice, login: Login) -> ManagedDevice:
        """Raises Conflict when the name is another address's, or the address another name's."""
        ...

    async def device(self, name: str) -> ManagedDevice:
        """Raises NotFound."""
        ...

    async def devices(self, after: str, limit: int) -> list[ManagedDevice]: ...

    async def device_names(self) -> list[str]: ...

    async def remove_device(self, name: str) -> None:
        """Raises NotFound, Conflict."""
        ...

    async def access(self, name: str) -> Access:
        """Raises NotFound."""
        ...

    async def set_state(self, name: str, state: ManagedState, problem: str | None) -> None:
        """Managed or unreachable; a device in quarantine stays there."""
        ...

    async def set_traits(self, name: str, traits: Traits) -> None: ...

    async def intended(self, element: str) -> NodeConfig | None: ...


class RevisionStore(Protocol):
    """Revisions of what devices should run and of what they run, and drift. Every method that names an
    element raises NotFound if there is none."""

    async def newest_intended(self, element: str) -> tuple[Revision | None, Policy]:
        """None before the element was compared for the first time."""
        ...

    async def adopt(self, element: str, running: Content) -> tuple[int, Content]:
        """Take the element in as it is found, of circuits only those that the NMS wants. The revision that is
        intended then, and what it says; what was intended already stays."""
        ...

    async def intend(self, element: str, content: Content, cause: Cause, who: str, after: int) -> int:
        """A new intended revision, its number returned. Raises Conflict if the newest one is not `after`."""
        ...

    async def record(
        self, element: str, running: Content, found: Comparison, ended: DriftState, who: str, at: datetime
    ) -> None:
        """What runs, and what was found against what is intended: drift begins, changes, or ends as `ended`
        by `who`. Raises Conflict if something else was intended meanwhile."""
        ...

    async def set_policy(self, element: str, policy: Policy) -> None: ...

    async def policy(self, element: str) -> Policy: ...

    async def revision(self, element: str, datastore: str, number: int | None) -> Revision:
        """The newest one without a number. Raises NotFound."""
        ...

    async def revisions(
        self, element: str, datastore: Datastore, before: int, limit: int
    ) -> list[Revision]: ...

    async def drifts(self, element: str | None, all_states: bool, before: int, limit: int) -> list[Drift]: ...


class ReportStore(Protocol):
    """What was told of each element."""

    async def record(self, element: str, decide: Callable[[Told], Report]) -> None:
        """Store what `decide` finds new against what was told so far, and emit it, in one transaction."""
        ...
