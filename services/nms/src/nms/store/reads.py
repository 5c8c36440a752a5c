"""What the REST API shows, read in the api role. Nothing here locks or writes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nms.ports import LinkRow
from nms.store.rows import Row, link_of
from qkit.database import Database
from qkit.queries import load_queries


class Reads:
    """Pages are ordered by their key; callers fetch one row more than they show."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = load_queries("nms.store")

    async def _all(self, statement: str, **values: Any) -> list[Row]:
        async with self._db.transaction() as conn:
            return await (await conn.execute(statement, values)).fetchall()

    async def links(self, after: str, limit: int) -> list[LinkRow]:
        return [link_of(row) for row in await self._all(self._sql.page_links, after=after, limit=limit)]

    async def link(self, link_id: str) -> LinkRow | None:
        rows = await self._all(self._sql.links, link_ids=[link_id])
        return link_of(rows[0]) if rows else None

    async def alarms(self, *, every: bool, before: tuple[datetime, str] | None, limit: int) -> list[Row]:
        at, key = before if before is not None else (None, None)
        return await self._all(self._sql.page_alarms, every=every, before_at=at, before_id=key, limit=limit)

    async def changes(self, before: tuple[datetime, str] | None, limit: int) -> list[Row]:
        at, key = before if before is not None else (None, None)
        return await self._all(self._sql.page_changes, before_at=at, before_id=key, limit=limit)

    async def change(self, change_id: str) -> Row | None:
        rows = await self._all(self._sql.one_change, change_id=change_id)
        return rows[0] if rows else None

    async def revisions(self, before: int | None, limit: int) -> list[Row]:
        return await self._all(self._sql.page_revisions, before=before, limit=limit)

    async def revision(self, revision_id: int) -> Row | None:
        rows = await self._all(self._sql.revision, id=revision_id)
        return rows[0] if rows else None

    async def elements(self) -> dict[str, Row]:
        return {row["element"]: row for row in await self._all(self._sql.elements)}

    async def used(self, after: str, limit: int) -> list[Row]:
        return await self._all(self._sql.page_used, after=after, limit=limit)

    async def told_after(self, sequence: int) -> list[Row]:
        """Our events after `sequence`, at most 200, in order."""
        return await self._all(self._sql.told_after, after=sequence)

    async def told_last(self) -> int:
        (row,) = await self._all(self._sql.told_last)
        return int(row["last_sequence"])
