"""Durable rows of the network-wide commit: the one place where `qcommit.machine.Change` meets SQL.

Every store of a service that takes part (SMS, NMS, EMS) calls these inside its own transaction, so that a
change's phase and the service's own rows move together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.types.json import Jsonb

from qcommit.machine import Change, Level, Member, Phase
from qkit.database import Connection
from qkit.queries import Queries, load_queries
from qmodel.contracts.commit import Outcome, Vote
from qmodel.errors import Conflict, Unavailable

_CLAIM_TRIES = 5


@functools.cache
def _sql() -> Queries:
    return load_queries("qkit", "commitlog.sql")


@dataclass(frozen=True)
class Stored:
    """A change as its row has it, with what the service put beside it."""

    change: Change
    body: dict[str, Any]


async def insert(conn: Connection, change: Change, claims: Iterable[str], body: dict[str, Any]) -> bool:
    """Store a new change and claim its resources, all or nothing; False if it was there already.

    Raises Conflict (facts `holder`, `resource`) when another change holds one of them; roll back then.
    """
    cursor = await conn.execute(_sql().insert_change, {**_row(change), "body": Jsonb(body)})
    if cursor.rowcount == 0:
        return False
    await claim(conn, change.change_id, claims)
    return True


async def claim(conn: Connection, change_id: str, resources: Iterable[str]) -> None:
    """Claim further resources for a change whose row exists. Raises Conflict as `insert` does, Unavailable
    when others claim and release them faster than we can look."""
    wanted = sorted(set(resources))
    if not wanted:
        return
    for _ in range(_CLAIM_TRIES):
        cursor = await conn.execute(_sql().claim, {"change_id": change_id, "resources": wanted})
        if cursor.rowcount == len(wanted):
            return
        others = await holders(conn, change_id, wanted)
        if others:
            resource, holder = next(iter(others.items()))
            raise Conflict(f"{resource} is claimed by another change", where=resource, holder=holder)
        # Nobody else has them now: what is not ours was given back between the two statements.
        wanted = await _not_held(conn, change_id, wanted)
        if not wanted:
            return
    raise Unavailable("the claimed resources change hands too often", where=wanted[0], retry_after_s=0.5)


async def holders(conn: Connection, change_id: str, resources: Iterable[str]) -> dict[str, str]:
    """Resource → the other change that holds it."""
    rows = await conn.execute(_sql().holders, {"change_id": change_id, "resources": list(resources)})
    return {row["resource"]: row["change_id"] for row in await rows.fetchall()}


async def _not_held(conn: Connection, change_id: str, resources: list[str]) -> list[str]:
    cursor = await conn.execute(_sql().held, {"change_id": change_id, "resources": resources})
    held = {row["resource"] for row in await cursor.fetchall()}
    return [resource for resource in resources if resource not in held]


async def save(conn: Connection, change: Change, *, opaque: Iterable[str] = ()) -> None:
    """Save a change; at its end give its claims back, except those of members of unknown state.

    A claim belongs to member `m` if it is `m` or begins with `m/`; for a member in `opaque`, whose claims
    cannot be told apart, everything stays held. Raises Unavailable when another process took the change over.
    """
    cursor = await conn.execute(_sql().update_change, _row(change))
    if cursor.rowcount == 0:
        raise Unavailable("another process has taken this change over", where=change.change_id)
    if change.phase.final:
        unknown = [member.name for member in change.unknown]
        await conn.execute(
            _sql().release, {"change_id": change.change_id, "unknown": unknown, "opaque": list(opaque)}
        )


async def load(conn: Connection, change_id: str) -> Stored | None:
    row = await (await conn.execute(_sql().load_change, {"change_id": change_id})).fetchone()
    if row is None:
        return None
    members = tuple(_member(member) for member in row["members"])
    return Stored(
        Change(
            change_id=row["change_id"],
            level=Level(row["level"]),
            epoch=row["epoch"],
            members=members,
            parent=row["parent"],
            phase=Phase(row["phase"]),
            confirm_timeout_s=row["confirm_timeout_s"],
            deadline_s=row["deadline_s"],
            refusal=row["refusal"],
            refused_where=row["refused_where"],
            provision_epoch=row["provision_epoch"],
            voted=row["voted"],
            decided_at_s=row["decided_at_s"],
        ),
        row["body"],
    )


async def unfinished(conn: Connection) -> list[str]:
    """Changes to take up after a start or a takeover, oldest first (at most 1000)."""
    rows = await conn.execute(_sql().unsettled)
    return [row["change_id"] for row in await rows.fetchall()]


async def outcome(conn: Connection, change_id: str) -> Outcome:
    """What a participant in doubt is told. No row means abort."""
    stored = await load(conn, change_id)
    return Outcome.ABORT if stored is None else stored.change.outcome


def _row(change: Change) -> dict[str, Any]:
    return {
        "change_id": change.change_id,
        "level": change.level.value,
        "epoch": change.epoch,
        "parent": change.parent,
        "phase": change.phase.value,
        "confirm_timeout_s": change.confirm_timeout_s,
        "deadline_s": change.deadline_s,
        "refusal": change.refusal,
        "refused_where": change.refused_where,
        "provision_epoch": change.provision_epoch,
        "voted": change.voted,
        "decided_at_s": change.decided_at_s,
        "members": Jsonb([asdict(member) for member in change.members]),
        "settled": change.phase.final and not change.unknown,
    }


def _member(row: dict[str, Any]) -> Member:
    return Member(**{**row, "vote": None if row["vote"] is None else Vote(row["vote"])})
