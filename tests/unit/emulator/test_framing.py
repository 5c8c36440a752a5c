"""Both framings of RFC 6242: whatever way the bytes come, the messages are the same; bad streams end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.netconf.framing import Deframer, FramingError, frame_chunked, frame_eom

_MESSAGES = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5)


def _received(deframer: Deframer, stream: bytes, cuts: list[int]) -> list[bytes]:
    """The messages of a stream that comes in pieces."""
    found = []
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    for start, end in pairwise(places):
        deframer.feed(stream[start:end])
        while (message := deframer.next_message()) is not None:
            found.append(message)
    return found


@given(messages=_MESSAGES, cuts=st.lists(st.integers(0, 1000), max_size=8))
def test_chunked_messages_survive_any_cutting(messages: list[bytes], cuts: list[int]) -> None:
    deframer = Deframer()
    deframer.chunked = True
    assert _received(deframer, b"".join(map(frame_chunked, messages)), cuts) == messages


@given(messages=_MESSAGES, cuts=st.lists(st.integers(0, 1000), max_size=8))
def test_messages_with_an_end_marker_survive_any_cutting(messages: list[bytes], cuts: list[int]) -> None:
    clean = [message.replace(b"]", b"-") for message in messages]
    assert _received(Deframer(), b"".join(map(frame_eom, clean)), cuts) == clean


@given(message=st.binary(min_size=1, max_size=60), sizes=st.lists(st.integers(1, 9), max_size=30))
def test_a_message_may_come_in_many_chunks(message: bytes, sizes: list[int]) -> None:
    stream, at = b"", 0
    for size in [*sizes, len(message)]:
        piece = message[at : at + size]
        at += size
        if piece:
            stream += b"\n#%d\n%b" % (len(piece), piece)
    deframer = Deframer()
    deframer.chunked = True
    deframer.feed(stream + b"\n##\n")
    assert deframer.next_message() == message


def test_framing_changes_after_the_hello() -> None:
    deframer = Deframer()
    deframer.feed(frame_eom(b"<hello/>") + frame_chunked(b"<rpc/>"))
    assert deframer.next_message() == b"<hello/>"
    deframer.chunked = True
    assert deframer.next_message() == b"<rpc/>"


@pytest.mark.parametrize(
    "stream",
    [b"<rpc/>]]>]]>", b"\n#0\n\n##\n", b"\n#-1\nx", b"\n#01\nx", b"\n#x\n", b"\n##\n", b"\n#99999999999999",
     b"\n#2000\n", b"\r\n#1\nx"],
)  # fmt: skip
def test_a_bad_chunk_ends_the_session(stream: bytes) -> None:
    deframer = Deframer(max_message_bytes=1000)
    deframer.chunked = True
    deframer.feed(stream)
    with pytest.raises(FramingError):
        deframer.next_message()


def test_a_message_has_a_greatest_size() -> None:
    deframer = Deframer(max_message_bytes=100)
    deframer.feed(b"x" * 101)
    with pytest.raises(FramingError):
        deframer.next_message()
    chunked = Deframer(max_message_bytes=100)
    chunked.chunked = True
    chunked.feed((b"\n#60\n" + b"x" * 60) * 2)
    with pytest.raises(FramingError):
        chunked.next_message()
