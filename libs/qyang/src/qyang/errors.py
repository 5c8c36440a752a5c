"""The one error of YANG data: what RFC 6241 calls an rpc-error and RFC 8040 an error.

Raised by every part of `qyang` and by the protocol operations of a server; rendered by the protocol in front.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class DataPath:
    """Where in the data: an XPath whose prefixes are module names, and their namespaces."""

    text: str
    namespaces: dict[str, str] = field(default_factory=dict)


class RpcError(Exception):
    """Why a request was refused. `tag` is one of RFC 6241, appendix A; `info` are (element, text) pairs."""

    severity: ClassVar[str] = "error"

    def __init__(
        self,
        tag: str,
        message: str,
        *,
        layer: str = "application",
        path: DataPath | None = None,
        app_tag: str | None = None,
        info: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{tag}: {message}")
        self.tag = tag
        self.message = message
        self.layer = layer
        self.path = path
        self.app_tag = app_tag
        self.info = info


class RpcErrors(Exception):
    """Several errors of one request (error-option continue-on-error)."""

    def __init__(self, errors: list[RpcError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = errors
