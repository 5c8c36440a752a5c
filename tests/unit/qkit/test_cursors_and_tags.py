"""Cursors that a caller made up, pages to their end, and entity tags as RFC 9110 has them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from qkit.http import Page, PageParams, check_if_match, etag_of
from qmodel.errors import Invalid, PreconditionFailed


def cursor_of(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def test_pages_follow_each_other_to_the_end_without_gap_or_repetition() -> None:
    rows = [(datetime(2026, 1, 1, tzinfo=UTC), f"ord_{number:03d}") for number in range(25)]
    seen: list[tuple[datetime, str]] = []
    page = PageParams(10)
    while True:
        after = page.after(datetime, str)
        found = [row for row in rows if after is None or row > after][: page.limit + 1]
        answer = Page.of(found, page, key=lambda row: row)
        seen += answer.items
        assert len(answer.items) <= 10
        if answer.next is None:
            break
        page = PageParams(10, answer.next)
    assert seen == rows


def test_a_full_last_page_has_no_next() -> None:
    assert Page.of(["a", "b"], PageParams(2), key=lambda item: (item,)).next is None
    assert Page.of([], PageParams(2), key=lambda item: (item,)).next is None


@pytest.mark.parametrize(
    "parts",
    [
        [5],
        [None],
        [["x"]],
        [{"t": "yesterday"}],
        [{}],
        [True],
        ["a", "b"],
        [],
        [{"t": "2026-01-01T00:00:00Z"}],
    ],
)
def test_a_made_up_cursor_is_invalid_before_it_reaches_a_query(parts: list[Any]) -> None:
    with pytest.raises(Invalid) as refused:
        PageParams(10, cursor_of(*parts)).after(str)
    assert refused.value.where == "cursor"


@pytest.mark.parametrize("header", [None, "*", ' "7" ', '"1", "7"', 'W/"6", "7"'])
def test_if_match_lets_the_present_version_through(header: str | None) -> None:
    check_if_match(header, 7)


@pytest.mark.parametrize("header", ['"6"', '"77"', '"1","2"', 'W/"7"', '""'])
def test_if_match_stops_any_other(header: str) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        check_if_match(header, 7)
    assert refused.value.facts["current"] == etag_of(7)


@pytest.mark.parametrize("header", ["", "7", '"7', '7"', '"', "'7'", '"7";'])
def test_what_is_no_tag_is_invalid(header: str) -> None:
    with pytest.raises(Invalid):
        check_if_match(header, 7)
