"""The network-wide commit on the wire: the same verbs at every level (SMS to NMS, NMS to EMS).

See `qcommit` for what they mean. A command is idempotent by (change, verb): asked again, the callee answers
with where it stands.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from qmodel.contracts import Body, Request
from qmodel.ids import Id, Name
from qmodel.nodeconfig import NodeConfig


class Verb(StrEnum):
    VALIDATE = "validate"
    PROVISION = "provision"
    CONFIRM = "confirm"
    ABORT = "abort"


class Vote(StrEnum):
    """How a participant stands after a verb."""

    VALIDATED = "validated"
    PROVISIONED = "provisioned"
    CONFIRMED = "confirmed"
    ABORTED = "aborted"
    REFUSED = "refused"
    """Before the decision: no. The change aborts everywhere."""
    BUSY = "busy"
    """Another change has claimed something; nothing was done, ask again."""
    UNKNOWN = "unknown"
    """After the decision: could not be reached; quarantined, reconciliation goes on."""


class MemberReport(Body):
    """What became of one member below: an element for an EMS, an EMS for an NMS."""

    member: str
    vote: Vote
    detail: str | None = None
    where: str | None = None
    elapsed_s: float = 0.0


class CommitReply(Body):
    change_id: Id
    vote: Vote
    expires_at_s: float | None = Field(
        default=None, description="real time (s since 1970) at which the earliest provisional device reverts"
    )
    detail: str | None = None
    where: str | None = None
    members: tuple[MemberReport, ...] = ()


class CommitAtEms(Request[CommitReply]):
    """NMS to EMS. `targets` (with `validate` only) is the whole target of each element concerned."""

    service: ClassVar[str] = "ems"
    operation: ClassVar[str] = "commit"
    reply: ClassVar[type[CommitReply]] = CommitReply

    change_id: Id
    epoch: int
    verb: Verb
    coordinator: str = Field(description="service.instance to ask for the outcome when in doubt")
    confirm_timeout_s: float = 60.0
    targets: dict[Name, NodeConfig] = Field(default_factory=dict)


class CommitAtNms(Request[CommitReply]):
    """SMS to NMS. The change is what `PlaceLinks` or `RemoveLinks` held under the same `change_id`."""

    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "commit"
    reply: ClassVar[type[CommitReply]] = CommitReply

    change_id: Id
    epoch: int
    verb: Verb
    coordinator: str
    confirm_timeout_s: float = 60.0


class Outcome(StrEnum):
    COMMIT = "commit"
    ABORT = "abort"
    """Also the answer for a change of which the coordinator has no row: presumed abort."""
    UNDECIDED = "undecided"


class OutcomeReply(Body):
    change_id: Id
    outcome: Outcome


class OutcomeAtSms(Request[OutcomeReply]):
    service: ClassVar[str] = "sms"
    operation: ClassVar[str] = "commit-outcome"
    reply: ClassVar[type[OutcomeReply]] = OutcomeReply

    change_id: Id


class OutcomeAtNms(Request[OutcomeReply]):
    service: ClassVar[str] = "nms"
    operation: ClassVar[str] = "commit-outcome"
    reply: ClassVar[type[OutcomeReply]] = OutcomeReply

    change_id: Id
