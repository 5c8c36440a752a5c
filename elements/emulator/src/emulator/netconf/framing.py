"""How messages are told apart in a byte stream: end-of-message (RFC 6242, 4.3) and chunks (4.2).

Pure: bytes in, messages out, with caps on what one message may cost.
"""

from __future__ import annotations

END_OF_MESSAGE = b"]]>]]>"
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_MAX_HEADER_BYTES = 12
"""A chunk header is `\\n#` with at most ten digits."""


class FramingError(Exception):
    """The stream cannot be understood any more: the session must end."""


def frame_eom(message: bytes) -> bytes:
    return message + END_OF_MESSAGE


def frame_chunked(message: bytes) -> bytes:
    return b"\n#%d\n%b\n##\n" % (len(message), message)


class MessageTooBig(FramingError):
    """A message is beyond the cap."""


class Deframer:
    """Takes bytes as they come and gives whole messages. Starts with end-of-message framing; `chunked` is
    set after the hellos if both sides know base:1.1."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.chunked = False
        self._max = max_message_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_message(self) -> bytes | None:
        """The next whole message, or None until more bytes come. Raises FramingError."""
        return self._next_chunked() if self.chunked else self._next_eom()

    def _next_eom(self) -> bytes | None:
        end = self._buffer.find(END_OF_MESSAGE, self._searched)
        if end < 0:
            if len(self._buffer) > self._max:
                raise MessageTooBig("message too big")
            self._searched = max(0, len(self._buffer) - len(END_OF_MESSAGE) + 1)
            return None
        if end > self._max:
            raise MessageTooBig("message too big")
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(END_OF_MESSAGE)]
        self._searched = 0
        return message

    def _next_chunked(self) -> bytes | None:
        while True:
            end = self._buffer.find(b"\n", 2)
            header = bytes(self._buffer[: end + 1]) if end > 0 else bytes(self._buffer)
            if not b"\n#".startswith(header[:2]):
                raise FramingError("expected a chunk")
            if end < 0:
                if len(header) > _MAX_HEADER_BYTES:
                    raise FramingError("chunk header too long")
                return None
            if header == b"\n##\n":
                del self._buffer[: end + 1]
                return self._finish()
            size = _chunk_size(header)
            if self._size + size > self._max:
                raise MessageTooBig("message too big")
            if len(self._buffer) < end + 1 + size:
                return None
            self._chunks.append(bytes(self._buffer[end + 1 : end + 1 + size]))
            self._size += size
            del self._buffer[: end + 1 + size]

    def _finish(self) -> bytes:
        if not self._chunks:
            raise FramingError("a message has at least one chunk")
        message = b"".join(self._chunks)
        self._chunks, self._size = [], 0
        return message


def _chunk_size(header: bytes) -> int:
    digits = header[2:-1]
    if not digits.isdigit() or digits.startswith(b"0") or len(header) > _MAX_HEADER_BYTES + 1:
        raise FramingError("malformed chunk header")
    return int(digits)
