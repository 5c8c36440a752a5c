"""The vocabulary of one change at one level: what it is, what happens to it, and what is to be done about it.

`transitions.step` leads from one to the next; services and their stores build and keep these values.
Immutable, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qmodel.contracts.commit import Outcome, Verb, Vote


class Level(StrEnum):
    """Where in the tree this copy of the change stands; it decides what is saved and who decides."""

    ROOT = "root"
    MIDDLE = "middle"
    LEAF = "leaf"


class Phase(StrEnum):
    PLANNED = "planned"
    VALIDATING = "validating"
    VALIDATED = "validated"
    PROVISIONING = "provisioning"
    PROVISIONED = "provisioned"
    IN_DOUBT = "in-doubt"
    """Below the root, after a takeover: only the parent knows how it goes on."""
    CONFIRMING = "confirming"
    COMMITTED = "committed"
    ABORTING = "aborting"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        return self in (Phase.COMMITTED, Phase.ABORTED)


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds of real time.

    `validate_s` and `provision_s` bound a flight before the decision; `settle_s` is how long confirm and
    abort are tried before a member is UNKNOWN; `margin_s` is what must be left of the confirm window when
    the decision is taken; `doubt_s` is how long a participant waits for the decision before it asks.
    """

    validate_s: float = 20.0
    provision_s: float = 30.0
    settle_s: float = 15.0
    margin_s: float = 5.0
    doubt_s: float = 20.0
    first_retry_s: float = 0.1
    last_retry_s: float = 2.0


LIMITS: dict[Level, Limits] = {
    Level.ROOT: Limits(validate_s=30.0, provision_s=40.0, settle_s=25.0),
    Level.MIDDLE: Limits(validate_s=20.0, provision_s=28.0, settle_s=18.0),
    Level.LEAF: Limits(validate_s=12.0, provision_s=15.0, settle_s=12.0, doubt_s=15.0),
}
"""They shrink towards the leaves, so that an answer is back before whoever waits for it gives up."""


@dataclass(frozen=True)
class Member:
    """One participant below. `vote` is its last answer to the present verb, None while it is owed.

    `sent_at_s` is when provisioning was first sent to it (leaf: durable before the device is touched),
    `expires_at_s` when it reverts by itself unless confirmed; both are real time in seconds since 1970.
    """

    name: str
    vote: Vote | None = None
    sent_at_s: float | None = None
    expires_at_s: float | None = None
    detail: str | None = None
    where: str | None = None
    tries: int = 0


@dataclass(frozen=True)
class Change:
    """One change at one level. `parent` is who decides (None at the root); `refusal` and `refused_where` say
    why it aborts. `provision_epoch` is the epoch under which provisioning was first sent: after a takeover
    devices still hold that persist-id. `voted`: a yes was given to the parent, so only the parent may abort.
    `decided_at_s` is when COMMIT was decided or learned here, real time.
    """

    change_id: str
    level: Level
    epoch: int
    members: tuple[Member, ...]
    parent: str | None = None
    phase: Phase = Phase.PLANNED
    confirm_timeout_s: float = 60.0
    deadline_s: float = 0.0
    refusal: str | None = None
    refused_where: str | None = None
    provision_epoch: int | None = None
    voted: bool = False
    decided_at_s: float | None = None

    @property
    def persist_id(self) -> str:
        """The id under which devices hold the provisional configuration."""
        return f"{self.change_id}.{self.provision_epoch or self.epoch}"

    @property
    def expires_at_s(self) -> float | None:
        """When the first provisional device reverts, None if none is provisional."""
        times = [m.expires_at_s for m in self.members if m.expires_at_s is not None]
        return min(times, default=None)

    @property
    def unknown(self) -> tuple[Member, ...]:
        """Members whose state is not known: quarantined, their claims held."""
        return tuple(m for m in self.members if m.vote is Vote.UNKNOWN)

    @property
    def outcome(self) -> Outcome:
        """What a participant in doubt is told."""
        if self.phase in (Phase.CONFIRMING, Phase.COMMITTED):
            return Outcome.COMMIT
        if self.phase in (Phase.ABORTING, Phase.ABORTED):
            return Outcome.ABORT
        return Outcome.UNDECIDED


# What happens to a change.


@dataclass(frozen=True)
class Told:
    """The parent's verb; at the root, VALIDATE starts the change and ABORT calls it off."""

    verb: Verb


@dataclass(frozen=True)
class Heard:
    """A member answered `verb` with `vote`, or (vote None) no answer came in time."""

    member: str
    verb: Verb
    vote: Vote | None
    expires_at_s: float | None = None
    detail: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class Learned:
    """What the parent answered to a participant in doubt."""

    outcome: Outcome


@dataclass(frozen=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True)
class Resumed:
    """This process took the change over from its durable row, under a new epoch."""

    epoch: int


Input = Told | Heard | Learned | Tick | Resumed


# What to do about it, in order.


@dataclass(frozen=True)
class Save:
    """Write the change durably before any later effect."""


@dataclass(frozen=True)
class Send:
    """Send the verb to the member, not before `not_before_s`."""

    member: str
    verb: Verb
    not_before_s: float = 0.0


@dataclass(frozen=True)
class Answer:
    """The verb of the parent (at the root: of the caller) is done."""

    vote: Vote


@dataclass(frozen=True)
class AskParent:
    """In doubt: ask the parent for the outcome."""


Effect = Save | Send | Answer | AskParent
