"""Which part of a device's configuration a session works on, and how it is read and written.

The network-wide commit works on what node configurations own and leaves everything else alone; driving a
device back to what is intended works on the whole. `candidate` does the same with either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lxml import etree

from ems.adapters.netconf import operations
from ems.adapters.netconf.quantum_node import FILTER, read_snapshot, write_edit
from ems.domain.configuration import Configuration
from ems.domain.snapshot import Snapshot, change
from qmodel.errors import Invalid
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.xmldiff import edit_between
from qyang.xmlin import read_xml

S = TypeVar("S")


@dataclass(frozen=True)
class Part(Generic[S]):
    """`read` makes sense of the data of a read, or raises Invalid; `write` gives the content of an edit that
    leads from one state to another (empty when they are equal)."""

    get_running: bytes
    get_candidate: bytes
    read: Callable[[etree._Element], S]
    write: Callable[[S, S], bytes]


def _write_node(now: Snapshot, then: Snapshot) -> bytes:
    difference = change(now, then)
    return write_edit(difference) if difference else b""


NODE = Part(
    operations.get_config("running", FILTER),
    operations.get_config("candidate", FILTER),
    read_snapshot,
    _write_node,
)


def whole(schema: Schema) -> Part[Configuration]:
    """Everything that a device with `schema` has configured."""

    def read(data: etree._Element) -> Configuration:
        try:
            return Configuration.of(schema, read_xml(schema, data, config_only=True))
        except RpcError as error:
            raise Invalid(error.message, where=None if error.path is None else error.path.text) from None

    def write(now: Configuration, then: Configuration) -> bytes:
        return edit_between(schema, now.tree, then.tree).encode()

    return Part(operations.get_whole("running"), operations.get_whole("candidate"), read, write)
