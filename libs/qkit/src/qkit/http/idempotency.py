"""`Idempotency-Key`: a POST that is sent again is answered again, and done once.

The answer is kept in the transaction that does the work. The same key with another body is refused (422),
and while the first request is still in flight so is its twin (409).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel

from qkit.auth import Principal
from qkit.database import Connection
from qmodel.errors import Conflict, Invalid, KeyReused

_MAX_KEY = 200


class Idempotency:
    """One request's key, caller and digest; `key` None: the caller did not ask for it."""

    def __init__(self, key: str | None, scope: str, digest: bytes) -> None:
        self.key = key
        self._scope = scope
        self._digest = digest

    async def answer(
        self,
        conn: Connection,
        make: Callable[[], Awaitable[BaseModel]],
        *,
        status: int = 201,
        headers: Callable[[BaseModel], Mapping[str, str]] | Mapping[str, str] | None = None,
    ) -> Response:
        """`make()` once per key in the transaction of `conn`, as a response; later the same response again.

        Raises Conflict while another request has the key in flight, KeyReused for another body.
        """
        kept = None if self.key is None else await self._kept(conn)
        if kept is not None:
            return kept
        body = await make()
        extra = dict(headers(body) if callable(headers) else headers or {})
        payload = body.model_dump_json().encode()
        if self.key is not None:
            await conn.execute(
                "INSERT INTO kit.idempotency (scope, key, request_hash, status, headers, body)"
                " VALUES (%s, %s, %s, %s, %s::json, %s)",
                (self._scope, self.key, self._digest, status, json.dumps(extra), payload),
            )
        return Response(payload, status, headers=extra, media_type="application/json")

    async def _kept(self, conn: Connection) -> Response | None:
        name = int.from_bytes(
            hashlib.sha256(f"{self._scope}\0{self.key}".encode()).digest()[:8], "big", signed=True
        )
        held = await (await conn.execute("SELECT pg_try_advisory_xact_lock(%s) AS held", (name,))).fetchone()
        if held is None or not held["held"]:
            raise Conflict("a request with this Idempotency-Key is still in flight", retry_after_s=1.0)
        cursor = await conn.execute(
            "SELECT request_hash, status, headers, body FROM kit.idempotency WHERE scope = %s AND key = %s",
            (self._scope, self.key),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        if bytes(row["request_hash"]) != self._digest:
            raise KeyReused("this Idempotency-Key was used with another request", where="Idempotency-Key")
        replayed = {**row["headers"], "Idempotent-Replayed": "true"}
        return Response(bytes(row["body"]), row["status"], headers=replayed, media_type="application/json")


async def idempotency(
    request: Request, idempotency_key: Annotated[str | None, Header()] = None
) -> Idempotency:
    """The FastAPI dependency; declare it after the one that checks the caller."""
    if idempotency_key is not None and not (
        0 < len(idempotency_key) <= _MAX_KEY and idempotency_key.isprintable()
    ):
        raise Invalid(f"an Idempotency-Key has 1 to {_MAX_KEY} printable characters", where="Idempotency-Key")
    principal: Principal | None = getattr(request.state, "principal", None)
    caller = "" if principal is None else f"{principal.tenant or ''}/{principal.subject}"
    digest = hashlib.sha256(await request.body()).digest()
    return Idempotency(idempotency_key, f"{caller} {request.method} {request.url.path}", digest)
