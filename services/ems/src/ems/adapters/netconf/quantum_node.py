"""Snapshots of `bellweave-quantum-node` as XML: the filter that reads them, the edit that changes them.

Only the lists of circuits and timing routes are read or written; everything else on a device is left alone.
A leaf that this version does not know is kept in the snapshot under its path, so that it is never overlooked.
"""

from __future__ import annotations

from lxml import etree

from ems.adapters.netconf.xml import escape
from ems.domain.quantum_node import KEYS, KINDS, entry_of
from ems.domain.snapshot import Change, Entry, Snapshot
from qmodel.errors import Invalid
from qmodel.yang import QUANTUM_NODE_NS

FILTER = f'<quantum-node xmlns="{QUANTUM_NODE_NS}"><circuit/><timing-route/></quantum-node>'.encode()
_QN = f"{{{QUANTUM_NODE_NS}}}"
_STATE = f"{_QN}state"


def read_snapshot(data: etree._Element) -> Snapshot:
    """What the `data` of a get-config holds; more than was asked for is passed over."""
    entries: list[Entry] = []
    for node in data.iterchildren(f"{_QN}quantum-node"):
        for kind in KINDS:
            entries += [entry_of(kind, read_leaves(element)) for element in node.iterchildren(_QN + kind)]
    return Snapshot.of(entries)


def read_leaves(entry: etree._Element) -> dict[str, str]:
    """The configuration leaves of one list entry by name, by path inside of containers."""
    leaves: dict[str, str] = {}
    for child in entry.iterchildren(etree.Element):
        if child.tag == _STATE:
            continue
        name = str(child.tag)
        name = name.removeprefix(_QN)
        if len(child):
            leaves.update({f"{name}/{inner}": text for inner, text in read_leaves(child).items()})
        else:
            leaves[name] = (child.text or "").strip()
    return leaves


def write_edit(change: Change) -> bytes:
    """The `config` of an edit-config that makes `change`, deletions first.

    Raises `Invalid` for an entry with leaves that this version can read but not write."""
    parts = [f'<quantum-node xmlns="{QUANTUM_NODE_NS}" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">']
    parts += [_entry(entry, "delete", with_leaves=False) for entry in change.delete]
    parts += [_entry(entry, "replace", with_leaves=True) for entry in change.replace]
    parts += [_entry(entry, "create", with_leaves=True) for entry in change.create]
    parts.append("</quantum-node>")
    return "".join(parts).encode()


def _entry(entry: Entry, operation: str, *, with_leaves: bool) -> str:
    leaves = [*zip(KEYS, entry.key, strict=True), *(entry.leaves if with_leaves else ())]
    for name, _ in leaves:
        if "/" in name or "{" in name:
            raise Invalid(f"leaf {name} cannot be written", where=entry.path)
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in leaves)
    return f'<{entry.kind} nc:operation="{operation}">{inside}</{entry.kind}>'
