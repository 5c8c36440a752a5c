"""Message framing of RFC 6242: end-of-message for base:1.0 and for both hellos, chunks for base:1.1.

Bytes in, whole messages out; no I/O and no XML. `exchange` calls it. A peer that breaks the framing or a
cap gets a `ProtocolViolation`: the stream has then lost its place, and its owner must close it.
"""

from __future__ import annotations

import re

from ems.adapters.netconf.errors import ProtocolViolation

END_OF_MESSAGE = b"]]>]]>"
_CHUNK_HEADER = re.compile(rb"\n#(?:([1-9][0-9]{0,9})|(#))\n")
_LONGEST_HEADER = len(b"\n#4294967295\n")


def frame_legacy(message: bytes) -> bytes:
    return message + END_OF_MESSAGE


def frame_chunked(message: bytes) -> bytes:
    """One chunk: it may be as long as 4294967295 octets, and we never send nearly as much."""
    return b"\n#%d\n%b\n##\n" % (len(message), message)


class Deframer:
    """Cuts a byte stream into messages; starts with end-of-message framing, as every session does."""

    def __init__(self, *, message_bytes: int, chunk_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._chunk_bytes = chunk_bytes
        self._chunked = False
        self._buffer = bytearray()
        self._searched = 0
        self._body = bytearray()
        self._chunk_left = 0

    def use_chunks(self) -> None:
        """Both hellos named base:1.1: from the next octet on the peer sends chunks."""
        self._chunked = True
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. A message that was completed before a violation is lost."""
        self._buffer += data
        messages: list[bytes] = []
        while True:
            message = self._next_chunked() if self._chunked else self._next_legacy()
            if message is None:
                return messages
            messages.append(message)
            if not self._chunked:  # the caller may switch the framing after the hello
                return messages

    def pending(self) -> bool:
        """Whether octets are left that `feed(b"")` should look at."""
        return bool(self._buffer)

    def _next_legacy(self) -> bytes | None:
        end = self._buffer.find(END_OF_MESSAGE, self._searched)
        if end < 0:
            self._check_size(len(self._buffer))
            self._searched = max(0, len(self._buffer) - len(END_OF_MESSAGE) + 1)
            return None
        self._check_size(end)
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(END_OF_MESSAGE)]
        self._searched = 0
        return message

    def _next_chunked(self) -> bytes | None:
        while self._buffer:
            if self._chunk_left:
                self._take_chunk()
                continue
            header = _CHUNK_HEADER.match(self._buffer)
            if header is None:
                self._refuse_bad_header()
                return None
            length = header.group(1)
            del self._buffer[: header.end()]
            if length is None:
                if not self._body:
                    raise ProtocolViolation("the device ended a message that has no chunk")
                message = bytes(self._body)
                self._body.clear()
                return message
            self._begin_chunk(int(length))
        return None

    def _begin_chunk(self, length: int) -> None:
        if length > self._chunk_bytes:
            raise ProtocolViolation(f"the device sends a chunk of {length} octets", limit=self._chunk_bytes)
        self._check_size(len(self._body) + length)
        self._chunk_left = length

    def _take_chunk(self) -> None:
        taken = self._buffer[: self._chunk_left]
        self._body += taken
        self._chunk_left -= len(taken)
        del self._buffer[: len(taken)]

    def _refuse_bad_header(self) -> None:
        """Fewer octets than a header may have are an unfinished header only if they begin like one."""
        start = bytes(self._buffer[:_LONGEST_HEADER])
        if len(start) < _LONGEST_HEADER and re.fullmatch(rb"\n(#([1-9][0-9]{0,9}|#)?)?", start):
            return
        raise ProtocolViolation("the device broke the chunked framing of RFC 6242")

    def _check_size(self, octets: int) -> None:
        if octets > self._message_bytes:
            raise ProtocolViolation("the device sends too long a message", limit=self._message_bytes)
