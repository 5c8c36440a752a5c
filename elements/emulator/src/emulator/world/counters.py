"""Counters of what the ends of links released: only what is on disk is ever shown.

A counter accrues in memory and is published once it is durable. So a reader never sees it go back, whatever
is killed; a counter whose record is lost starts from zero under another boot id.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from qmodel.nodeconfig import Purpose

MAX_COUNTERS = 50_000
"""Counters of links that are gone are kept, oldest first to go, so that a link that comes back goes on."""

SHOWN_ENDED = 100
"""Of how many ends that are no longer configured a node still shows the counters."""

CounterKey = tuple[str, str]
"""(node, link)."""


@dataclass
class Counter:
    """`accrued` counts in memory, `published` is the part that is durable, in whole units. `ended` once the
    node no longer has that end."""

    boot_id: str
    purpose: Purpose
    accrued: float = 0.0
    published: int = 0
    metered: bool = False
    ended: bool = False

    @property
    def unit(self) -> str:
        return "key-bits" if self.purpose is Purpose.KEYS else "pairs"


class Counters:
    """All counters of a world."""

    def __init__(self) -> None:
        self._counters: dict[CounterKey, Counter] = {}
        self._changed = False

    def of(self, node: str, link_id: str, purpose: Purpose) -> Counter:
        """The counter of a link's end; a new one if there is none, or if it counted something else."""
        key = (node, link_id)
        counter = self._counters.get(key)
        if counter is None or counter.purpose is not purpose:
            counter = self._counters[key] = Counter(os.urandom(8).hex(), purpose)
            self._changed = True
            while len(self._counters) > MAX_COUNTERS:
                self._counters.pop(next(iter(self._counters)))
        return counter

    def add(self, node: str, link_id: str, purpose: Purpose, units: float) -> None:
        """`units` >= 0."""
        if units > 0:
            self.of(node, link_id, purpose).accrued += units
            self._changed = True

    def end(self, node: str, link_id: str) -> None:
        """The node no longer has that end of the link."""
        counter = self._counters.pop((node, link_id), None)
        if counter is not None:
            counter.ended = True
            self._counters[node, link_id] = counter  # behind all others: what ended last is shown longest
            self._changed = True

    def ended(self, node: str) -> list[tuple[str, Counter]]:
        """Links that ended at the node, with their counters; the latest hundred."""
        ended = [(link, c) for (at, link), c in self._counters.items() if at == node and c.ended]
        return ended[-SHOWN_ENDED:]

    def snapshot(self) -> list[list[Any]] | None:
        """Rows to be made durable, or None if nothing has changed since the last one."""
        if not self._changed:
            return None
        self._changed = False
        return [
            [node, link_id, c.boot_id, c.purpose.value, c.accrued, c.metered, c.ended]
            for (node, link_id), c in self._counters.items()
        ]

    def publish(self, rows: list[list[Any]]) -> None:
        """The rows are durable now."""
        for node, link_id, boot_id, _, accrued, *_ in rows:
            counter = self._counters.get((node, link_id))
            if counter is not None and counter.boot_id == boot_id:
                counter.published = int(accrued)

    def restore(self, rows: list[list[Any]]) -> None:
        for node, link_id, boot_id, purpose, accrued, metered, ended in rows:
            self._counters[str(node), str(link_id)] = Counter(
                str(boot_id), Purpose(purpose), float(accrued), int(accrued), bool(metered), bool(ended)
            )
