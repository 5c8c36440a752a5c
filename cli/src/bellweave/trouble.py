"""What may go wrong for a user, with the exit status and what to do next.

Every command raises these; `main` prints them to stderr, as problem documents (RFC 9457) with `--json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REFUSED = 1
MISTYPED = 2
UNREACHABLE = 3


class Trouble(Exception):
    """`problem` is a problem document, `hint` what the user can do about it."""

    exit_status = REFUSED

    def __init__(self, problem: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "refused"))
        self.problem = dict(problem)
        self.hint = hint

    def document(self) -> dict[str, Any]:
        return {**self.problem, "hint": self.hint} if self.hint else self.problem


class Refused(Trouble):
    """A service, or this command itself, said no. Exit status 1."""

    @classmethod
    def because(cls, detail: str, hint: str | None = None, **facts: Any) -> Refused:
        """For what is noticed here, before or after any service was asked."""
        return cls({"type": "about:blank", "title": "Refused", "detail": detail, **facts}, hint)


class Mistyped(Trouble):
    """The command line is wrong. Exit status 2."""

    exit_status = MISTYPED

    @classmethod
    def because(cls, detail: str) -> Mistyped:
        problem = {"type": "about:blank", "title": "Wrong command line", "detail": detail}
        return cls(problem, "see: bellweave --help, or --help after a command")


class Unreachable(Trouble):
    """Nobody answers, or nobody knows where to ask. Exit status 3."""

    exit_status = UNREACHABLE

    @classmethod
    def because(cls, detail: str, hint: str | None = None, **facts: Any) -> Unreachable:
        return cls({"type": "about:blank", "title": "Cannot reach", "detail": detail, **facts}, hint)


_HINTS = {
    "unauthenticated": "log in: bellweave login USER",
    "not-found": "it does not exist, or it is not yours to see",
    "quota-exceeded": "terminate a service that you no longer need: bellweave services",
    "infeasible": "order less, or elsewhere: each refusal above says what would fit",
    "precondition-failed": "read it again and decide anew",
    "idempotency-key-reused": "use a new key for another request",
    "rate-limited": "wait a moment and try again",
    "unavailable": "try again in a moment; bellweave status shows what is not ready",
    "timeout": "try again in a moment; bellweave status shows what is not ready",
    "internal": "the service's log has more, under this instance",
}


def hint_for(problem: Mapping[str, Any], who: str | None) -> str | None:
    """What to do about a service's problem document; `who` is logged in."""
    kind = str(problem.get("type", "")).rpartition(":")[2]
    if kind == "forbidden":
        return f"you are {who or 'nobody'}: log in as somebody who may (bellweave login USER)"
    return _HINTS.get(kind)
