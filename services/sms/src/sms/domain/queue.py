"""Orders whose elements are claimed by another change wait in one line, by age.

A younger order may pass only if it wants nothing that an older one waits for: an order for many elements is
not starved by small ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A change that waits for `claims`; `loop` and `key` name who is to be woken."""

    loop: str
    key: str
    claims: frozenset[str]


def who_may_go(oldest_first: Iterable[Waiting]) -> list[Waiting]:
    """Those that no older one stands before."""
    wanted: set[str] = set()
    free: list[Waiting] = []
    for waiting in oldest_first:
        if wanted.isdisjoint(waiting.claims):
            free.append(waiting)
        wanted |= waiting.claims
    return free
