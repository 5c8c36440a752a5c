"""Revisions of a device's datastores, and drift: what runs although it is not intended.

Management is the master, and yet technicians, vendors' tools and the device itself change things. What is
done about it is a policy of each device; nothing is overwritten or taken over unless it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ems.domain.configuration import Content
from qmodel.contracts.ems import DriftState
from qyang.leaves import Difference


class Datastore(StrEnum):
    INTENDED = "intended"
    RUNNING = "running"


class Cause(StrEnum):
    """Why there is a new revision."""

    LEARNED = "learned"
    """The device was taken in as it was found."""
    CHANGE = "change"
    """A network-wide change was committed."""
    SYNC_FROM = "sync-from"
    """What ran was taken over as intended."""
    READ = "read"
    """The device was read and runs something else than the last time."""


class Policy(StrEnum):
    """What is done about drift: `alarm` waits for an operator, `overwrite` drives the device back, `import`
    takes what runs over as intended, circuits excepted."""

    ALARM = "alarm"
    OVERWRITE = "overwrite"
    IMPORT = "import"


@dataclass(frozen=True)
class Revision:
    """One state that a datastore was in, from `at` (real time) on. `content` only where it was asked for."""

    datastore: Datastore
    revision: int
    digest: str
    cause: Cause
    who: str
    at: datetime
    change_id: str | None = None
    content: Content | None = None


@dataclass(frozen=True)
class Drift:
    """Times are domain time. `difference` leads from what is intended to what runs."""

    id: int
    element: str
    found_at: datetime
    difference: tuple[Difference, ...]
    state: DriftState
    ended_at: datetime | None = None
    ended_by: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Intended revision `revision` against what runs: `difference` leads from one to the other."""

    element: str
    revision: int
    policy: Policy
    difference: tuple[Difference, ...]
