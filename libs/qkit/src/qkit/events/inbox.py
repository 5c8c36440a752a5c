"""The receiving side's tables: which events of a source were handled, and which are dead letters.

Only `Consumer` calls this, inside its transaction. `seen_to` says that everything up to it was handled;
rows in `kit.inbox` stand for what was handled beyond a hole, and vanish when the hole is filled.
"""

from __future__ import annotations

from dataclasses import dataclass

from qkit.database import Connection
from qkit.events.envelope import EventMeta

_LOCK = "SELECT seen_to FROM kit.inbox_position WHERE source = %s AND incarnation = %s FOR UPDATE"
_HOLED = "SELECT FROM kit.inbox WHERE source = %s AND incarnation = %s LIMIT 1"


@dataclass(frozen=True)
class Hole:
    """Sequences `after`+1 to `before`-1 of one incarnation have not been seen."""

    incarnation: str
    after: int
    before: int


class Position:
    """How far one source was seen, locked for this transaction; `close` writes it back.

    `take` counts forward without looking into `kit.inbox` while there is no hole, nearly always.
    """

    def __init__(self, source: str, incarnation: str, seen_to: int, holed: bool) -> None:
        self._where = (source, incarnation)
        self._before = seen_to
        self._holed = holed
        self.seen_to = seen_to

    @classmethod
    async def lock(cls, conn: Connection, source: str, incarnation: str) -> Position:
        """Take the position: a source is handled by one transaction at a time."""
        where = (source, incarnation)
        row = await (await conn.execute(_LOCK, where)).fetchone()
        if row is None:
            await conn.execute(
                "INSERT INTO kit.inbox_position (source, incarnation) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                where,
            )
            row = await (await conn.execute(_LOCK, where)).fetchone()
        assert row is not None
        # In a statement of its own: it must see what the holder of the lock before us committed.
        holed = (await (await conn.execute(_HOLED, where)).fetchone()) is not None
        return cls(source, incarnation, row["seen_to"], holed)

    async def take(self, conn: Connection, sequence: int) -> bool:
        """Whether `sequence` is new; if so it counts as handled once the transaction commits."""
        if sequence <= self.seen_to:
            return False
        if sequence == self.seen_to + 1 and not self._holed:
            self.seen_to = sequence
            return True
        self._holed = True
        cursor = await conn.execute(
            "INSERT INTO kit.inbox (source, incarnation, sequence) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (*self._where, sequence),
        )
        return cursor.rowcount == 1

    async def first_beyond(self, conn: Connection) -> int | None:
        """The first sequence that was handled beyond the hole, if there is a hole."""
        cursor = await conn.execute(
            "SELECT min(sequence) AS first FROM kit.inbox WHERE source = %s AND incarnation = %s", self._where
        )
        row = await cursor.fetchone()
        return row["first"] if row else None

    def skip(self, to: int) -> int:
        """Count everything up to `to` as seen; returns how many sequences were given up."""
        skipped = max(0, to - self.seen_to)
        self.seen_to += skipped
        return skipped

    async def close(self, conn: Connection) -> bool:
        """Write the position, past inbox rows that have become contiguous; whether a hole remains."""
        remains = self._holed and await self._absorb(conn)
        if self.seen_to != self._before:
            await conn.execute(
                "UPDATE kit.inbox_position SET seen_to = %s, updated_at = now()"
                " WHERE source = %s AND incarnation = %s",
                (self.seen_to, *self._where),
            )
        return remains

    async def _absorb(self, conn: Connection) -> bool:
        cursor = await conn.execute(
            "SELECT sequence FROM kit.inbox WHERE source = %s AND incarnation = %s ORDER BY sequence",
            self._where,
        )
        beyond = [row["sequence"] async for row in cursor]
        absorbed = 0
        for sequence in beyond:
            if sequence > self.seen_to + 1:
                break
            self.seen_to = max(self.seen_to, sequence)
            absorbed += 1
        if absorbed:
            await conn.execute(
                "DELETE FROM kit.inbox WHERE source = %s AND incarnation = %s AND sequence <= %s",
                (*self._where, self.seen_to),
            )
        return absorbed < len(beyond)


async def holes(conn: Connection, source: str) -> list[Hole]:
    """The first hole of each incarnation of `source`."""
    cursor = await conn.execute(
        "SELECT incarnation, p.seen_to, min(sequence) AS beyond FROM kit.inbox_position p"
        " JOIN kit.inbox i USING (source, incarnation) WHERE source = %s GROUP BY incarnation, p.seen_to",
        (source,),
    )
    return [Hole(row["incarnation"], row["seen_to"], row["beyond"]) async for row in cursor]


async def latest_position(conn: Connection, source: str) -> tuple[str, int]:
    """The incarnation of `source` heard last and how far it was seen; ("", 0) for a source never heard."""
    cursor = await conn.execute(
        "SELECT incarnation, seen_to FROM kit.inbox_position WHERE source = %s"
        " ORDER BY updated_at DESC LIMIT 1",
        (source,),
    )
    row = await cursor.fetchone()
    return (row["incarnation"], row["seen_to"]) if row else ("", 0)


async def bury(
    conn: Connection, consumer: str, meta: EventMeta, envelope: str, kind: str, reason: str
) -> None:
    """Keep an event that cannot be handled, with the reason. `meta.sequence` 0 stands for none."""
    await conn.execute(
        "INSERT INTO kit.dead_letter (consumer, source, incarnation, sequence, type, envelope, kind, reason)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (consumer, meta.source, meta.incarnation, meta.sequence, meta.type, envelope, kind, reason[:2000]),
    )
