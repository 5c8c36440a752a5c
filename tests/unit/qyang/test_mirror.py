"""Mirroring: data read from XML, shown as leaves, and the edit that leads from one to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from qyang.edit import edit
from qyang.errors import RpcError
from qyang.leaves import differences, leaves
from qyang.schema import Schema
from qyang.tree import Record
from qyang.xmldiff import edit_between
from qyang.xmlin import read_xml
from qyang.xmlout import to_xml

Top = Callable[[str], Any]
Tree = Callable[[str], Record]

STEPS = st.lists(st.sampled_from(["one", "two", "three", "four"]), unique=True)
TAGS = st.lists(st.sampled_from(["x", "y", "z<", "&"]), unique=True)
PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from("pq")),
    st.tuples(st.integers(0, 9), st.booleans()),
    max_size=5,
)


@pytest.fixture(scope="session")
def read(example_schema: Schema, top: Top) -> Tree:
    return lambda inside: read_xml(example_schema, top(inside)).tree


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


@st.composite
def contents(draw: st.DrawFn) -> str:
    parts = [f"<tag>{_escaped(tag)}</tag>" for tag in draw(TAGS)]
    parts += [
        f"<step><name>{name}</name><note>{draw(st.sampled_from('ab'))}</note></step>" for name in draw(STEPS)
    ]
    for (a, b), (mark, inner) in draw(PAIRS).items():
        inside = "<inner><id>i</id></inner>" if inner else ""
        parts.append(f"<pair><a>{a}</a><b>{b}</b><mark>{mark}</mark>{inside}</pair>")
    parts += draw(st.sampled_from([[], ["<l1>left</l1>"], ["<mode>on</mode>"]]))
    return "".join(parts)


@settings(max_examples=150, deadline=None)
@given(before=contents(), after=contents())
def test_the_edit_between_two_configurations_leads_from_one_to_the_other(
    example_schema: Schema, read: Tree, before: str, after: str
) -> None:
    old, new = read(before), read(after)
    wanted = edit_between(example_schema, old, new)
    done = edit(example_schema, old, etree.fromstring(f"<config>{wanted}</config>"), "merge")
    printed = etree.fromstring(f"<data>{to_xml(example_schema.root, done)}</data>")
    assert read_xml(example_schema, printed).tree == new
    assert (wanted == "") == (old == new)


@settings(max_examples=100, deadline=None)
@given(content=contents())
def test_reading_what_was_printed_gives_the_same_tree(
    example_schema: Schema, read: Tree, content: str
) -> None:
    tree = read(content)
    printed = etree.fromstring(f"<data>{to_xml(example_schema.root, tree)}</data>")
    assert read_xml(example_schema, printed).tree == tree


@settings(max_examples=100, deadline=None)
@given(before=contents(), after=contents())
def test_leaves_differ_exactly_when_configurations_do(
    example_schema: Schema, read: Tree, before: str, after: str
) -> None:
    old, new = read(before), read(after)
    root = example_schema.root
    assert (leaves(root, old) == leaves(root, new)) == (old == new)


def test_a_difference_names_path_and_both_values(example_schema: Schema, read: Tree) -> None:
    root = example_schema.root
    old = leaves(root, read("<pair><a>1</a><b>p</b><mark>5</mark></pair>"))
    new = leaves(root, read("<pair><a>1</a><b>p</b><mark>6</mark></pair>"))
    (only,) = differences(old, new)
    assert (only.before, only.after) == ("5", "6")
    assert only.path == "/example-engine:top/pair[a='1'][b='p']/mark"
    assert only.lines == (f"- {only.path} = 5", f"+ {only.path} = 6")


def test_what_the_schema_does_not_know_is_kept_apart_and_not_overlooked(
    example_schema: Schema, top: Top
) -> None:
    plain = read_xml(example_schema, top("<mode>on</mode>"))
    strange = read_xml(example_schema, top('<mode>on</mode><new xmlns="urn:x">1</new>'))
    assert plain.tree == strange.tree
    assert list(strange.unknown) == ["/example-engine:top/{urn:x}new"]


@pytest.mark.parametrize(
    ("content", "tag"),
    [
        ("<pair><a>1</a></pair>", "missing-element"),
        ("<pair><a>none</a><b>p</b></pair>", "invalid-value"),
        ("<mode>on</mode><mode>on</mode>", "bad-element"),
    ],
)
def test_data_that_make_no_sense_are_refused_with_their_place(
    example_schema: Schema, top: Top, content: str, tag: str
) -> None:
    with pytest.raises(RpcError) as refused:
        read_xml(example_schema, top(content))
    assert refused.value.tag == tag
    assert refused.value.path is not None
