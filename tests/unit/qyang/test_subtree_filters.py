"""Subtree filters of RFC 6241, section 6: selection, containment, content match, and their mixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree

from qyang.filters import select, top_level_names
from qyang.schema import Schema
from qyang.tree import Record, pruned, trimmed
from qyang.xmlout import to_xml

CONTENT = """
<tag>x</tag><tag>y</tag>
<step><name>one</name><note>n</note></step><step><name>two</name><note>m</note></step>
<pair><a>1</a><b>p</b><mark>5</mark><inner><id>i</id></inner><inner><id>j</id></inner></pair>
<mode>on</mode>
"""
X = 'xmlns="urn:example:engine"'


@pytest.fixture
def chosen(example_schema: Schema, example_tree: Callable[[str], Record]) -> Callable[[str], str]:
    tree = example_tree(CONTENT)

    def run(inside: str) -> str:
        filter_element = etree.fromstring(f"<filter>{inside}</filter>")
        written = to_xml(example_schema.root, select(example_schema.root, tree, filter_element))
        return written.replace(f" {X}", "").removeprefix("<top>").removesuffix("</top>")

    return run


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (f"<top {X}><mode/></top>", "<mode>on</mode>"),
        (f"<top {X}><step><name>one</name></step></top>", "<step><name>one</name><note>n</note></step>"),
        (f"<top {X}><step><name>one</name><name/></step></top>", "<step><name>one</name></step>"),
        (f"<top {X}><step><note/></step></top>",
         "<step><name>one</name><note>n</note></step><step><name>two</name><note>m</note></step>"),
        (f"<top {X}><step><note>m</note><name/></step></top>",
         "<step><name>two</name><note>m</note></step>"),
        (f"<top {X}><step><name>one</name></step><step><name>two</name></step></top>",
         "<step><name>one</name><note>n</note></step><step><name>two</name><note>m</note></step>"),
        (f"<top {X}><pair><inner><id>j</id></inner></pair></top>",
         "<pair><a>1</a><b>p</b><inner><id>j</id></inner></pair>"),
        (f"<top {X}><pair><a> 1 </a><mark/></pair></top>", "<pair><a>1</a><b>p</b><mark>5</mark></pair>"),
        (f"<top {X}><tag>y</tag><mode/></top>", "<tag>y</tag><mode>on</mode>"),
        ("<top><mode/></top>", "<mode>on</mode>"),
    ],
)  # fmt: skip
def test_a_filter_selects(chosen: Callable[[str], str], inside: str, expected: str) -> None:
    assert chosen(inside) == expected


@pytest.mark.parametrize(
    "inside",
    [
        "",
        f"<top {X}><step><name>none</name></step></top>",
        f"<top {X}><pair><a>many</a></pair></top>",
        f"<top {X}><unknown/></top>",
        f'<top {X} some="attribute"/>',
        '<top xmlns="urn:other"/>',
        f"<top {X}><step><name>one</name><unknown/></step></top>",
    ],
)
def test_a_filter_that_matches_nothing_selects_nothing(chosen: Callable[[str], str], inside: str) -> None:
    assert chosen(inside) == ""


def test_selecting_the_top_gives_the_very_same_subtree(
    example_schema: Schema, example_tree: Callable[[str], Record]
) -> None:
    tree = example_tree(CONTENT)
    found = select(example_schema.root, tree, etree.fromstring(f"<filter><top {X}/></filter>"))
    assert found["example-engine:top"] is tree["example-engine:top"]


def test_only_named_top_level_nodes_need_to_be_computed(example_schema: Schema) -> None:
    filter_element = etree.fromstring(f"<filter><top {X}><mode/></top><other xmlns='urn:x'/></filter>")
    assert top_level_names(example_schema.root, filter_element) == {"example-engine:top"}


def test_depth_is_trimmed_and_keys_stay(
    example_schema: Schema, example_tree: Callable[[str], Record]
) -> None:
    root, tree = example_schema.root, example_tree(CONTENT)
    assert trimmed(root, tree, 1) == {"example-engine:top": {}}
    shallow: Any = trimmed(root, tree, 2)["example-engine:top"]
    assert shallow["step"] == [{"name": "one"}, {"name": "two"}]
    assert shallow["mode"] == "on"
    assert "inner" in trimmed(root, tree, 3)["example-engine:top"]["pair"][0]


def test_configuration_and_state_are_told_apart(
    example_schema: Schema, example_tree: Callable[[str], Record]
) -> None:
    root, tree = example_schema.root, example_tree("<mode>on</mode>")
    mixed = Record({"example-engine:top": Record({**tree["example-engine:top"], "counted": 5})})
    assert pruned(root, mixed, config=True) == tree
    assert pruned(root, mixed, config=False) == {"example-engine:top": {"counted": 5}}
