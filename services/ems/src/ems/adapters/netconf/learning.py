"""What a NETCONF device is: its modules, its hardware, its ports, and whether we can configure it.

Works with any NETCONF server. Modules come from its YANG library (RFC 8525, or RFC 7895), else from its
monitoring data (RFC 6022), else from its hello; what it does not have is left out, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs

from lxml import etree

from ems.adapters.netconf import operations
from ems.adapters.netconf.errors import AccessDenied
from ems.adapters.netconf.session import NetconfSession
from ems.domain.device import Component, Interface, Module, Profile
from ems.domain.quantum_node import MODULE
from qmodel.yang import HARDWARE_NS, INTERFACES_NS

_CANDIDATE = "urn:ietf:params:netconf:capability:candidate:1.0"
_CONFIRMED_COMMIT = "urn:ietf:params:netconf:capability:confirmed-commit:1.1"
_LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"
_MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
_GET_LIBRARIES = (
    operations.get(f'<yang-library xmlns="{_LIBRARY}"/>'.encode()),
    operations.get(f'<modules-state xmlns="{_LIBRARY}"/>'.encode()),
    operations.get(f'<netconf-state xmlns="{_MONITORING}"><schemas/></netconf-state>'.encode()),
)
_GET_HARDWARE = operations.get(f'<hardware xmlns="{HARDWARE_NS}"/>'.encode())
_GET_INTERFACES = operations.get(f'<interfaces xmlns="{INTERFACES_NS}"/>'.encode())
_MOST = 20_000
_SOURCES_AT_ONCE = 8


def all_or_nothing(capabilities: frozenset[str]) -> bool:
    """Whether the device says that it has candidate and confirmed commit with persist."""
    return {_CANDIDATE, _CONFIRMED_COMMIT} <= capabilities


async def learn(session: NetconfSession) -> Profile:
    """Everything about the device, in one flight. Raises `AccessDenied`, `Unavailable`, `TimedOut`."""
    *libraries, hardware, interfaces = await _read(session, (*_GET_LIBRARIES, _GET_HARDWARE, _GET_INTERFACES))
    modules = _first_found(libraries, session.capabilities)
    return Profile(
        capabilities=session.capabilities,
        modules=modules,
        components=tuple(_components(hardware)),
        interfaces=tuple(_interfaces(interfaces)),
        manageable=any(module.name == MODULE and module.implemented for module in modules),
        all_or_nothing=all_or_nothing(session.capabilities),
    )


async def learn_modules(session: NetconfSession) -> tuple[Module, ...]:
    """The modules alone, from the hello if our own is listed there, which costs no round trip."""
    in_hello = modules_in_hello(session.capabilities)
    if any(module.name == MODULE for module in in_hello):
        return in_hello
    return await learn_library(session)


async def learn_library(session: NetconfSession) -> tuple[Module, ...]:
    """All modules with their features, those that are only imported included."""
    return _first_found(await _read(session, _GET_LIBRARIES), session.capabilities)


async def fetch_sources(session: NetconfSession, modules: Sequence[Module]) -> list[str | None]:
    """The device's own sources of modules (RFC 6022), None for each that it does not give."""
    sources: list[str | None] = []
    for start in range(0, len(modules), _SOURCES_AT_ONCE):
        asked = modules[start : start + _SOURCES_AT_ONCE]
        replies = await session.flight([operations.get_schema(m.name, m.revision) for m in asked])
        for reply in replies:
            sources.append(None if reply.refusal is not None else str(reply.data.text or "") or None)
    return sources


def modules_in_hello(capabilities: frozenset[str]) -> tuple[Module, ...]:
    """Capabilities such as `urn:example?module=example&revision=2026-01-15` (RFC 6020, 5.6.4)."""
    modules = []
    for capability in capabilities:
        namespace, _, query = capability.partition("?")
        options = parse_qs(query, max_num_fields=20) if "module=" in query else {}
        if "module" in options:
            modules.append(Module(options["module"][0], options.get("revision", [""])[0], namespace))
    return tuple(sorted(modules, key=lambda module: (module.name, module.revision)))


async def _read(session: NetconfSession, reads: tuple[bytes, ...]) -> list[etree._Element | None]:
    """The data of each read; None where the device refuses because it knows nothing of it."""
    replies = await session.flight(reads)
    for reply in replies:
        if isinstance(reply.refusal, AccessDenied):
            raise reply.refusal
    return [None if reply.refusal is not None else reply.data for reply in replies]


def _first_found(libraries: list[etree._Element | None], capabilities: frozenset[str]) -> tuple[Module, ...]:
    new, old, monitoring = libraries
    found = (
        [
            *(_module(element, _LIBRARY) for element in _each(new, _LIBRARY, "module")),
            *(_module(element, _LIBRARY, implemented=False) for element in _imported(new)),
        ],
        [
            _module(element, _LIBRARY, implemented=_text(element, _LIBRARY, "conformance-type") != "import")
            for element in _each(old, _LIBRARY, "module")
        ],
        [
            Module(
                _text(element, _MONITORING, "identifier"),
                _text(element, _MONITORING, "version"),
                _text(element, _MONITORING, "namespace"),
            )
            for element in _each(monitoring, _MONITORING, "schema")
        ],
        modules_in_hello(capabilities),
    )
    modules = next((modules for modules in found if modules), ())
    return tuple(sorted(set(modules), key=lambda module: (module.name, module.revision)))


def _module(element: etree._Element, namespace: str, *, implemented: bool = True) -> Module:
    return Module(
        _text(element, namespace, "name"),
        _text(element, namespace, "revision"),
        _text(element, namespace, "namespace"),
        tuple(sorted((item.text or "").strip() for item in element.iterchildren(f"{{{namespace}}}feature"))),
        implemented,
    )


def _imported(library: etree._Element | None) -> Iterator[etree._Element]:
    """Modules of the new library that are only there for their types; some are implemented in another set."""
    return _each(library, _LIBRARY, "import-only-module")


def _components(data: etree._Element | None) -> Iterator[Component]:
    for element in _each(data, HARDWARE_NS, "component"):
        yield Component(
            name=_text(element, HARDWARE_NS, "name"),
            hardware_class=_text(element, HARDWARE_NS, "class").rpartition(":")[2],
            parent=_text(element, HARDWARE_NS, "parent"),
            description=_text(element, HARDWARE_NS, "description"),
            manufacturer=_text(element, HARDWARE_NS, "mfg-name"),
            model=_text(element, HARDWARE_NS, "model-name"),
            serial=_text(element, HARDWARE_NS, "serial-num"),
            hardware_revision=_text(element, HARDWARE_NS, "hardware-rev"),
            firmware_revision=_text(element, HARDWARE_NS, "firmware-rev"),
            software_revision=_text(element, HARDWARE_NS, "software-rev"),
        )


def _interfaces(data: etree._Element | None) -> Iterator[Interface]:
    if data is None:
        return
    for element in data.iterfind(f"{{{INTERFACES_NS}}}interfaces/{{{INTERFACES_NS}}}interface"):
        status = _text(element, INTERFACES_NS, "oper-status")
        yield Interface(
            name=_text(element, INTERFACES_NS, "name"),
            type=_text(element, INTERFACES_NS, "type").rpartition(":")[2],
            up=status == "up" if status else None,
        )


def _each(data: etree._Element | None, namespace: str, name: str) -> Iterator[etree._Element]:
    if data is None:
        return
    for count, element in enumerate(data.iter(f"{{{namespace}}}{name}")):
        if count >= _MOST:
            return
        yield element


def _text(element: etree._Element, namespace: str, name: str) -> str:
    return (element.findtext(f"{{{namespace}}}{name}") or "").strip()[:500]
