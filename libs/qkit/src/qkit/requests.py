"""Answers a bus request once per request id, by keeping the reply in the transaction that did the work.

For handlers whose domain state does not make them idempotent by itself. Replies are pruned after days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from qkit.database import Connection
from qmodel.contracts import Body, Request
from qmodel.errors import Conflict

R = TypeVar("R", bound=Body)


async def once(conn: Connection, request: Request[R], make: Callable[[], Awaitable[R]]) -> R:
    """`make()` for a new request id, else the reply that was kept. A concurrent twin waits for the first one.

    Nothing is kept when `make` raises, since the transaction rolls back. Raises Conflict when the id was used
    for another request.
    """
    digest = hashlib.sha256(request.model_dump_json().encode()).digest()
    claimed = await conn.execute(
        "INSERT INTO kit.request_log (request_id, operation, body_hash) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (request.request_id, request.operation, digest),
    )
    if claimed.rowcount == 1:
        reply = await make()
        await conn.execute(
            "UPDATE kit.request_log SET reply = %s::json WHERE request_id = %s",
            (reply.model_dump_json(), request.request_id),
        )
        return reply
    cursor = await conn.execute(
        "SELECT operation, body_hash, reply::text AS reply FROM kit.request_log WHERE request_id = %s",
        (request.request_id,),
    )
    row: dict[str, Any] | None = await cursor.fetchone()
    if row is None or row["operation"] != request.operation or bytes(row["body_hash"]) != digest:
        raise Conflict("the request id was used for another request", where="/request_id")
    kept: R = type(request).reply.model_validate_json(row["reply"])
    return kept
