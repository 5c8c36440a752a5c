"""The operations of NETCONF: from a request's element to the body of its reply.

One `Operations` per session; a refusal is an RpcError, which the session renders.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from typing import TYPE_CHECKING

from lxml import etree

from emulator.datastore.store import CANDIDATE, DEFAULT_CONFIRM_TIMEOUT_S, RUNNING
from emulator.netconf.device import Device
from emulator.netconf.messages import MONITORING_NS, NMDA_NS, NOTIFICATION_NS, OK
from qyang.edit import BASE_NS, edit, edit_continuing, parse_config
from qyang.errors import RpcError, RpcErrors
from qyang.tree import Record, pruned, trimmed
from qyang.xmlout import to_xml

if TYPE_CHECKING:
    from emulator.netconf.session import NetconfSession

Handler = Callable[["Operations", etree._Element], Awaitable[str]]
MAX_CONFIRM_TIMEOUT_S = 7 * 86400
_DEFAULT_OPERATIONS = ("merge", "replace", "none")


class Operations:
    """What one session may ask for."""

    def __init__(self, device: Device, session: NetconfSession) -> None:
        self._device = device
        self._stores = device.stores
        self._session = session

    async def perform(self, element: etree._Element) -> str:
        """The body of the reply. Raises RpcError or RpcErrors."""
        handler = _HANDLERS.get(str(element.tag))
        if handler is None:
            name = etree.QName(element)
            raise RpcError(
                "operation-not-supported", f"no operation {name.localname}", layer="protocol",
                info=(("bad-element", name.localname),),
            )  # fmt: skip
        return await handler(self, element)

    def fault_name(self, element: etree._Element) -> str:
        """The name under which faults are set for this request."""
        name = etree.QName(element).localname
        if name != "commit":
            return name
        if element.find(f"{{{BASE_NS}}}confirmed") is not None:
            return "commit-confirmed"
        return "commit" if self._stores.pending is None else "confirm"

    # --- reads -------------------------------------------------------------------------------------------

    async def get(self, element: etree._Element) -> str:
        chosen_by = _filter(_parameters(element, "filter").get("filter"))
        tree = self._device.operational(chosen_by)
        return f"<data>{to_xml(self._device.schema.root, tree)}</data>"

    async def get_config(self, element: etree._Element) -> str:
        given = _parameters(element, "source", "filter")
        tree = self._source(_required(given, "source", element))
        return f"<data>{self._device.config_xml(tree, _filter(given.get('filter')))}</data>"

    async def get_data(self, element: etree._Element) -> str:
        given = _parameters(element, "datastore", "subtree-filter", "config-filter", "max-depth")
        name = _datastore_name(_required(given, "datastore", element))
        chosen_by = given.get("subtree-filter")
        config = _boolean(given.get("config-filter"))
        depth = _depth(given.get("max-depth"))
        root = self._device.schema.root
        if name != "operational" and config is not False and depth is None:
            text = self._device.config_xml(self._stores.of(name), chosen_by)
        else:
            if name == "operational":
                tree = self._device.operational(chosen_by)
            else:
                tree = self._stores.of(name) if config is not False else Record()
            tree = tree if config is None else pruned(root, tree, config=config)
            text = to_xml(root, tree if depth is None else trimmed(root, tree, depth))
        return f'<data xmlns="{NMDA_NS}">{text}</data>'

    async def get_schema(self, element: etree._Element) -> str:
        given = _parameters(element, "identifier", "version", "format")
        name = _text(_required(given, "identifier", element))
        version = _text(given["version"]) if "version" in given else None
        wanted_format = _text(given["format"]).rpartition(":")[2] if "format" in given else "yang"
        known = [
            module
            for module in self._device.schema.modules
            if module.name == name and version in (None, "", module.revision)
        ]
        source = self._device.schema.source(name) if known and wanted_format == "yang" else None
        if source is None:
            raise RpcError("invalid-value", f"no such schema: {name}")
        return f'<data xmlns="{MONITORING_NS}">{escape(source, quote=False)}</data>'

    # --- candidate ---------------------------------------------------------------------------------------

    async def edit_config(self, element: etree._Element) -> str:
        given = _parameters(element, "target", "default-operation", "test-option", "error-option", "config")
        self._require_candidate(self._target(_required(given, "target", element)))
        config = _required(given, "config", element)
        operation = _choice(given.get("default-operation"), _DEFAULT_OPERATIONS, "merge")
        test = _choice(given.get("test-option"), ("test-then-set", "set", "test-only"), "")
        on_error = _choice(
            given.get("error-option"),
            ("stop-on-error", "continue-on-error", "rollback-on-error"),
            "stop-on-error",
        )
        self._stores.require_access(CANDIDATE, self._session.session_id)
        errors: RpcErrors | None = None
        if on_error == "continue-on-error":
            tree, errors = edit_continuing(self._device.schema, self._stores.candidate, config, operation)
        else:
            tree = edit(self._device.schema, self._stores.candidate, config, operation)
        if test in ("test-then-set", "test-only"):
            # Without the option a candidate may be invalid between edits (RFC 7950, 8.3.3).
            self._stores.validate(tree)
        if test != "test-only":
            self._stores.set_candidate(tree, self._session.session_id)
        if errors is not None:
            raise errors
        return OK

    async def edit_data(self, element: etree._Element) -> str:
        given = _parameters(element, "datastore", "default-operation", "config")
        self._require_candidate(_datastore_name(_required(given, "datastore", element)))
        config = _required(given, "config", element)
        operation = _choice(given.get("default-operation"), _DEFAULT_OPERATIONS, "merge")
        self._stores.require_access(CANDIDATE, self._session.session_id)
        tree = edit(self._device.schema, self._stores.candidate, config, operation)
        self._stores.set_candidate(tree, self._session.session_id)
        return OK

    async def copy_config(self, element: etree._Element) -> str:
        given = _parameters(element, "target", "source")
        self._require_candidate(self._target(_required(given, "target", element)))
        tree = self._source(_required(given, "source", element), inline=True)
        self._stores.set_candidate(tree, self._session.session_id)
        return OK

    async def delete_config(self, element: etree._Element) -> str:
        raise RpcError("operation-not-supported", "there is no startup datastore", layer="protocol")

    async def discard_changes(self, element: etree._Element) -> str:
        _parameters(element)
        self._stores.discard(self._session.session_id)
        return OK

    async def validate(self, element: etree._Element) -> str:
        given = _parameters(element, "source")
        self._stores.validate(self._source(_required(given, "source", element), inline=True))
        return OK

    # --- locks and commits -------------------------------------------------------------------------------

    async def lock(self, element: etree._Element) -> str:
        given = _parameters(element, "target")
        self._stores.lock(self._target(_required(given, "target", element)), self._session.session_id)
        return OK

    async def unlock(self, element: etree._Element) -> str:
        given = _parameters(element, "target")
        self._stores.unlock(self._target(_required(given, "target", element)), self._session.session_id)
        return OK

    async def commit(self, element: etree._Element) -> str:
        given = _parameters(element, "confirmed", "confirm-timeout", "persist", "persist-id")
        confirmed = "confirmed" in given
        for name in ("confirm-timeout", "persist"):
            if name in given and not confirmed:
                raise RpcError(
                    "missing-element", f"{name} needs confirmed", layer="protocol",
                    info=(("bad-element", "confirmed"),),
                )  # fmt: skip
        await self._stores.commit(
            self._session.session_id,
            confirmed=confirmed,
            timeout_s=_timeout_s(given.get("confirm-timeout")),
            persist=_text(given["persist"]) if "persist" in given else None,
            persist_id=_text(given["persist-id"]) if "persist-id" in given else None,
        )
        return OK

    async def cancel_commit(self, element: etree._Element) -> str:
        given = _parameters(element, "persist-id")
        persist_id = _text(given["persist-id"]) if "persist-id" in given else None
        await self._stores.cancel_commit(self._session.session_id, persist_id)
        return OK

    # --- sessions ----------------------------------------------------------------------------------------

    async def close_session(self, element: etree._Element) -> str:
        _parameters(element)
        self._session.close_after_reply()
        return OK

    async def kill_session(self, element: etree._Element) -> str:
        text = _text(_required(_parameters(element, "session-id"), "session-id", element))
        victim = self._device.sessions.get(int(text)) if text.isdigit() else None
        if victim is None or victim is self._session:
            raise RpcError("invalid-value", f"no other session {text[:20]}", layer="protocol")
        await victim.end("killed", killed_by=self._session.session_id)
        return OK

    async def create_subscription(self, element: etree._Element) -> str:
        given = _parameters(element, "stream", "filter", "startTime", "stopTime")
        if "stream" in given and _text(given["stream"]) != "NETCONF":
            raise RpcError("invalid-value", "the only stream is NETCONF", layer="protocol")
        if "startTime" in given or "stopTime" in given:
            raise RpcError("operation-not-supported", "notifications are not replayed", layer="protocol")
        self._session.subscribe(_filter(given.get("filter")))
        return OK

    # --- parts of requests -------------------------------------------------------------------------------

    def _source(self, element: etree._Element, *, inline: bool = False) -> Record:
        chosen = _single(element)
        name = etree.QName(chosen).localname
        if name == "config" and inline:
            return parse_config(self._device.schema, chosen)
        return self._stores.of(_datastore_name(chosen) if name == "datastore" else _known(name))

    def _target(self, element: etree._Element) -> str:
        chosen = _single(element)
        name = etree.QName(chosen).localname
        return _datastore_name(chosen) if name == "datastore" else _known(name)

    def _require_candidate(self, name: str) -> None:
        if name != CANDIDATE:
            raise RpcError(
                "operation-not-supported", f"{name} is not written directly: edit the candidate and commit",
                layer="protocol",
            )  # fmt: skip


_HANDLERS: dict[str, Handler] = {
    f"{{{BASE_NS}}}get": Operations.get,
    f"{{{BASE_NS}}}get-config": Operations.get_config,
    f"{{{BASE_NS}}}edit-config": Operations.edit_config,
    f"{{{BASE_NS}}}copy-config": Operations.copy_config,
    f"{{{BASE_NS}}}delete-config": Operations.delete_config,
    f"{{{BASE_NS}}}lock": Operations.lock,
    f"{{{BASE_NS}}}unlock": Operations.unlock,
    f"{{{BASE_NS}}}validate": Operations.validate,
    f"{{{BASE_NS}}}commit": Operations.commit,
    f"{{{BASE_NS}}}cancel-commit": Operations.cancel_commit,
    f"{{{BASE_NS}}}discard-changes": Operations.discard_changes,
    f"{{{BASE_NS}}}close-session": Operations.close_session,
    f"{{{BASE_NS}}}kill-session": Operations.kill_session,
    f"{{{NMDA_NS}}}get-data": Operations.get_data,
    f"{{{NMDA_NS}}}edit-data": Operations.edit_data,
    f"{{{MONITORING_NS}}}get-schema": Operations.get_schema,
    f"{{{NOTIFICATION_NS}}}create-subscription": Operations.create_subscription,
}


def _parameters(element: etree._Element, *known: str) -> dict[str, etree._Element]:
    """The parameters of an operation by name; any other is refused.

    Names of the base namespace are good everywhere: ncclient writes the filter of a subscription there."""
    namespaces = (etree.QName(element).namespace, BASE_NS)
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


def _required(given: dict[str, etree._Element], name: str, element: etree._Element) -> etree._Element:
    if name not in given:
        raise RpcError(
            "missing-element", f"{etree.QName(element).localname} needs {name}", layer="protocol",
            info=(("bad-element", name),),
        )  # fmt: skip
    return given[name]


def _single(element: etree._Element) -> etree._Element:
    children = [child for child in element if isinstance(child.tag, str)]
    if len(children) != 1:
        name = etree.QName(element).localname
        raise RpcError("missing-element" if not children else "bad-element", f"{name} names one datastore",
                       layer="protocol", info=(("bad-element", name),))  # fmt: skip
    return children[0]


def _known(name: str) -> str:
    if name not in (RUNNING, CANDIDATE):
        raise RpcError(
            "operation-not-supported", f"there is no datastore {name}", layer="protocol",
            info=(("bad-element", name),),
        )  # fmt: skip
    return name


def _datastore_name(element: etree._Element) -> str:
    name = _text(element).rpartition(":")[2]
    if name not in (RUNNING, CANDIDATE, "intended", "operational"):
        raise RpcError("invalid-value", f"there is no datastore {name}", info=(("bad-element", "datastore"),))
    return name


def _filter(element: etree._Element | None) -> etree._Element | None:
    if element is None:
        return None
    kind = element.get("type") or element.get(f"{{{BASE_NS}}}type") or "subtree"
    if kind != "subtree":
        raise RpcError(
            "bad-attribute", "only subtree filters are supported", layer="protocol",
            info=(("bad-attribute", "type"), ("bad-element", "filter")),
        )  # fmt: skip
    return element


def _text(element: etree._Element) -> str:
    return (element.text or "").strip()


def _choice(element: etree._Element | None, allowed: tuple[str, ...], default: str) -> str:
    if element is None:
        return default
    text = _text(element)
    if text not in allowed:
        raise _invalid(element, f"must be one of {', '.join(allowed)}")
    return text


def _boolean(element: etree._Element | None) -> bool | None:
    return None if element is None else _choice(element, ("true", "false"), "") == "true"


def _depth(element: etree._Element | None) -> int | None:
    if element is None or _text(element) == "unbounded":
        return None
    text = _text(element)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise _invalid(element, "must be between 1 and 65535, or unbounded")
    return int(text)


def _timeout_s(element: etree._Element | None) -> float:
    if element is None:
        return DEFAULT_CONFIRM_TIMEOUT_S
    text = _text(element)
    if not text.isdigit() or not 1 <= int(text) <= MAX_CONFIRM_TIMEOUT_S:
        raise _invalid(element, f"must be between 1 and {MAX_CONFIRM_TIMEOUT_S} seconds")
    return float(text)


def _invalid(element: etree._Element, reason: str) -> RpcError:
    name = etree.QName(element).localname
    return RpcError("invalid-value", f"{name} {reason}", layer="protocol", info=(("bad-element", name),))
