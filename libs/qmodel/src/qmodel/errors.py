"""Typed errors that every layer raises and that cross the bus with their type.

A use case raises one of these; `qkit.problems` turns it into an RFC 9457 document, `qkit.bus` carries it
to the caller, where `from_wire` makes the same class again. An error never names an HTTP status.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Kind(StrEnum):
    """What went wrong, from the point of view of whoever must act on it."""

    INVALID = "invalid"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too-large"
    RATE_LIMITED = "rate-limited"
    QUOTA_EXCEEDED = "quota-exceeded"
    INFEASIBLE = "infeasible"
    PRECONDITION = "precondition-failed"
    KEY_REUSED = "idempotency-key-reused"
    DEVICE = "device-error"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class BellweaveError(Exception):
    """Root of all errors that a caller can handle.

    `detail` is safe to show to the caller. `where` points at the offending part of the input (a JSON
    pointer such as `/sites/2`, an element id, a leaf's path). `retry_after_s` tells when a transient error
    is worth another try. `facts` are further members of the problem document, JSON-serializable.
    """

    kind: ClassVar[Kind] = Kind.INTERNAL
    transient: ClassVar[bool] = False

    def __init__(
        self, detail: str, *, where: str | None = None, retry_after_s: float | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.where = where
        self.retry_after_s = retry_after_s
        self.facts = facts

    def to_wire(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "detail": self.detail,
            "where": self.where,
            "retry_after_s": self.retry_after_s,
            "facts": self.facts,
        }


class Invalid(BellweaveError):
    """The input is wrong; the same input will be wrong again."""

    kind = Kind.INVALID


class NotFound(BellweaveError):
    """No such thing, or not visible to this caller."""

    kind = Kind.NOT_FOUND


class Conflict(BellweaveError):
    """The present state does not allow it."""

    kind = Kind.CONFLICT


class Unauthenticated(BellweaveError):
    kind = Kind.UNAUTHENTICATED


class Forbidden(BellweaveError):
    kind = Kind.FORBIDDEN


class TooLarge(BellweaveError):
    kind = Kind.TOO_LARGE


class RateLimited(BellweaveError):
    kind = Kind.RATE_LIMITED
    transient = True


class QuotaExceeded(BellweaveError):
    kind = Kind.QUOTA_EXCEEDED


class Infeasible(BellweaveError):
    """No placement satisfies the request; `facts` name what binds and what would fit."""

    kind = Kind.INFEASIBLE


class PreconditionFailed(BellweaveError):
    """If-Match names a version that is no longer the current one."""

    kind = Kind.PRECONDITION


class KeyReused(BellweaveError):
    """An Idempotency-Key came back with another body."""

    kind = Kind.KEY_REUSED


class DeviceError(BellweaveError):
    """A network element refused, lied or answered nonsense."""

    kind = Kind.DEVICE


class TimedOut(BellweaveError):
    kind = Kind.TIMEOUT
    transient = True


class Unavailable(BellweaveError):
    kind = Kind.UNAVAILABLE
    transient = True


class Internal(BellweaveError):
    kind = Kind.INTERNAL


_BY_KIND: dict[Kind, type[BellweaveError]] = {
    cls.kind: cls
    for cls in (
        Invalid,
        NotFound,
        Conflict,
        Unauthenticated,
        Forbidden,
        TooLarge,
        RateLimited,
        QuotaExceeded,
        Infeasible,
        PreconditionFailed,
        KeyReused,
        DeviceError,
        TimedOut,
        Unavailable,
        Internal,
    )
}


def from_wire(wire: dict[str, Any]) -> BellweaveError:
    """The error that `to_wire` described; a kind that this version does not know becomes `Internal`."""
    try:
        cls = _BY_KIND[Kind(wire.get("kind", ""))]
    except ValueError:
        cls = Internal
    return cls(
        str(wire.get("detail", "unknown error")),
        where=wire.get("where"),
        retry_after_s=wire.get("retry_after_s"),
        **(wire.get("facts") or {}),
    )
