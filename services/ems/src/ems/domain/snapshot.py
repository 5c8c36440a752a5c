"""What a device runs in the part of its configuration that we manage, in one canonical form.

A snapshot is a sorted set of list entries, every leaf in its canonical text and no leaf at its default, so
two of them are equal exactly when the devices would do the same, whatever order, prefixes or number format
a server prints. Adapters read and write snapshots, the store keeps them. What a snapshot does not cover is
never touched by a network-wide change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from qmodel.errors import Invalid


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """One list entry: `kind` is the list, `key` the values of its keys, `leaves` all other leaves by name."""

    kind: str
    key: tuple[str, ...]
    leaves: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        return f"{self.kind}[{','.join(self.key)}]"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Entries sorted and unique by (kind, key). `Snapshot()` is a device on which nothing of ours runs."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Snapshot:
        """Raises `Invalid` when two entries have the same key: one device cannot hold both."""
        ordered = tuple(sorted(entries))
        for one, next_one in pairwise(ordered):
            if (one.kind, one.key) == (next_one.kind, next_one.key):
                raise Invalid("two entries have the same key", where=one.path)
        return cls(ordered)

    def to_json(self) -> str:
        """For the store; equal snapshots give equal text."""
        return json.dumps([[entry.kind, entry.key, entry.leaves] for entry in self.entries])

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        return cls(
            tuple(
                Entry(kind, tuple(key), tuple((name, value) for name, value in leaves))
                for kind, key, leaves in json.loads(text)
            )
        )


@dataclass(frozen=True, slots=True)
class Change:
    """The least edit that leads from one snapshot to another, entry by entry."""

    create: tuple[Entry, ...] = ()
    replace: tuple[Entry, ...] = ()
    delete: tuple[Entry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.create or self.replace or self.delete)


def change(running: Snapshot, target: Snapshot) -> Change:
    now = {(entry.kind, entry.key): entry for entry in running.entries}
    then = {(entry.kind, entry.key): entry for entry in target.entries}
    return Change(
        create=tuple(entry for name, entry in then.items() if name not in now),
        replace=tuple(entry for name, entry in then.items() if name in now and now[name] != entry),
        delete=tuple(entry for name, entry in now.items() if name not in then),
    )
