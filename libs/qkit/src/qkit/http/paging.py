"""Cursor pagination: a page of items and an opaque cursor to the next, stable while rows come and go."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from qmodel.errors import Invalid

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


@dataclass(frozen=True)
class PageParams:
    """`limit` items after `cursor`. Stores fetch `limit + 1`, so that `Page.of` knows whether more follow."""

    limit: int
    cursor: str | None = None

    def after(self, *kinds: type) -> tuple[Any, ...] | None:
        """The key of the last item seen, a part of each of `kinds`; None on the first page.

        Raises Invalid for a cursor that is not one of this list: a caller may have made it up. Integers fit
        into 64 bits, times have a zone."""
        if self.cursor is None:
            return None
        try:
            parts = json.loads(base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4)))
        except (ValueError, UnicodeError):
            parts = None
        if not isinstance(parts, list) or len(parts) != len(kinds):
            raise Invalid("the cursor is not one of this list", where="cursor")
        key = tuple(_decoded(part) for part in parts)
        if not all(isinstance(part, kind) for part, kind in zip(key, kinds, strict=True)):
            raise Invalid("the cursor is not one of this list", where="cursor")
        return key


class Page(BaseModel, Generic[T]):
    """`next` is the cursor of the following page, null on the last."""

    items: list[T]
    next: str | None = None

    @classmethod
    def of(cls, items: Sequence[T], page: PageParams, key: Callable[[T], tuple[Any, ...]]) -> Page[T]:
        """A page of at most `limit` of `items`; `key` gives what they are ordered by."""
        shown = list(items[: page.limit])
        more = len(items) > page.limit
        return cls(items=shown, next=_cursor(key(shown[-1])) if more and shown else None)


def page_params(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> PageParams:
    """The FastAPI dependency."""
    return PageParams(limit, cursor)


def _cursor(key: tuple[Any, ...]) -> str:
    text = json.dumps([_encoded(part) for part in key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _encoded(part: Any) -> Any:
    return {"t": part.isoformat()} if isinstance(part, datetime) else part


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON can write what UTF-8 and the database cannot."""


def _decoded(part: Any) -> Any:
    """A part of a key; None, which is of no kind, for what cannot be one."""
    if isinstance(part, dict):
        try:
            at = datetime.fromisoformat(str(part.get("t")))
        except ValueError:
            return None
        return at if at.tzinfo is not None else None
    if isinstance(part, str):
        return part if part.isascii() or not _LONE_SURROGATE.search(part) else None
    return part if type(part) is int and abs(part) < 2**63 else None
