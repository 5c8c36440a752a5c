"""Framing of RFC 6242, from octets in any pieces to whole messages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.adapters.netconf.errors import ProtocolViolation
from ems.adapters.netconf.framing import Deframer, frame_chunked, frame_legacy


def deframer(*, chunked: bool, message_bytes: int = 1000, chunk_bytes: int = 1000) -> Deframer:
    made = Deframer(message_bytes=message_bytes, chunk_bytes=chunk_bytes)
    if chunked:
        made.use_chunks()
    return made


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    return [octets[a:b] for a, b in pairwise(edges)]


def feed_all(reader: Deframer, octets: list[bytes]) -> list[bytes]:
    messages = []
    for piece in octets:
        found = reader.feed(piece)
        while found:
            messages += found
            found = reader.feed(b"") if reader.pending() else []
    return messages


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5), st.lists(st.integers(0, 10_000)))
def test_chunked_messages_come_out_whole_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(frame_chunked(message) for message in messages)
    assert feed_all(deframer(chunked=True), pieces(octets, cuts)) == messages


@given(st.lists(st.integers(0, 10_000)))
def test_legacy_messages_come_out_whole_however_they_are_cut(cuts: list[int]) -> None:
    octets = frame_legacy(b"<one/>") + frame_legacy(b"<two>]]></two>") + frame_legacy(b"<three/>")
    assert feed_all(deframer(chunked=False), pieces(octets, cuts)) == [
        b"<one/>",
        b"<two>]]></two>",
        b"<three/>",
    ]


def test_a_message_may_have_many_chunks() -> None:
    assert deframer(chunked=True).feed(b"\n#3\n<a>\n#4\n</a>\n##\n") == [b"<a></a>"]


def test_framing_changes_between_the_hello_and_what_follows_it() -> None:
    reader = deframer(chunked=False)
    assert reader.feed(frame_legacy(b"<hello/>") + frame_chunked(b"<next/>")) == [b"<hello/>"]
    reader.use_chunks()
    assert reader.pending()
    assert reader.feed(b"") == [b"<next/>"]


@pytest.mark.parametrize(
    "octets",
    [
        b"\n#0\n",
        b"\n#-1\n",
        b"\n#03\nabc",
        b"\n#99999999999\n",
        b"<rpc-reply/>]]>]]>",
        b"\n#2\nab<rpc-reply/>!",
        b"\n##\n",
        b"\r\n#3\nabc",
    ],
)
def test_broken_chunks_are_a_violation(octets: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        deframer(chunked=True).feed(octets)


def test_a_chunk_above_its_cap_is_refused_before_it_has_arrived() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        deframer(chunked=True, chunk_bytes=10).feed(b"\n#11\n")
    assert caught.value.facts["limit"] == 10


def test_a_message_above_its_cap_is_refused_though_each_chunk_is_small() -> None:
    reader = deframer(chunked=True, message_bytes=10)
    reader.feed(b"\n#6\nabcdef")
    with pytest.raises(ProtocolViolation):
        reader.feed(b"\n#6\n")


def test_a_legacy_message_without_end_is_refused_at_its_cap() -> None:
    reader = deframer(chunked=False, message_bytes=10)
    reader.feed(b"x" * 10)
    with pytest.raises(ProtocolViolation):
        reader.feed(b"x")
