"""Messages read from XML and written to it: hello, rpc, rpc-reply, rpc-error, notification.

No entities, no DTD, no network, and libxml2's cap of 256 on depth: a message that needs more is malformed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from lxml import etree

from qyang.edit import BASE_NS
from qyang.errors import RpcError, RpcErrors

NOTIFICATION_NS = "urn:ietf:params:xml:ns:netconf:notification:1.0"
NMDA_NS = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
MONITORING_NS = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
OK = "<ok/>"
_RPC = f"{{{BASE_NS}}}rpc"
_HELLO = f"{{{BASE_NS}}}hello"


class MalformedMessage(Exception):
    """Not XML that this server reads."""


@dataclass(frozen=True)
class Rpc:
    """A request: its operation, and the attributes of rpc that the reply must repeat, as XML text."""

    operation: etree._Element
    attributes: str


def parse(message: bytes) -> etree._Element:
    """The root of an XML message. Raises MalformedMessage."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(message.strip(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MalformedMessage(f"not well-formed: {str(error)[:200]}") from None
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise MalformedMessage("a document type is not accepted")
    return root


def client_capabilities(message: bytes) -> set[str]:
    """What the client's hello offers. Raises MalformedMessage if it is not a client's hello."""
    root = parse(message)
    if root.tag != _HELLO or root.find(f"{{{BASE_NS}}}session-id") is not None:
        raise MalformedMessage("expected a client's hello")
    found = root.iterfind(f"{{{BASE_NS}}}capabilities/{{{BASE_NS}}}capability")
    return {(element.text or "").strip() for element in found}


def server_hello(capabilities: list[str], session_id: int) -> bytes:
    listed = "".join(f"<capability>{escape(uri)}</capability>" for uri in capabilities)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><hello xmlns="{BASE_NS}"><capabilities>{listed}'
        f"</capabilities><session-id>{session_id}</session-id></hello>"
    ).encode()


def read_rpc(root: etree._Element) -> Rpc:
    """The request in `root`. Raises RpcError (which a reply without message-id carries) if it is none."""
    if root.tag != _RPC:
        raise RpcError("malformed-message", "expected an rpc", layer="rpc")
    attributes = _attributes(root)
    if root.get("message-id") is None:
        raise RpcError(
            "missing-attribute", "rpc needs a message-id", layer="rpc",
            info=(("bad-attribute", "message-id"), ("bad-element", "rpc")),
        )  # fmt: skip
    operations = [child for child in root if isinstance(child.tag, str)]
    if len(operations) != 1:
        raise RpcError("missing-element" if not operations else "bad-element", "rpc holds one operation",
                       layer="rpc", info=(("bad-element", "rpc"),))  # fmt: skip
    return Rpc(operations[0], attributes)


def reply(attributes: str, body: str) -> bytes:
    return f'<rpc-reply xmlns="{BASE_NS}"{attributes}>{body}</rpc-reply>'.encode()


def error_body(error: RpcError | RpcErrors) -> str:
    errors = error.errors if isinstance(error, RpcErrors) else [error]
    return "".join(_error_xml(one) for one in errors)


def notification(content: str) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        f'<notification xmlns="{NOTIFICATION_NS}"><eventTime>{at}</eventTime>{content}</notification>'
    ).encode()


def _error_xml(error: RpcError) -> str:
    parts = [
        f"<error-type>{error.layer}</error-type><error-tag>{error.tag}</error-tag>"
        f"<error-severity>{error.severity}</error-severity>"
    ]
    if error.app_tag:
        parts.append(f"<error-app-tag>{escape(error.app_tag)}</error-app-tag>")
    if error.path is not None:
        declared = "".join(f' xmlns:{name}="{uri}"' for name, uri in error.path.namespaces.items())
        parts.append(f"<error-path{declared}>{escape(error.path.text, quote=False)}</error-path>")
    parts.append(f'<error-message xml:lang="en">{_printable(error.message)}</error-message>')
    if error.info:
        inside = "".join(f"<{name}>{_printable(text)}</{name}>" for name, text in error.info)
        parts.append(f"<error-info>{inside}</error-info>")
    return f"<rpc-error>{''.join(parts)}</rpc-error>"


def _printable(text: str) -> str:
    """Escaped, without the characters that XML cannot carry."""
    return escape("".join(char for char in text if char >= " " or char in "\t\n"), quote=False)


def _attributes(root: etree._Element) -> str:
    """The attributes of rpc, to be repeated unmodified in the reply (RFC 6241, 4.2)."""
    if len(root.attrib) == 1 and "message-id" in root.attrib and len(root.nsmap) <= 1:
        return f' message-id="{escape(str(root.get("message-id")))}"'
    prefixes = {uri: name for name, uri in root.nsmap.items() if name}
    declared = "".join(f' xmlns:{name}="{escape(uri)}"' for uri, name in prefixes.items())
    given = []
    for key, value in root.attrib.items():
        name = etree.QName(key)
        prefix = f"{prefixes[name.namespace]}:" if name.namespace in prefixes else ""
        if name.namespace and not prefix:
            continue
        given.append(f' {prefix}{name.localname}="{escape(str(value))}"')
    return declared + "".join(given)
