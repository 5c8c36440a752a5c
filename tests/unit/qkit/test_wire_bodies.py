"""Bytes between services: parsed strictly, and errors that stay what they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from qkit.wire import decode_reply, encode_error, encode_ok, faults, parse_body, pointer
from qmodel.errors import _BY_KIND, BellweaveError, Infeasible, Internal, Invalid, QuotaExceeded


class Inner(BaseModel):
    rate_hz: float


class Body(BaseModel):
    name: str
    inner: list[Inner]


def test_a_fault_points_at_the_member_and_does_not_repeat_its_value() -> None:
    with pytest.raises(Invalid) as refused:
        parse_body(Body, b'{"name": "x", "inner": [{"rate_hz": 1}, {"rate_hz": "sesame"}]}')
    assert refused.value.where == "/inner/1/rate_hz"
    assert "sesame" not in str(refused.value.to_wire())


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"name": 1}'])
def test_nonsense_is_invalid_and_never_something_else(payload: bytes) -> None:
    with pytest.raises(Invalid):
        parse_body(Body, payload)


def test_many_faults_are_told_up_to_a_bound() -> None:
    many = json.dumps({"name": "x", "inner": [{}] * 500}).encode()
    with pytest.raises(Invalid) as refused:
        parse_body(Body, many)
    assert len(refused.value.facts["errors"]) == 20


def test_pointers_escape_what_rfc_6901_says() -> None:
    assert pointer(["a/b", 0, "c~d"]) == "/a~1b/0/c~0d"
    assert faults([{"loc": ("body", "x"), "msg": "wrong"}], drop=1) == [{"pointer": "/x", "detail": "wrong"}]


def test_a_body_crosses_as_it_was() -> None:
    body = Body(name="ü", inner=[Inner(rate_hz=0.1)])
    assert decode_reply(Body, encode_ok(body)) == body


@pytest.mark.parametrize("kind", sorted(_BY_KIND))
def test_every_error_crosses_with_class_place_delay_and_facts(kind: Any) -> None:
    cls = _BY_KIND[kind]
    with pytest.raises(BellweaveError) as heard:
        decode_reply(Body, encode_error(cls("no", where="/sites/2", retry_after_s=1.5, limit=3)))
    error = heard.value
    assert type(error) is cls
    assert (error.detail, error.where, error.retry_after_s) == ("no", "/sites/2", 1.5)
    assert error.facts == {"limit": 3}


def test_facts_that_json_does_not_know_cross_as_text() -> None:
    with pytest.raises(Infeasible) as heard:
        decode_reply(Body, encode_error(Infeasible("no", binding=object, numbers={1, 2})))
    assert "object" in heard.value.facts["binding"]


@pytest.mark.parametrize(
    "payload",
    [b"", b"nonsense", b"[]", b"{}", b'"x"', b'{"ok": {"name": 1}}', b'{"error": 7}', b'{"ok": null}'],
)
def test_an_answer_that_is_nonsense_is_our_error_not_the_callers(payload: bytes) -> None:
    with pytest.raises(Internal):
        decode_reply(Body, payload)


def test_an_error_kind_of_a_newer_peer_is_internal_with_its_detail() -> None:
    with pytest.raises(Internal, match="from the future"):
        decode_reply(Body, b'{"error": {"kind": "tomorrow", "detail": "from the future"}}')


def test_an_error_keeps_its_kind_where_it_is_raised_again() -> None:
    once = encode_error(QuotaExceeded("too many", limit=3))
    with pytest.raises(QuotaExceeded) as first:
        decode_reply(Body, once)
    assert encode_error(first.value) == once
