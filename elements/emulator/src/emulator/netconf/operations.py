"""The operations of NETCONF: from a request's element to the body of its reply.

One `Operations` per session; a refusal is an RpcError, which the session renders.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from typing import TYPE_CHECKING

from lxml import etree

from emulator.datastore.store import CANDIDATE, RUNNING, STARTUP
from emulator.netconf.abilities import Ability
from emulator.netconf.defaults import Defaults, untagged
from emulator.netconf.device import Device, Shape
from emulator.netconf.filters import Filter, SubtreeFilter, XPathFilter, filter_of
from emulator.netconf.messages import MONITORING_NS, NMDA_NS, NOTIFICATION_NS, OK
from emulator.netconf.requests import (
    DEFAULT_OPERATIONS,
    boolean_of,
    choice,
    depth_of,
    not_supported,
    parameters,
    required,
    single,
    text_of,
    timeout_s,
)
from qyang.edit import BASE_NS, edit, edit_continuing, parse_config
from qyang.errors import RpcError, RpcErrors
from qyang.tree import Record

if TYPE_CHECKING:
    from emulator.netconf.session import NetconfSession

Handler = Callable[["Operations", etree._Element], Awaitable[str]]
WITH_DEFAULTS_NS = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"


class Operations:
    """What one session may ask for."""

    def __init__(self, device: Device, session: NetconfSession) -> None:
        self._device = device
        self._stores = device.stores
        self._session = session

    async def perform(self, element: etree._Element) -> str:
        """The body of the reply. Raises RpcError or RpcErrors."""
        handler, needed = _HANDLERS.get(str(element.tag), (None, None))
        if handler is None or (needed is not None and not self._can(needed)):
            name = etree.QName(element).localname
            raise not_supported(f"no operation {name}", name)
        return await handler(self, element)

    def _can(self, ability: Ability) -> bool:
        return ability in self._device.about.abilities

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
        given = self._parameters(element, "filter")
        shape = Shape(self._filter(given), self._defaults(given))
        return f"<data>{self._device.operational_xml(shape)}</data>"

    async def get_config(self, element: etree._Element) -> str:
        given = self._parameters(element, "source", "filter")
        tree = self._source(required(given, "source", element))
        shape = Shape(self._filter(given), self._defaults(given))
        return f"<data>{self._device.config_xml(tree, shape)}</data>"

    async def get_data(self, element: etree._Element) -> str:
        given = self._parameters(
            element, "datastore", "subtree-filter", "xpath-filter", "config-filter", "max-depth"
        )
        name = self._datastore(required(given, "datastore", element))
        shape = Shape(
            self._data_filter(given),
            self._defaults(given),
            boolean_of(given.get("config-filter")),
            depth_of(given.get("max-depth")),
        )
        if name == "operational":
            text = self._device.operational_xml(shape)
        else:
            text = self._device.config_xml(self._stores.of(name), shape)
        return f'<data xmlns="{NMDA_NS}">{text}</data>'

    async def get_schema(self, element: etree._Element) -> str:
        given = parameters(element, "identifier", "version", "format")
        name = text_of(required(given, "identifier", element))
        version = text_of(given["version"]) if "version" in given else None
        wanted_format = text_of(given["format"]).rpartition(":")[2] if "format" in given else "yang"
        source = self._device.schema.source(name, version or None) if wanted_format == "yang" else None
        if source is None:
            raise RpcError("invalid-value", f"no such schema: {name}")
        return f'<data xmlns="{MONITORING_NS}">{escape(source, quote=False)}</data>'

    # --- writes ------------------------------------------------------------------------------------------

    async def edit_config(self, element: etree._Element) -> str:
        tests = ("test-option",) if self._can(Ability.VALIDATE) else ()
        given = parameters(element, "target", "default-operation", *tests, "error-option", "config")
        name = self._writable(self._store(required(given, "target", element)))
        config = required(given, "config", element)
        operation = choice(given.get("default-operation"), DEFAULT_OPERATIONS, "merge")
        test = choice(given.get("test-option"), ("test-then-set", "set", "test-only"), "")
        rollback = ("rollback-on-error",) if self._can(Ability.ROLLBACK_ON_ERROR) else ()
        on_error = choice(
            given.get("error-option"), ("stop-on-error", "continue-on-error", *rollback), "stop-on-error"
        )
        untagged(self._device.schema, config)
        errors: RpcErrors | None = None

        def change(tree: Record) -> Record:
            nonlocal errors
            if on_error != "continue-on-error":
                return edit(self._device.schema, tree, config, operation)
            tree, errors = edit_continuing(self._device.schema, tree, config, operation)
            return tree

        await self._write(name, change, test)
        if errors is not None:
            raise errors
        return OK

    async def edit_data(self, element: etree._Element) -> str:
        given = parameters(element, "datastore", "default-operation", "config")
        name = self._writable(self._datastore(required(given, "datastore", element)))
        config = required(given, "config", element)
        operation = choice(given.get("default-operation"), DEFAULT_OPERATIONS, "merge")
        untagged(self._device.schema, config)
        await self._write(name, lambda tree: edit(self._device.schema, tree, config, operation))
        return OK

    async def copy_config(self, element: etree._Element) -> str:
        given = self._parameters(element, "target", "source")
        target = self._store(required(given, "target", element))
        source = required(given, "source", element)
        if etree.QName(single(source)).localname != "config" and self._store(source) == target:
            raise RpcError("invalid-value", "source and target are the same", layer="protocol")
        tree = self._source(source, inline=True)
        if target == STARTUP:
            await self._stores.set_startup(tree, self._session.session_id)
        else:
            await self._write(self._writable(target), lambda _: tree)
        return OK

    async def delete_config(self, element: etree._Element) -> str:
        target = self._store(required(parameters(element, "target"), "target", element))
        if target != STARTUP:
            raise not_supported(f"{target} cannot be deleted", target)
        await self._stores.set_startup(None, self._session.session_id)
        return OK

    async def discard_changes(self, element: etree._Element) -> str:
        parameters(element)
        self._stores.discard(self._session.session_id)
        return OK

    async def validate(self, element: etree._Element) -> str:
        given = parameters(element, "source")
        self._stores.validate(self._source(required(given, "source", element), inline=True))
        return OK

    async def _write(self, name: str, change: Callable[[Record], Record], test: str = "") -> None:
        """Running must always be valid; a candidate may be invalid between edits (RFC 7950, 8.3.3)."""
        session_id = self._session.session_id
        self._stores.require_access(name, session_id)
        if test == "test-only":
            self._stores.validate(change(self._stores.of(name)))
        elif name == RUNNING:
            await self._stores.write_running(session_id, change)
        else:
            tree = change(self._stores.candidate)
            if test == "test-then-set":
                self._stores.validate(tree)
            self._stores.set_candidate(tree, session_id)

    # --- locks and commits -------------------------------------------------------------------------------

    async def lock(self, element: etree._Element) -> str:
        given = parameters(element, "target")
        self._stores.lock(self._store(required(given, "target", element)), self._session.session_id)
        return OK

    async def unlock(self, element: etree._Element) -> str:
        given = parameters(element, "target")
        self._stores.unlock(self._store(required(given, "target", element)), self._session.session_id)
        return OK

    async def commit(self, element: etree._Element) -> str:
        known = ("confirmed", "confirm-timeout", "persist", "persist-id")
        given = parameters(element, *(known if self._can(Ability.CONFIRMED_COMMIT) else ()))
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
            timeout_s=timeout_s(given.get("confirm-timeout")),
            persist=text_of(given["persist"]) if "persist" in given else None,
            persist_id=text_of(given["persist-id"]) if "persist-id" in given else None,
        )
        return OK

    async def cancel_commit(self, element: etree._Element) -> str:
        given = parameters(element, "persist-id")
        persist_id = text_of(given["persist-id"]) if "persist-id" in given else None
        await self._stores.cancel_commit(self._session.session_id, persist_id)
        return OK

    # --- sessions ----------------------------------------------------------------------------------------

    async def close_session(self, element: etree._Element) -> str:
        parameters(element)
        self._session.close_after_reply()
        return OK

    async def kill_session(self, element: etree._Element) -> str:
        text = text_of(required(parameters(element, "session-id"), "session-id", element))
        victim = self._device.sessions.get(int(text)) if text.isdigit() else None
        if victim is None or victim is self._session:
            raise RpcError("invalid-value", f"no other session {text[:20]}", layer="protocol")
        await victim.end("killed", killed_by=self._session.session_id)
        return OK

    async def create_subscription(self, element: etree._Element) -> str:
        given = parameters(element, "stream", "filter", "startTime", "stopTime")
        if "stream" in given and text_of(given["stream"]) != "NETCONF":
            raise RpcError("invalid-value", "the only stream is NETCONF", layer="protocol")
        if "startTime" in given or "stopTime" in given:
            raise RpcError("operation-not-supported", "notifications are not replayed", layer="protocol")
        self._session.subscribe(self._filter(given))
        return OK

    # --- parts of requests -------------------------------------------------------------------------------

    def _parameters(self, element: etree._Element, *known: str) -> dict[str, etree._Element]:
        """Those of an operation that takes with-defaults where the server can do it."""
        defaults = ("with-defaults",) if self._can(Ability.WITH_DEFAULTS) else ()
        return parameters(element, *known, *defaults, namespaces=(WITH_DEFAULTS_NS,))

    def _filter(self, given: dict[str, etree._Element]) -> Filter | None:
        return filter_of(given.get("filter"), xpath=self._can(Ability.XPATH))

    def _data_filter(self, given: dict[str, etree._Element]) -> Filter | None:
        if "xpath-filter" in given:
            if not self._can(Ability.XPATH) or "subtree-filter" in given:
                raise RpcError("bad-element", "xpath-filter is not expected here", layer="protocol",
                               info=(("bad-element", "xpath-filter"),))  # fmt: skip
            return XPathFilter(text_of(given["xpath-filter"]), given["xpath-filter"].nsmap)
        return SubtreeFilter(given["subtree-filter"]) if "subtree-filter" in given else None

    def _defaults(self, given: dict[str, etree._Element]) -> Defaults:
        return Defaults(choice(given.get("with-defaults"), tuple(Defaults), Defaults.EXPLICIT))

    def _source(self, element: etree._Element, *, inline: bool = False) -> Record:
        chosen = single(element)
        if inline and etree.QName(chosen).localname == "config":
            untagged(self._device.schema, chosen)
            return parse_config(self._device.schema, chosen)
        return self._stores.of(self._store(element))

    def _store(self, element: etree._Element) -> str:
        """The datastore that source or target names."""
        chosen = single(element)
        name = etree.QName(chosen).localname
        if name == "datastore":
            return self._datastore(chosen)
        if name not in self._stores.names:
            raise not_supported(f"there is no datastore {name}", name)
        return name

    def _datastore(self, element: etree._Element) -> str:
        """The datastore whose identity is the text of `element` (RFC 8526)."""
        name = text_of(element).rpartition(":")[2]
        if name not in (*self._stores.names, "intended", "operational"):
            raise RpcError(
                "invalid-value", f"there is no datastore {name}", info=(("bad-element", "datastore"),)
            )
        return name

    def _writable(self, name: str) -> str:
        if name != (CANDIDATE if CANDIDATE in self._stores.names else RUNNING):
            raise not_supported(f"{name} is not written directly: edit the candidate and commit", name)
        return name


_HANDLERS: dict[str, tuple[Handler, Ability | None]] = {
    f"{{{BASE_NS}}}get": (Operations.get, None),
    f"{{{BASE_NS}}}get-config": (Operations.get_config, None),
    f"{{{BASE_NS}}}edit-config": (Operations.edit_config, None),
    f"{{{BASE_NS}}}copy-config": (Operations.copy_config, None),
    f"{{{BASE_NS}}}delete-config": (Operations.delete_config, None),
    f"{{{BASE_NS}}}lock": (Operations.lock, None),
    f"{{{BASE_NS}}}unlock": (Operations.unlock, None),
    f"{{{BASE_NS}}}validate": (Operations.validate, Ability.VALIDATE),
    f"{{{BASE_NS}}}commit": (Operations.commit, Ability.CANDIDATE),
    f"{{{BASE_NS}}}cancel-commit": (Operations.cancel_commit, Ability.CONFIRMED_COMMIT),
    f"{{{BASE_NS}}}discard-changes": (Operations.discard_changes, Ability.CANDIDATE),
    f"{{{BASE_NS}}}close-session": (Operations.close_session, None),
    f"{{{BASE_NS}}}kill-session": (Operations.kill_session, None),
    f"{{{NMDA_NS}}}get-data": (Operations.get_data, Ability.NMDA),
    f"{{{NMDA_NS}}}edit-data": (Operations.edit_data, Ability.NMDA),
    f"{{{MONITORING_NS}}}get-schema": (Operations.get_schema, Ability.MONITORING),
    f"{{{NOTIFICATION_NS}}}create-subscription": (Operations.create_subscription, Ability.NOTIFICATIONS),
}
