"""Errors as RFC 9457 problem documents: the one table from kinds to statuses.

`make_app` installs these; use cases raise `qmodel.errors` and know no status. An error that nobody foresaw is
a 500 without detail, and is logged.
"""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from qkit.wire import faults
from qmodel.errors import BellweaveError, Internal, Invalid, Kind, NotFound, TooLarge

MEDIA_TYPE = "application/problem+json"

_STATUS: dict[Kind, HTTPStatus] = {
    Kind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.CONFLICT: HTTPStatus.CONFLICT,
    Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Kind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Kind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Kind.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Kind.QUOTA_EXCEEDED: HTTPStatus.FORBIDDEN,
    Kind.INFEASIBLE: HTTPStatus.CONFLICT,
    Kind.PRECONDITION: HTTPStatus.PRECONDITION_FAILED,
    Kind.KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Kind.DEVICE: HTTPStatus.BAD_GATEWAY,
    Kind.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Kind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_MEMBERS = frozenset({"type", "title", "status", "detail", "instance", "where"})


class Problem(BaseModel):
    """RFC 9457 problem details. `where` points at the offending part: a JSON pointer, or a name."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    where: str | None = None
    errors: list[dict[str, str]] | None = None


OPENAPI: dict[str, Any] = {
    "description": "RFC 9457 problem",
    "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
}
"""How a route's errors stand in its OpenAPI document."""


def status_of(kind: Kind) -> int:
    return int(_STATUS[kind])


def problem_of(error: BellweaveError, instance: str | None = None) -> dict[str, Any]:
    """The problem document of an error; its facts are further members."""
    document: dict[str, Any] = {
        "type": f"urn:bellweave:problem:{error.kind.value}",
        "title": error.kind.value.replace("-", " ").capitalize(),
        "status": status_of(error.kind),
        "detail": error.detail,
        "instance": instance,
        "where": error.where,
    }
    shown = {name: value for name, value in document.items() if value is not None}
    return shown | {name: value for name, value in error.facts.items() if name not in _MEMBERS}


def respond(request: Request, error: BellweaveError, status: int | None = None) -> JSONResponse:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="bellweave"'
    document = problem_of(error, getattr(request.state, "instance", None))
    if status is not None:
        document["status"] = status
    # Facts may hold what JSON does not know (dates, decimals): text is enough for a reader.
    body = json.loads(json.dumps(document, default=str))
    return JSONResponse(body, document["status"], headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem document."""
    log = structlog.get_logger("qkit.http")

    @app.exception_handler(BellweaveError)
    async def ours(request: Request, error: BellweaveError) -> JSONResponse:
        if isinstance(error, Internal):
            log.error("request-failed", detail=error.detail, exc_info=error)
        return respond(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return respond(request, *_invalid(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, BellweaveError):  # ours, while FastAPI read the body
            return respond(request, error.__cause__)
        if error.status_code == HTTPStatus.NOT_FOUND:
            return respond(request, NotFound(f"there is nothing at {request.url.path}"))
        if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return respond(request, TooLarge(str(error.detail)))
        answer = respond(request, Invalid(str(error.detail)), error.status_code)
        answer.headers.update(error.headers or {})
        return answer


def unforeseen(request: Request, error: Exception) -> JSONResponse:
    """Log a bug, and answer it without detail."""
    instance = getattr(request.state, "instance", None)
    structlog.get_logger("qkit.http").error("request-failed", exc_info=error, instance=instance)
    return respond(request, Internal("something went wrong here; the log has it under this instance"))


def _invalid(error: RequestValidationError) -> tuple[Invalid, int]:
    """422 with a pointer to each fault; 400 for a body that is no JSON at all."""
    errors = error.errors()
    broken = next((e for e in errors if e["type"] == "json_invalid"), None)
    if broken is not None:
        position = broken["loc"][-1] if len(broken["loc"]) > 1 else 0
        reason = broken.get("ctx", {}).get("error", "not JSON")
        return Invalid(f"the body is not JSON: {reason} at character {position}", where="/"), 400
    found = [
        {**fault, "pointer": fault["pointer"] if e["loc"][0] == "body" else str(e["loc"][-1])}
        for e, fault in zip(errors, faults(errors, drop=1), strict=False)
    ]
    first = found[0]
    return Invalid(f"{first['pointer']}: {first['detail']}", where=first["pointer"], errors=found), 422
