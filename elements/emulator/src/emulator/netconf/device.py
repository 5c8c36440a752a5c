"""What all sessions of one element share: datastores, operational state, faults, sessions, notifications."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emulator.datastore.store import ConfigChanged, ConfirmEvent, Datastores
from emulator.faults import Faults
from emulator.netconf.abilities import Ability
from emulator.netconf.capabilities import (
    MODULES_STATE,
    NETCONF_STATE,
    YANG_LIBRARY,
    SelfDescription,
    Statistics,
    netconf_state,
)
from emulator.netconf.defaults import Defaults, tagged_xml
from emulator.netconf.filters import Filter
from emulator.netconf.messages import notification
from qyang.changes import Change
from qyang.defaults import with_defaults, without_defaults
from qyang.errors import DataPath
from qyang.schema import Schema
from qyang.tree import Record, Rows, Value, overlay, pruned, trimmed
from qyang.xmlout import element_xml, to_xml

if TYPE_CHECKING:
    from emulator.netconf.session import NetconfSession

Provider = Callable[[], Value]
_RENDERED = 16
"""Replies to reads of configuration that are kept until the configuration changes."""

NETCONF_NOTIFICATIONS = "ietf-netconf-notifications:"


@dataclass(frozen=True)
class Shape:
    """What of a datastore is asked for: `config` None is configuration and state, `depth` None all levels."""

    chosen_by: Filter | None = None
    defaults: Defaults = Defaults.EXPLICIT
    config: bool | None = None
    depth: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal where the same tree reads the same."""
        chosen_by = None if self.chosen_by is None else self.chosen_by.key
        return chosen_by, self.defaults, self.config, self.depth


class Device:
    """One element as its sessions see it. `providers` give operational state by top-level instance name."""

    def __init__(
        self,
        name: str,
        about: SelfDescription,
        stores: Datastores,
        providers: dict[str, Provider],
        faults: Faults,
    ) -> None:
        self.name = name
        self.about = about
        self.stores = stores
        self.faults = faults
        self.sessions: dict[int, NetconfSession] = {}
        self.statistics = Statistics()
        self._last_session_id = 0
        self._providers: dict[str, Provider] = {
            **providers,
            YANG_LIBRARY: lambda: about.yang_library,
            MODULES_STATE: lambda: about.modules_state,
        }
        if Ability.MONITORING in about.abilities:
            self._providers[NETCONF_STATE] = lambda: netconf_state(
                about, stores, self._session_rows(), self.statistics
            )
        self._rendered: OrderedDict[tuple[Any, ...], tuple[Record, str]] = OrderedDict()
        stores.listeners.append(self._tell_change)

    @property
    def schema(self) -> Schema:
        return self.about.schema

    def new_session_id(self) -> int:
        self._last_session_id += 1
        self.statistics.in_sessions += 1
        return self._last_session_id

    # --- reading -----------------------------------------------------------------------------------------

    def config_xml(self, tree: Record, shape: Shape) -> str:
        """A configuration as XML; the same read of the same tree is answered from memory."""
        key = (id(tree), *shape.key)
        known = self._rendered.get(key)
        if known is not None and known[0] is tree:
            self._rendered.move_to_end(key)
            return known[1]
        text = self._xml(tree, shape, state=False)
        self._rendered[key] = (tree, text)
        if len(self._rendered) > _RENDERED:
            self._rendered.popitem(last=False)
        return text

    def operational(self, chosen_by: Filter | None) -> Record:
        """Running configuration (which is applied at once) and state, as far as a filter may look at it."""
        root = self.schema.root
        wanted = root.children if chosen_by is None else chosen_by.top_level(root)
        state = Record((name, give()) for name, give in self._providers.items() if name in wanted)
        config = Record((name, value) for name, value in self.stores.running.items() if name in wanted)
        return overlay(root, config, state)

    def operational_xml(self, shape: Shape) -> str:
        return self._xml(self.operational(shape.chosen_by), shape, state=True)

    def _xml(self, tree: Record, shape: Shape, *, state: bool) -> str:
        root = self.schema.root
        shown = tree
        if shape.defaults in (Defaults.REPORT_ALL, Defaults.TAGGED):
            shown = with_defaults(self.schema, shown, state=state)
        if shape.chosen_by is not None:
            shown = shape.chosen_by.select(root, shown)
        if shape.config is not None:
            shown = pruned(root, shown, config=shape.config)
        if shape.depth is not None:
            shown = trimmed(root, shown, shape.depth)
        if shape.defaults is Defaults.TRIM:
            shown = without_defaults(root, shown)
        return tagged_xml(root, shown, tree) if shape.defaults is Defaults.TAGGED else to_xml(root, shown)

    def _session_rows(self) -> Rows:
        return Rows([session.record() for session in self.sessions.values()])

    # --- notifications -----------------------------------------------------------------------------------

    def notify(self, name: str, content: Record) -> None:
        """Sends notification `name` (an instance name) to every session that has subscribed to it."""
        message: bytes | None = None
        for session in list(self.sessions.values()):
            subscription = session.subscription
            if subscription is None:
                continue
            chosen_by = subscription.filter
            root = self.schema.notifications
            if chosen_by is not None and not chosen_by.select(root, Record({name: content})):
                continue
            if message is None:
                message = notification(element_xml(root.children[name], content))
            session.send_notification(message)

    def session_event(self, session: NetconfSession, ended: Record | None = None) -> None:
        """netconf-session-start, or -end with what is known about the end (RFC 6470)."""
        name = "netconf-session-start" if ended is None else "netconf-session-end"
        content = Record(self._who(session))
        content.update(ended or ())
        self.notify(NETCONF_NOTIFICATIONS + name, content)

    def _tell_change(self, event: ConfigChanged | ConfirmEvent) -> None:
        if not any(session.subscription for session in self.sessions.values()):
            return
        session = self.sessions.get(event.session_id)
        if isinstance(event, ConfigChanged):
            by = Record(server=(None,)) if session is None else self._who(session)
            content = Record({"changed-by": by, "datastore": "running"})
            edits = Rows([self._edit(change) for change in event.edits])
            if edits:
                content["edit"] = edits
            self.notify(NETCONF_NOTIFICATIONS + "netconf-config-change", content)
            return
        content = Record()
        if event.event != "timeout":
            content.update(
                {"username": "", "session-id": event.session_id} if session is None else self._who(session)
            )
        content["confirm-event"] = event.event
        if event.timeout_s is not None:
            content["timeout"] = round(event.timeout_s)
        self.notify(NETCONF_NOTIFICATIONS + "netconf-confirmed-commit", content)

    def _edit(self, change: Change) -> Record:
        node = self.schema.notifications.children[NETCONF_NOTIFICATIONS + "netconf-config-change"]
        lexical = node.children["edit"].children["target"].lexical
        assert lexical is not None
        record = Record(operation=change.operation)
        try:
            record["target"] = lexical.parse(change.target.text, _prefixes(change.target))
        except ValueError:  # a key that no instance-identifier can hold: the target may be left out
            return record
        return record

    def _who(self, session: NetconfSession) -> Record:
        return Record(
            {
                "username": session.user,
                "session-id": session.session_id,
                "source-host": session.source_host,
            }
        )


def _prefixes(path: DataPath) -> dict[str | None, str]:
    return dict(path.namespaces.items())
