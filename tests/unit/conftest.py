"""What tests of YANG data share, wherever the code lies: the example module and configurations in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from qmodel.yang import YangModule, module_dirs
from qyang.edit import parse_config
from qyang.schema import Schema
from qyang.tree import Record

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
EXAMPLE = "urn:example:engine"


@pytest.fixture(scope="session")
def example_schema() -> Schema:
    folder = Path(__file__).parent
    return Schema([YangModule("example-engine", "2026-01-01", EXAMPLE)], [folder, *module_dirs()])


@pytest.fixture(scope="session")
def config_of() -> Callable[[str], Any]:
    """`<config>` around some XML, with the prefixes `nc` and `yang` declared."""

    def make(inside: str) -> Any:
        return etree.fromstring(
            f'<config xmlns="{BASE}" xmlns:nc="{BASE}" xmlns:yang="urn:ietf:params:xml:ns:yang:1">'
            f"{inside}</config>"
        )

    return make


@pytest.fixture(scope="session")
def top(config_of: Callable[[str], Any]) -> Callable[[str], Any]:
    """`<config>` around the content of the example's `top`."""
    return lambda inside: config_of(f'<top xmlns="{EXAMPLE}" xmlns:ex="{EXAMPLE}">{inside}</top>')


@pytest.fixture(scope="session")
def example_tree(example_schema: Schema, top: Callable[[str], Any]) -> Callable[[str], Record]:
    return lambda inside: parse_config(example_schema, top(inside))
