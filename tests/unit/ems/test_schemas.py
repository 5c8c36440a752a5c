"""Schemas of devices: from our folders or the device itself, shared, and without what cannot be compiled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ems.adapters.schemas import SchemaBook
from ems.domain.device import Module
from qmodel.yang import INTERFACES_NS

OURS = (
    Module("ietf-interfaces", "2018-02-20", INTERFACES_NS),
    Module("ietf-yang-types", "2013-07-15", "urn:ietf:params:xml:ns:yang:ietf-yang-types", implemented=False),
)
THEIRS = Module("acme-laser", "2026-01-01", "urn:acme:laser")
SOURCE = """module acme-laser { namespace "urn:acme:laser"; prefix al;
  revision 2026-01-01; leaf power { type string; } }"""


class Device:
    """Gives sources of modules, and remembers what it was asked for."""

    def __init__(self, **sources: str) -> None:
        self.sources = {name.replace("_", "-"): text for name, text in sources.items()}
        self.asked: list[str] = []

    async def __call__(self, modules: Sequence[Module]) -> list[str | None]:
        self.asked += [f"{module.name}@{module.revision}" for module in modules]
        return [self.sources.get(module.name) for module in modules]


async def test_a_device_is_asked_once_for_what_we_do_not_have(tmp_path: Path) -> None:
    device = Device(acme_laser=SOURCE)
    for book in (SchemaBook(tmp_path), SchemaBook(tmp_path)):  # kept over a restart
        schema = await book.schema_of("d", (*OURS, THEIRS), device)
        assert "acme-laser:power" in schema.root.children
    assert device.asked == ["acme-laser@2026-01-01"]


async def test_an_older_revision_than_ours_is_the_devices_own(tmp_path: Path) -> None:
    older = Module("ietf-interfaces", "2014-05-08", INTERFACES_NS)
    text = f"""module ietf-interfaces {{ namespace "{INTERFACES_NS}"; prefix if;
      revision 2014-05-08; leaf only-then {{ type string; }} }}"""
    device = Device(ietf_interfaces=text)
    schema = await SchemaBook(tmp_path).schema_of("d", (older,), device)
    assert device.asked == ["ietf-interfaces@2014-05-08"]
    assert "ietf-interfaces:only-then" in schema.root.children


async def test_what_cannot_be_compiled_is_left_out_and_the_rest_is_known(tmp_path: Path) -> None:
    device = Device(acme_laser="module acme-laser { this is no YANG")
    nobody = Module("nobody-has-it", "2026-01-01", "urn:nobody")
    schema = await SchemaBook(tmp_path).schema_of("d", (*OURS, THEIRS, nobody), device)
    assert list(schema.root.children) == ["ietf-interfaces:interfaces", "ietf-interfaces:interfaces-state"]


async def test_devices_with_the_same_modules_share_a_schema_and_no_source(tmp_path: Path) -> None:
    book, other = SchemaBook(tmp_path), SOURCE.replace("power", "current")
    shared = [await book.schema_of(name, OURS, Device()) for name in ("a", "b")]
    assert shared[0] is shared[1]
    one = await book.schema_of("a", (*OURS, THEIRS), Device(acme_laser=SOURCE))
    two = await book.schema_of("b", (*OURS, THEIRS), Device(acme_laser=other))
    assert "acme-laser:power" in one.root.children
    assert "acme-laser:current" in two.root.children


def test_names_that_are_no_yang_names_reach_no_file(tmp_path: Path) -> None:
    device = Device()
    folder = tmp_path / "yang"
    evil = (Module("../../evil", "2026-01-01"), Module("evil", "../../x"))
    asyncio.run(SchemaBook(folder).schema_of("../d", (*OURS, *evil), device))
    assert device.asked == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
