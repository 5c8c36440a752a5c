"""Misbehaviour on order: an element that refuses, hangs, hangs up, loses its reply, or lies.

The control door sets faults, the protocol asks for them before each operation. An element without faults
behaves as RFC 6241 says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qmodel.errors import Invalid


class Action(StrEnum):
    RPC_ERROR = "rpc-error"
    """Refuses with operation-failed and does nothing."""
    HANG = "hang"
    """Does nothing and never answers; the session stays open."""
    DROP = "drop"
    """Does nothing and closes the connection."""
    LOSE_REPLY = "lose-reply"
    """Does it, then closes the connection without a reply."""
    LIE = "lie"
    """Answers as if it had done it, and does nothing; reads come back empty."""


OPERATIONS = frozenset(
    (
        "lock", "unlock", "edit-config", "edit-data", "copy-config", "delete-config", "discard-changes",
        "validate", "commit", "commit-confirmed", "confirm", "cancel-commit", "get-config", "get", "get-data",
    )
)  # fmt: skip
"""`commit` is a plain commit, `commit-confirmed` a confirmed one (or its extension), `confirm` the commit
that ends a confirmed one."""


@dataclass
class Fault:
    operation: str
    action: Action
    remaining: int | None = None


class Faults:
    """The faults of one element."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, operation: str, action: str, count: int | None = None) -> None:
        """Raises Invalid for an unknown operation or action; `count` None means until cleared."""
        if operation not in OPERATIONS:
            raise Invalid(f"unknown operation {operation!r}; known are {', '.join(sorted(OPERATIONS))}")
        if action not in list(Action):
            raise Invalid(f"unknown action {action!r}; known are {', '.join(Action)}")
        if count is not None and count < 1:
            raise Invalid("count must be positive")
        self._faults.append(Fault(operation, Action(action), count))

    def clear(self) -> None:
        self._faults.clear()

    def take(self, operation: str) -> Action | None:
        """The action for this operation now, if any; a counted fault is used up."""
        for fault in self._faults:
            if fault.operation != operation:
                continue
            if fault.remaining is not None:
                fault.remaining -= 1
                if fault.remaining == 0:
                    self._faults.remove(fault)
            return fault.action
        return None

    def show(self) -> list[dict[str, object]]:
        return [
            {"on": fault.operation, "action": fault.action.value, "remaining": fault.remaining}
            for fault in self._faults
        ]
