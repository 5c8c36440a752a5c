"""Parameters of requests, read strictly: what is not expected, missing or not allowed is an RpcError."""

from __future__ import annotations

from lxml import etree

from emulator.datastore.store import DEFAULT_CONFIRM_TIMEOUT_S
from qyang.edit import BASE_NS
from qyang.errors import RpcError

MAX_CONFIRM_TIMEOUT_S = 7 * 86400
DEFAULT_OPERATIONS = ("merge", "replace", "none")


def parameters(
    element: etree._Element, *known: str, namespaces: tuple[str, ...] = ()
) -> dict[str, etree._Element]:
    """The parameters of an operation by name; any other is refused. `namespaces` are those of parameters that
    other modules add.

    Names of the base namespace are good everywhere: ncclient writes the filter of a subscription there."""
    namespaces = (str(etree.QName(element).namespace), BASE_NS, *namespaces)
    given: dict[str, etree._Element] = {}
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = etree.QName(child)
        if name.localname not in known or name.namespace not in namespaces or name.localname in given:
            raise RpcError(
                "unknown-element" if name.localname not in given else "bad-element",
                f"{name.localname} is not expected here", layer="protocol",
                info=(("bad-element", name.localname),),
            )  # fmt: skip
        given[name.localname] = child
    return given


def required(given: dict[str, etree._Element], name: str, element: etree._Element) -> etree._Element:
    if name not in given:
        raise RpcError(
            "missing-element", f"{etree.QName(element).localname} needs {name}", layer="protocol",
            info=(("bad-element", name),),
        )  # fmt: skip
    return given[name]


def single(element: etree._Element) -> etree._Element:
    children = [child for child in element if isinstance(child.tag, str)]
    if len(children) != 1:
        name = etree.QName(element).localname
        raise RpcError("missing-element" if not children else "bad-element", f"{name} names one datastore",
                       layer="protocol", info=(("bad-element", name),))  # fmt: skip
    return children[0]


def text_of(element: etree._Element) -> str:
    return (element.text or "").strip()


def choice(element: etree._Element | None, allowed: tuple[str, ...], default: str) -> str:
    if element is None:
        return default
    text = text_of(element)
    if text not in allowed:
        raise _invalid(element, f"must be one of {', '.join(allowed)}")
    return text


def boolean_of(element: etree._Element | None) -> bool | None:
    return None if element is None else choice(element, ("true", "false"), "") == "true"


def depth_of(element: etree._Element | None) -> int | None:
    if element is None or text_of(element) == "unbounded":
        return None
    text = text_of(element)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise _invalid(element, "must be between 1 and 65535, or unbounded")
    return int(text)


def timeout_s(element: etree._Element | None) -> float:
    if element is None:
        return DEFAULT_CONFIRM_TIMEOUT_S
    text = text_of(element)
    if not text.isdigit() or not 1 <= int(text) <= MAX_CONFIRM_TIMEOUT_S:
        raise _invalid(element, f"must be between 1 and {MAX_CONFIRM_TIMEOUT_S} seconds")
    return float(text)


def not_supported(reason: str, name: str) -> RpcError:
    return RpcError("operation-not-supported", reason, layer="protocol", info=(("bad-element", name),))


def _invalid(element: etree._Element, reason: str) -> RpcError:
    name = etree.QName(element).localname
    return RpcError("invalid-value", f"{name} {reason}", layer="protocol", info=(("bad-element", name),))
