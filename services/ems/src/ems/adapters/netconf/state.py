"""Operational state and notifications of a quantum node, from XML to `ems.domain.observation`.

`device` reads with it, `watch` listens with it. What a device does not tell is left out; what it tells
wrongly is a `ProtocolViolation`, since a half-understood alarm is worse than a loud one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from lxml import etree

from ems.adapters.netconf import operations
from ems.adapters.netconf.errors import ProtocolViolation
from ems.adapters.netconf.session import NetconfSession
from ems.domain.observation import ActiveAlarm, ConfigChanged, DeviceEvent, Operational, UsageCounter
from qmodel.contracts.ems import CircuitReadiness, PerceivedSeverity
from qmodel.yang import HARDWARE_NS, INTERFACES_NS, QUANTUM_NODE_NS

_NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
_CHANGE = "{urn:ietf:params:xml:ns:yang:ietf-netconf-notifications}netconf-config-change"
_CHANGE_NS = _CHANGE[: _CHANGE.index("}") + 1]
_QN, _HW, _IF = f"{{{QUANTUM_NODE_NS}}}", f"{{{HARDWARE_NS}}}", f"{{{INTERFACES_NS}}}"
_SUBTREE = (
    f'<quantum-node xmlns="{QUANTUM_NODE_NS}"/>'
    f'<hardware xmlns="{HARDWARE_NS}"><component><name/>'
    f'<quantum xmlns="{QUANTUM_NODE_NS}"><state/></quantum></component></hardware>'
    f'<interfaces xmlns="{INTERFACES_NS}"><interface><name/><oper-status/>'
    f'<photonic xmlns="{QUANTUM_NODE_NS}"/></interface></interfaces>'
).encode()
_GET = operations.get(_SUBTREE)
_GET_OPERATIONAL = operations.get_operational(_SUBTREE)
_BOOLEANS = {"true": 1.0, "false": 0.0}


async def read_operational(session: NetconfSession) -> Operational:
    """One reading, by get-data where the device has NMDA, else by get."""
    nmda = any(capability.startswith(_NMDA) for capability in session.capabilities)
    reply = await session.rpc(_GET_OPERATIONAL if nmda else _GET)
    return operational_of(reply.data)


def operational_of(data: etree._Element) -> Operational:
    """What `data` says about circuits, counters, alarms, ports and performance."""
    node = data.find(f"{_QN}quantum-node")
    circuits = [] if node is None else list(node.iterfind(_QN + "circuit"))
    return Operational(
        circuits=_readiness(circuits),
        counters=() if node is None else tuple(_counters(node)),
        alarms=tuple(_alarm(item) for item in data.iterfind(f"{_QN}quantum-node/{_QN}alarm")),
        ports_up={
            _text(port, _IF + "name"): _text(port, _IF + "oper-status") == "up"
            for port in data.iterfind(f"{_IF}interfaces/{_IF}interface")
            if port.find(_IF + "oper-status") is not None
        },
        performance=dict(_performance(data)),
        at=_time(data.findtext(f"{_QN}quantum-node/{_QN}domain-time")),
    )


def event_of(notification: etree._Element) -> DeviceEvent | None:
    """The event that `notification` tells, or None if it is of a kind that the EMS does not follow."""
    for child in notification.iterchildren(etree.Element):
        if child.tag == _QN + "element-alarm":
            return _alarm(child)
        if child.tag == _CHANGE:
            return _config_changed(child)
    return None


def _readiness(circuits: list[etree._Element]) -> tuple[CircuitReadiness, ...]:
    """One per link: a node with several parts in a link is ready when all of them are."""
    by_link: dict[str, list[CircuitReadiness]] = {}
    for circuit in circuits:
        state = circuit.find(_QN + "state")
        link_id = _text(circuit, _QN + "link-id")
        if state is None:
            part = CircuitReadiness(link_id=link_id, ready=False, reason="not in operation")
        else:
            part = CircuitReadiness(
                link_id=link_id,
                ready=_text(state, _QN + "ready") == "true",
                reason=_text(state, _QN + "reason"),
                expected_in_s=_number(state, "expected-ready-in-s") or 0.0,
                pair_rate_hz=_number(state, "pair-rate-hz") or 0.0,
                fidelity=_number(state, "fidelity"),
            )
        by_link.setdefault(link_id, []).append(part)
    return tuple(_together(parts) for _, parts in sorted(by_link.items()))


def _together(parts: list[CircuitReadiness]) -> CircuitReadiness:
    if len(parts) == 1:
        return parts[0]
    fidelities = [part.fidelity for part in parts if part.fidelity is not None]
    return CircuitReadiness(
        link_id=parts[0].link_id,
        ready=all(part.ready for part in parts),
        reason="; ".join(dict.fromkeys(part.reason for part in parts if part.reason)),
        expected_in_s=max(part.expected_in_s for part in parts),
        pair_rate_hz=min(part.pair_rate_hz for part in parts),
        fidelity=min(fidelities) if fidelities else None,
    )


def _counters(node: etree._Element) -> Iterator[UsageCounter]:
    """Of the ends that are configured and of those that ended lately: their last units count, too."""
    for circuit in node.iterfind(_QN + "circuit"):
        state = circuit.find(_QN + "state")
        if state is not None and _text(state, _QN + "released"):
            yield _counter(circuit, state)
    for ended in node.iterfind(_QN + "ended"):
        yield _counter(ended, ended)


def _counter(end: etree._Element, counted: etree._Element) -> UsageCounter:
    released = _text(counted, _QN + "released")
    if not released.isdecimal():
        raise ProtocolViolation("a usage counter is no number")
    return UsageCounter(
        link_id=_text(end, _QN + "link-id"),
        unit=_text(counted, _QN + "unit"),
        boot_id=_text(counted, _QN + "counter-boot-id"),
        count=int(released),
        metered=_text(end, _QN + "metered") == "true",
    )


def _performance(data: etree._Element) -> Iterator[tuple[str, float]]:
    for component in data.iterfind(f"{_HW}hardware/{_HW}component"):
        state = component.find(f"{_QN}quantum/{_QN}state")
        if state is not None:
            yield from _numbers(f"component/{_text(component, _HW + 'name')}", state)
    for port in data.iterfind(f"{_IF}interfaces/{_IF}interface"):
        photonic = port.find(_QN + "photonic")
        if photonic is not None:
            yield from _numbers(f"port/{_text(port, _IF + 'name')}", photonic)


def _numbers(prefix: str, container: etree._Element) -> Iterator[tuple[str, float]]:
    for leaf in container.iterchildren(etree.Element):
        text = (leaf.text or "").strip()
        value = _BOOLEANS.get(text)
        if value is None:
            value = _as_number(text)
        if value is not None:
            yield f"{prefix}/{etree.QName(leaf).localname}", value


def _alarm(item: etree._Element) -> ActiveAlarm:
    try:
        severity = PerceivedSeverity(_text(item, _QN + "severity"))
    except ValueError:
        severity = PerceivedSeverity.INDETERMINATE
    at = _time(item.findtext(_QN + "time"))
    resource, alarm_type = _text(item, _QN + "resource"), _text(item, _QN + "alarm-type")
    if at is None or not resource or not alarm_type:
        raise ProtocolViolation("an alarm lacks its resource, its type or its time")
    return ActiveAlarm(resource[:400], alarm_type[:100], severity, _text(item, _QN + "text")[:1000], at)


def _config_changed(item: etree._Element) -> ConfigChanged:
    by = item.find(_CHANGE_NS + "changed-by")
    user = session = ""
    if by is not None:
        user, session = _text(by, _CHANGE_NS + "username"), _text(by, _CHANGE_NS + "session-id")
    return ConfigChanged(
        user=user[:100],
        session_id=int(session) if session.isdecimal() else None,
        datastore=_text(item, _CHANGE_NS + "datastore") or "running",
    )


def _text(element: etree._Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _number(state: etree._Element, name: str) -> float | None:
    return _as_number(_text(state, _QN + name))


def _as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _time(text: str | None) -> datetime | None:
    if not text or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ProtocolViolation("the device tells no valid date and time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
