"""Bytes of requests and replies: parsing them strictly, and saying what was wrong.

A reply is `{"ok": body}` or `{"error": {...}}` as `BellweaveError.to_wire` gives it. Used by `bus` at both
ends. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from qmodel.errors import BellweaveError, Internal, Invalid, from_wire

B = TypeVar("B", bound=BaseModel)

_MAX_ERRORS = 20


def pointer(parts: Sequence[int | str]) -> str:
    """A JSON pointer (RFC 6901) from a pydantic location."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def faults(errors: Sequence[ErrorDetails] | Sequence[dict[str, Any]], drop: int = 0) -> list[dict[str, str]]:
    """`{pointer, detail}` of each validation error, without the values that caused them."""
    return [
        {"pointer": pointer(error["loc"][drop:]) or "/", "detail": str(error["msg"])}
        for error in errors[:_MAX_ERRORS]
    ]


def parse_body(model: type[B], payload: bytes) -> B:
    """`payload` as `model`. Raises Invalid whose `where` points at the first wrong member."""
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        found = faults(error.errors(include_url=False, include_input=False, include_context=False))
        raise Invalid(found[0]["detail"], where=found[0]["pointer"], errors=found) from error


def encode_ok(body: BaseModel) -> bytes:
    return b'{"ok":' + body.model_dump_json().encode() + b"}"


def encode_error(error: BellweaveError) -> bytes:
    return b'{"error":' + to_json(error.to_wire(), fallback=str) + b"}"


def decode_reply(model: type[B], payload: bytes) -> B:
    """The body of a reply. Raises the callee's error as the class it was, Internal for nonsense."""
    try:
        envelope = json.loads(payload)
        if "error" in envelope:
            raise from_wire(envelope["error"])
        return model.model_validate(envelope["ok"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Internal("the peer's answer cannot be understood") from error
