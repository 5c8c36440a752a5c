"""Revisions of configurations, and drift: implements `ems.ports.RevisionStore`."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from psycopg.types.json import Jsonb

from ems.domain.configuration import Content
from ems.domain.drift import Cause, Comparison, Datastore, Drift, Policy, Revision
from ems.domain.observation import ActiveAlarm
from ems.domain.quantum_node import snapshot_of
from ems.domain.report import drift_alarm
from ems.domain.snapshot import Snapshot
from qkit.database import Connection, Database
from qkit.events import emit
from qkit.queries import Queries, load_queries
from qmodel.contracts.ems import DriftChanged, DriftState
from qmodel.errors import Conflict, NotFound
from qmodel.nodeconfig import NodeConfig
from qyang.leaves import Difference

_MOST_LINES = 200


@functools.cache
def _sql() -> Queries:
    return load_queries("ems.store", "datastores.sql")


class Alarms(Protocol):
    """What is needed of the store of devices."""

    async def tell_alarms(self, conn: Connection, element: str, alarms: Iterable[ActiveAlarm]) -> None: ...


class DatastoreStore:
    """`db` is the worker's pool."""

    def __init__(self, db: Database, alarms: Alarms) -> None:
        self._db = db
        self._alarms = alarms

    async def newest_intended(self, element: str) -> tuple[Revision | None, Policy]:
        async with self._db.transaction() as conn:
            policy = await self._policy(conn, _sql().policy_of, element)
            row = await _newest(conn, element, Datastore.INTENDED)
        return None if row is None else _revision(Datastore.INTENDED, row), policy

    async def adopt(self, element: str, running: Content) -> tuple[int, Content]:
        async with self._db.transaction() as conn:
            await self._policy(conn, _sql().hold_device, element)
            row = await _newest(conn, element, Datastore.INTENDED)
            if row is not None:
                return row["revision"], _content(row)
            node = await (await conn.execute(_sql().node_intended, {"element": element})).fetchone()
            target = NodeConfig() if node is None else NodeConfig.model_validate(node["target"])
            taken = running.with_node(snapshot_of(target))
            return await _put(conn, element, Datastore.INTENDED, taken, Cause.LEARNED, "nobody"), taken

    async def intend(self, element: str, content: Content, cause: Cause, who: str, after: int) -> int:
        async with self._db.transaction() as conn:
            await self._policy(conn, _sql().hold_device, element)
            row = await _newest(conn, element, Datastore.INTENDED)
            if (0 if row is None else row["revision"]) != after:
                raise Conflict("something else was intended meanwhile", where=element, retry_after_s=1.0)
            return await _put(conn, element, Datastore.INTENDED, content, cause, who)

    async def record(
        self, element: str, running: Content, found: Comparison, ended: DriftState, who: str, at: datetime
    ) -> None:
        async with self._db.transaction() as conn:
            await self._policy(conn, _sql().hold_device, element)
            intended = await _newest(conn, element, Datastore.INTENDED)
            if intended is None or intended["revision"] != found.revision:
                raise Conflict("something else was intended meanwhile", where=element, retry_after_s=1.0)
            known = await _newest(conn, element, Datastore.RUNNING)
            if known is None or known["digest"] != running.digest:
                await _put(conn, element, Datastore.RUNNING, running, Cause.READ, who)
            await self._tell_drift(conn, element, found.difference, ended, who, at)

    async def _tell_drift(
        self,
        conn: Connection,
        element: str,
        difference: tuple[Difference, ...],
        ended: DriftState,
        who: str,
        at: datetime,
    ) -> None:
        values = {"element": element, "at": at, "who": who, "state": ended.value}
        if difference:
            told = [[each.path, each.before, each.after] for each in difference]
            values["difference"] = Jsonb(told)
        query = _sql().open_drift if difference else _sql().end_drift
        row = await (await conn.execute(query, values)).fetchone()
        if row is None:  # known already, or there was none
            return
        lines = tuple(line[:2000] for each in difference for line in each.lines)[:_MOST_LINES]
        await self._alarms.tell_alarms(conn, element, (drift_alarm(difference, at),))
        await emit(
            conn,
            DriftChanged(
                element=element,
                state=DriftState.OPEN if difference else ended,
                found_at=row["found_at"],
                difference=lines,
                ended_by=None if difference else who,
            ),
        )

    async def set_policy(self, element: str, policy: Policy) -> None:
        async with self._db.transaction() as conn:
            await self._policy(conn, _sql().hold_device, element)
            await conn.execute(_sql().set_policy, {"element": element, "policy": policy.value})

    async def policy(self, element: str) -> Policy:
        async with self._db.transaction() as conn:
            return await self._policy(conn, _sql().policy_of, element)

    async def revision(self, element: str, datastore: str, number: int | None) -> Revision:
        async with self._db.transaction() as conn:
            await self._policy(conn, _sql().policy_of, element)
            if number is None:
                row = await _newest(conn, element, Datastore(datastore))
            else:
                values = {"element": element, "datastore": datastore, "revision": min(number, 2**31 - 1)}
                row = await (await conn.execute(_sql().one_revision, values)).fetchone()
        if row is None:
            name = datastore if number is None else f"{datastore}@{number}"
            raise NotFound(f"{element} has no {name}", where=element)
        return _revision(Datastore(datastore), row)

    async def revisions(self, element: str, datastore: Datastore, before: int, limit: int) -> list[Revision]:
        values = {"element": element, "datastore": datastore.value, "before": before, "limit": limit}
        async with self._db.transaction() as conn:
            await self._policy(conn, _sql().policy_of, element)
            rows = await (await conn.execute(_sql().list_revisions, values)).fetchall()
        return [_revision(datastore, row) for row in rows]

    async def drifts(self, element: str | None, all_states: bool, before: int, limit: int) -> list[Drift]:
        values = {"element": element, "all": all_states, "before": before, "limit": limit}
        async with self._db.transaction() as conn:
            rows = await (await conn.execute(_sql().list_drifts, values)).fetchall()
        return [_drift(row) for row in rows]

    async def _policy(self, conn: Connection, query: str, element: str) -> Policy:
        row = await (await conn.execute(query, {"element": element})).fetchone()
        if row is None:
            raise NotFound(f"no device {element!r}", where=element)
        return Policy(row["drift_policy"])


async def follow_change(conn: Connection, element: str, target: NodeConfig, change_id: str) -> None:
    """A change was committed: what is intended has other circuits from now on. Nothing where the device was
    not taken in yet; whoever takes it in knows of the change. The caller has inserted into `intended` before:
    that refers to the device, and so it has waited for whoever held it (`hold_device`)."""
    row = await _newest(conn, element, Datastore.INTENDED)
    if row is not None:
        content = _content(row).with_node(snapshot_of(target))
        await _put(conn, element, Datastore.INTENDED, content, Cause.CHANGE, "nms", change_id)


async def _newest(conn: Connection, element: str, datastore: Datastore) -> dict[str, Any] | None:
    values = {"element": element, "datastore": datastore.value}
    return await (await conn.execute(_sql().newest, values)).fetchone()


async def _put(
    conn: Connection,
    element: str,
    datastore: Datastore,
    content: Content,
    cause: Cause,
    who: str,
    change_id: str | None = None,
) -> int:
    """The number of the new revision; 0 if the change has made one already."""
    values = {
        "digest": content.digest,
        "base": content.base,
        "node": content.node.to_json(),
        "unknown": Jsonb(content.unknown),
        "leaves": Jsonb(content.base_leaves),
        "element": element,
        "datastore": datastore.value,
        "cause": cause.value,
        "who": who,
        "change_id": change_id,
    }
    await conn.execute(_sql().put_content, values)
    row = await (await conn.execute(_sql().put_revision, values)).fetchone()
    return 0 if row is None else int(row["revision"])


def _content(row: dict[str, Any]) -> Content:
    return Content(row["base"], Snapshot.from_json(row["node"]), row["unknown"], row["leaves"])


def _revision(datastore: Datastore, row: dict[str, Any]) -> Revision:
    return Revision(
        datastore=datastore,
        revision=row["revision"],
        digest=row["digest"],
        cause=Cause(row["cause"]),
        who=row["who"],
        at=row["at"],
        change_id=row["change_id"],
        content=_content(row) if "base" in row else None,
    )


def _drift(row: dict[str, Any]) -> Drift:
    return Drift(
        id=row["id"],
        element=row["element"],
        found_at=row["found_at"],
        difference=tuple(Difference(*each) for each in row["difference"]),
        state=DriftState(row["state"]),
        ended_at=row["ended_at"],
        ended_by=row["ended_by"],
    )
