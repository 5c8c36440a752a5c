"""The modes of with-defaults on trees, and edits that say that a value is the default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.netconf.defaults import DEFAULT_NS, tagged_xml, untagged
from qyang.defaults import with_defaults, without_defaults
from qyang.edit import edit
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record
from qyang.xmlout import to_xml

Tree = Callable[[str], Record]
EXAMPLE = "urn:example:engine"


def test_defaults_in_use_are_added_and_the_tree_stays(example_schema: Schema, example_tree: Tree) -> None:
    tree = example_tree("<ratio>1</ratio>")
    full = with_defaults(example_schema, tree, state=False)
    assert full["example-engine:top"]["mode"] == "off"
    assert "mode" not in tree["example-engine:top"]
    set_before = example_tree("<mode>on</mode>")
    assert with_defaults(example_schema, set_before, state=True) == set_before


def test_trim_leaves_out_what_equals_the_default(example_schema: Schema, example_tree: Tree) -> None:
    trimmed = without_defaults(example_schema.root, example_tree("<ratio>1</ratio><mode>off</mode>"))
    assert trimmed == example_tree("<ratio>1</ratio>")
    assert without_defaults(example_schema.root, example_tree("<mode>off</mode>")) == {}
    kept = example_tree("<mode>on</mode><pair><a>1</a><b>x</b></pair><right/>")
    assert without_defaults(example_schema.root, kept) == kept


def test_only_what_nobody_has_set_is_tagged(example_schema: Schema, example_tree: Tree) -> None:
    def tagged(inside: str) -> str:
        tree = example_tree(inside)
        return tagged_xml(example_schema.root, with_defaults(example_schema, tree, state=False), tree)

    assert f'<mode xmlns:wd="{DEFAULT_NS}" wd:default="true">off</mode>' in tagged("<ratio>1</ratio>")
    with_all = "<tag>a</tag><pair><a>1</a><b>x</b></pair><mode>off</mode><ratio>1</ratio><right/>"
    tree = example_tree(with_all)
    assert tagged(with_all) == to_xml(example_schema.root, tree)


def test_an_edit_that_tags_a_value_as_default_unsets_it(
    example_schema: Schema, example_tree: Tree, top: Callable[[str], Any]
) -> None:
    config = top(f'<mode xmlns:wd="{DEFAULT_NS}" wd:default="true">off</mode><ratio>2</ratio>')
    untagged(example_schema, config)
    after = edit(example_schema, example_tree("<mode>on</mode>"), config)
    assert after == example_tree("<ratio>2</ratio>")


@pytest.mark.parametrize(
    "leaf", ["<mode {}>on</mode>", "<ratio {}>1</ratio>", "<unknown {}/>", "<mode {}>?</mode>"]
)
def test_a_value_that_is_not_the_default_cannot_be_tagged(
    example_schema: Schema, top: Callable[[str], Any], leaf: str
) -> None:
    with pytest.raises(RpcError) as refused:
        untagged(example_schema, top(leaf.format(f'xmlns:wd="{DEFAULT_NS}" wd:default="true"')))
    assert refused.value.tag == "invalid-value"
