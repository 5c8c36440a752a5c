"""The emulated devices as a NETCONF client sees them that is not ours: ncclient, one session for each.

What they run is compared in one canonical form, so that two answers are equal exactly if they mean the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from lxml import etree
from ncclient import manager

from bellweave_local.state import ElementStatus

_AT_ONCE = 4
_LIMIT_S = 20
_STORED_WITHIN_S = 1.5
_QN = "{urn:bellweave:yang:bellweave-quantum-node}"
_LINK_ID = f"{_QN}link-id"
T = TypeVar("T")


class Devices:
    """All devices of a stack. Faults must be cleared before anything here: they would hit these sessions."""

    def __init__(self, elements: list[ElementStatus]) -> None:
        self._elements = {element.name: element for element in elements}
        self._sessions: dict[str, Any] = {}

    @property
    def names(self) -> list[str]:
        return sorted(self._elements)

    def running(self) -> dict[str, str]:
        """The whole running configuration of every device, canonical."""
        return self._of_each(lambda session: canonical(_data(session)))

    def carried(self) -> dict[str, set[str]]:
        """The links of which a device has circuits in its running configuration."""
        return self._of_each(lambda session: {str(found.text) for found in _data(session).iter(_LINK_ID)})

    def released(self, link_id: str) -> int:
        """What the billed end of a link that has ended shows as released, in the end: the counters move on
        until the device has stored them."""
        before = -1
        while (now := sum(self._of_each(lambda session: _ended(session, link_id)).values())) != before:
            before = now
            time.sleep(_STORED_WITHIN_S)
        return now

    def lock_all(self) -> None:
        """Lock and unlock every candidate. Raises RPCError for one that somebody holds or has left dirty."""

        def lock(session: Any) -> None:
            session.lock("candidate")
            session.unlock("candidate")

        self._of_each(lock)

    def close(self) -> None:
        for session in self._sessions.values():
            if session.connected:
                session.close_session()

    def _of_each(self, act: Callable[[Any], T]) -> dict[str, T]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(
                zip(self.names, pool.map(lambda name: act(self._session(name)), self.names), strict=True)
            )

    def _session(self, name: str) -> Any:
        session = self._sessions.get(name)
        if session is None or not session.connected:
            element = self._elements[name]
            session = self._sessions[name] = manager.connect(
                host=element.host,
                port=element.port,
                username=element.user,
                key_filename=element.private_key,
                hostkey_verify=False,
                allow_agent=False,
                look_for_keys=False,
                timeout=_LIMIT_S,
            )
        return session


@contextmanager
def reached(elements: list[ElementStatus]) -> Iterator[Devices]:
    devices = Devices(elements)
    try:
        yield devices
    finally:
        devices.close()


def canonical(data: etree._Element) -> str:
    """Canonical XML (C14N 2.0) with siblings in one order: our models leave the order to the system."""
    return etree.tostring(_ordered(data), method="c14n2").decode()


def _ordered(element: etree._Element) -> etree._Element:
    copy = etree.Element(element.tag, {str(name): str(value) for name, value in element.attrib.items()})
    copy.text = (element.text or "").strip()
    copy.extend(sorted(map(_ordered, element), key=lambda child: etree.tostring(child, method="c14n2")))
    return copy


def _ended(session: Any, link_id: str) -> int:
    reply = session.get(filter=("subtree", f'<quantum-node xmlns="{_QN[1:-1]}"><ended/></quantum-node>'))
    return sum(
        int(end.findtext(f"{_QN}released") or 0)
        for end in etree.fromstring(reply.data_xml.encode()).iter(f"{_QN}ended")
        if end.findtext(f"{_QN}link-id") == link_id and end.findtext(f"{_QN}metered") == "true"
    )


def _data(session: Any) -> etree._Element:
    reply = session.get_config("running").data_xml
    return etree.fromstring(reply.encode() if isinstance(reply, str) else reply)
