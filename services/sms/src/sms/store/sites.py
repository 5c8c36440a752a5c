"""What operators said about their sites, kept over restarts."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from qkit.database import Database
from qkit.queries import load_queries
from qmodel.contracts.nms import SiteView
from sms.ports import KnownSites


class SiteTable:
    """Implements `ports.SiteRows`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = load_queries("sms.store")

    async def load(self) -> list[KnownSites]:
        async with self._db.transaction() as conn:
            rows = await (await conn.execute(self._sql.known_sites)).fetchall()
        return [
            KnownSites(
                operator=row["operator"],
                instance=row["instance"],
                revision=row["revision"],
                sites=tuple(SiteView.model_validate(site) for site in row["sites"]),
                borders=tuple(row["borders"]),
            )
            for row in rows
        ]

    async def save(self, known: KnownSites) -> None:
        async with self._db.transaction() as conn:
            await conn.execute(
                self._sql.keep_sites,
                {
                    "instance": known.instance,
                    "operator": known.operator,
                    "revision": known.revision,
                    "sites": Jsonb([site.model_dump(mode="json") for site in known.sites]),
                    "borders": list(known.borders),
                },
            )
