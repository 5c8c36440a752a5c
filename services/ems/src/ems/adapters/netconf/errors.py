"""What can go wrong with a NETCONF device, as typed errors: every one is a `qmodel.errors.DeviceError`.

`errors_of` turns the `rpc-error` elements of one answer into one exception, which carries all of them.
Transport loss and silence are not here: they are `Unavailable` and `TimedOut`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lxml import etree

from qmodel.errors import DeviceError

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
_MESSAGE_LENGTH = 500
_MOST_ERRORS = 50


class ProtocolViolation(DeviceError):
    """The device does not speak NETCONF as the RFCs have it; its session is closed."""


class HostKeyChanged(DeviceError):
    """The device does not hold the pinned host key: another device, or somebody in between."""


class LoginRefused(DeviceError):
    """The device does not accept this user with this key or password."""


class NoNetconf(DeviceError):
    """The SSH server offers no `netconf` subsystem."""


class ModelMissing(DeviceError):
    """The device does not implement the YANG module that the configuration needs."""


class NoConfirmedCommit(DeviceError):
    """The device has no candidate or no confirmed commit: it cannot take part in an all-or-nothing change."""


@dataclass(frozen=True, slots=True)
class RpcErrorFact:
    """One `rpc-error` (RFC 6241 section 4.3), its texts cut to a sane length."""

    type: str
    tag: str
    severity: str
    message: str = ""
    path: str | None = None
    app_tag: str | None = None
    info: tuple[tuple[str, str], ...] = ()

    def as_fact(self) -> dict[str, Any]:
        fact: dict[str, Any] = {"type": self.type, "tag": self.tag, "severity": self.severity}
        if self.message:
            fact["message"] = self.message
        if self.path:
            fact["path"] = self.path
        if self.app_tag:
            fact["app_tag"] = self.app_tag
        if self.info:
            fact["info"] = dict(self.info)
        return fact


class RpcRefused(DeviceError):
    """The device answered with one or several `rpc-error`; the first one's tag chooses the subclass."""

    tag: ClassVar[str] = ""

    def __init__(self, errors: tuple[RpcErrorFact, ...]) -> None:
        first = errors[0]
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        super().__init__(
            f"{first.tag}: {first.message or 'no message'}{more}",
            where=first.path,
            errors=[error.as_fact() for error in errors],
        )
        self.errors = errors

    def has(self, tag: str) -> bool:
        return any(error.tag == tag for error in self.errors)


class LockDenied(RpcRefused):
    """Another session holds the lock, or the candidate was changed by one without a lock."""

    tag = "lock-denied"

    @property
    def holder(self) -> int | None:
        """Session id of whoever holds the lock; 0 is an entity that is no NETCONF session."""
        text = dict(self.errors[0].info).get("session-id", "")
        return int(text) if text.isdecimal() else None


class InUse(RpcRefused):
    tag = "in-use"


class InvalidValue(RpcRefused):
    tag = "invalid-value"


class DataExists(RpcRefused):
    tag = "data-exists"


class DataMissing(RpcRefused):
    tag = "data-missing"


class AccessDenied(RpcRefused):
    tag = "access-denied"


class OperationNotSupported(RpcRefused):
    tag = "operation-not-supported"


class OperationFailed(RpcRefused):
    tag = "operation-failed"


class UnknownElement(RpcRefused):
    tag = "unknown-element"


class UnknownNamespace(RpcRefused):
    tag = "unknown-namespace"


class ResourceDenied(RpcRefused):
    tag = "resource-denied"


_BY_TAG: dict[str, type[RpcRefused]] = {
    cls.tag: cls
    for cls in (
        LockDenied,
        InUse,
        InvalidValue,
        DataExists,
        DataMissing,
        AccessDenied,
        OperationNotSupported,
        OperationFailed,
        UnknownElement,
        UnknownNamespace,
        ResourceDenied,
    )
}


def errors_of(reply: etree._Element) -> RpcRefused | None:
    """The refusal that `reply` carries, or None; errors of severity `warning` alone refuse nothing."""
    facts = [_fact_of(element) for element in reply.iterchildren(f"{{{BASE}}}rpc-error")]
    serious = tuple(fact for fact in facts if fact.severity != "warning")[:_MOST_ERRORS]
    if not serious:
        return None
    return _BY_TAG.get(serious[0].tag, RpcRefused)(serious)


def _fact_of(element: etree._Element) -> RpcErrorFact:
    def text(name: str) -> str:
        return (element.findtext(f"{{{BASE}}}{name}") or "").strip()[:_MESSAGE_LENGTH]

    info = element.find(f"{{{BASE}}}error-info")
    pairs: list[tuple[str, str]] = []
    if info is not None:
        for child in list(info.iterchildren(tag=etree.Element))[:20]:
            name = etree.QName(child).localname
            pairs.append((name, " ".join("".join(map(str, child.itertext())).split())[:_MESSAGE_LENGTH]))
    return RpcErrorFact(
        type=text("error-type") or "application",
        tag=text("error-tag") or "operation-failed",
        severity=text("error-severity") or "error",
        message=text("error-message"),
        path=text("error-path") or None,
        app_tag=text("error-app-tag") or None,
        info=tuple(pairs),
    )
