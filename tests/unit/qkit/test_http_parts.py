"""Pages, versions, problems and logs: the small promises of every door."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkit.http import Page, PageParams, check_if_match, etag_of, problem_of, status_of
from qkit.queries import parse_queries
from qkit.telemetry import redact
from qmodel.errors import Infeasible, Invalid, Kind, PreconditionFailed, from_wire

keys = st.tuples(
    st.text(max_size=20) | st.integers(-(2**53), 2**53) | st.datetimes(timezones=st.just(UTC)),
    st.integers(0, 10**9),
)


@given(key=keys)
def test_a_cursor_gives_back_the_key_that_it_was_made_of(key: tuple[object, int]) -> None:
    page = Page[int].of([1, 2], PageParams(1), key=lambda item: key)
    assert page.items == [1]
    assert PageParams(1, page.next).after(type(key[0]), int) == key


def test_the_last_page_has_no_cursor() -> None:
    assert Page[int].of([1, 2], PageParams(2), key=lambda item: (item,)).next is None


@pytest.mark.parametrize("cursor", ["", "!!!", "e30", "WzFd", "W1tdLDFd", "x" * 400])
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        PageParams(10, cursor).after(str, int)


def test_if_match_holds_for_the_version_that_was_read() -> None:
    check_if_match(None, 3)
    check_if_match("*", 3)
    check_if_match(f"{etag_of(1)}, {etag_of(3)}", 3)
    with pytest.raises(PreconditionFailed):
        check_if_match(etag_of(2), 3)
    with pytest.raises(Invalid):
        check_if_match("3", 3)


def test_every_kind_of_error_has_a_status() -> None:
    assert {status_of(kind) // 100 for kind in Kind} == {4, 5}


def test_a_problem_says_what_and_where_and_keeps_its_own_members() -> None:
    error = Infeasible("too little", where="sat", refusals=[{"constraint": "capacity"}], status="mine")
    document = problem_of(error, "req_1")
    assert document["type"] == "urn:bellweave:problem:infeasible"
    assert (document["status"], document["where"]) == (409, "sat")
    assert document["refusals"] == [{"constraint": "capacity"}]


def test_an_error_crosses_the_wire_with_its_class() -> None:
    error = from_wire(Infeasible("no", where="x", retry_after_s=2.0, best=1).to_wire())
    assert isinstance(error, Infeasible)
    assert (error.detail, error.where, error.retry_after_s, error.facts) == ("no", "x", 2.0, {"best": 1})
    assert from_wire({"kind": "from-the-future", "detail": "?"}).kind is Kind.INTERNAL


def test_no_secret_reaches_the_log() -> None:
    entry = redact(
        None,
        "info",
        {
            "event": "login with password=hunter2 at nats://sms:hunter2@host",
            "api_token": "hunter2",
            "nested": {"private_key": "hunter2", "seen": datetime(2026, 1, 1, tzinfo=UTC)},
        },
    )
    assert "hunter2" not in str(entry)


def test_named_queries_are_split_and_doubles_refused() -> None:
    queries = parse_queries("-- one: gets one\nSELECT 1\n\n-- two: gets two\nSELECT 2\n")
    assert (queries.one, queries.purposes["two"]) == ("SELECT 1", "gets two")
    with pytest.raises(ValueError, match="twice"):
        parse_queries("-- one: a\nSELECT 1\n-- one: b\nSELECT 2\n")
    with pytest.raises(AttributeError):
        _ = queries.three
