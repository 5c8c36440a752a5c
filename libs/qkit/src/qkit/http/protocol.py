"""HTTP/1.1 with a bound on headers and trailers; `serve` gives it to uvicorn.

uvicorn bounds them with its slow parser only. Nobody has to show a token to send headers, so without a bound
anybody could fill the memory.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024


class BoundedHead(HttpToolsProtocol):
    """Answers 400 and closes when more than `MAX_HEAD_BYTES` have come of which the parser has made neither
    a whole head, nor a part of a body, nor the end of a request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress = False
        self._pending_bytes = 0

    def on_headers_complete(self) -> None:
        self._progress = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._progress = False
        super().data_received(data)
        self._pending_bytes = 0 if self._progress else self._pending_bytes + len(data)
        if self._pending_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")
