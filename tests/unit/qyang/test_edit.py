"""edit-config on trees: every operation, what each refuses, and that a refused edit changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qyang.edit import edit, edit_continuing, parse_config
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record
from qyang.xmlout import to_xml

Top = Callable[[str], Any]
Tree = Callable[[str], Record]

BEFORE = """
<tag>x</tag><tag>y</tag>
<step><name>one</name><note>first</note></step><step><name>two</name></step>
<pair><a>1</a><b>p</b><mark>5</mark><inner><id>i</id></inner></pair>
<l1>left</l1><mode>on</mode>
"""


@pytest.fixture
def before(example_tree: Tree) -> Record:
    return example_tree(BEFORE)


@pytest.fixture
def apply(example_schema: Schema, top: Top, before: Record) -> Callable[..., Record]:
    """The content of `top` after an edit."""

    def run(inside: str, operation: str = "merge") -> Record:
        tree = edit(example_schema, before, top(inside), operation)
        content: Record = tree.get("example-engine:top", Record())
        return content

    return run


def _names(rows: Any) -> list[str]:
    return [row["name"] for row in rows]


def test_merge_adds_and_changes_and_leaves_the_rest(apply: Callable[..., Record]) -> None:
    after = apply(
        "<step><name>two</name><note>n</note></step><step><name>three</name></step><mode>off</mode>"
    )
    assert _names(after["step"]) == ["one", "two", "three"]
    assert after["step"][1]["note"] == "n"
    assert after["mode"] == "off"
    assert after["tag"] == ["x", "y"]


def test_merge_of_what_is_there_gives_the_very_same_tree(
    example_schema: Schema, top: Top, before: Record
) -> None:
    assert edit(example_schema, before, top(BEFORE)) is before
    assert edit(example_schema, before, top(BEFORE), "replace") is before


def test_replace_of_a_list_entry_forgets_what_is_not_named(apply: Callable[..., Record]) -> None:
    after = apply('<step nc:operation="replace"><name>one</name></step>')
    assert after["step"][0] == {"name": "one"}
    assert after["step"][1] == {"name": "two"}


def test_replace_of_a_container_forgets_what_is_not_named(
    example_schema: Schema, config_of: Top, before: Record
) -> None:
    config = config_of('<top xmlns="urn:example:engine" nc:operation="replace"><mode>on</mode></top>')
    assert edit(example_schema, before, config) == {"example-engine:top": {"mode": "on"}}


def test_default_operation_replace_is_the_whole_configuration(apply: Callable[..., Record]) -> None:
    assert apply("<mode>on</mode>", "replace") == {"mode": "on"}


@pytest.mark.parametrize(
    ("inside", "gone"),
    [
        ('<step nc:operation="delete"><name>one</name></step>', "one"),
        ('<step nc:operation="remove"><name>one</name></step>', "one"),
    ],
)
def test_delete_and_remove_take_a_list_entry_away(
    apply: Callable[..., Record], inside: str, gone: str
) -> None:
    assert gone not in _names(apply(inside)["step"])


def test_delete_of_leaf_and_leaf_list_value(apply: Callable[..., Record]) -> None:
    after = apply('<mode nc:operation="delete"/><tag nc:operation="delete">x</tag>')
    assert "mode" not in after
    assert after["tag"] == ["y"]


def test_deleting_the_last_entry_removes_the_list(apply: Callable[..., Record]) -> None:
    assert "pair" not in apply('<pair nc:operation="delete"><a>1</a><b>p</b></pair>')


def test_remove_of_what_is_not_there_is_no_error(apply: Callable[..., Record], before: Record) -> None:
    after = apply('<step nc:operation="remove"><name>none</name></step><blob nc:operation="remove"/>')
    assert after == before["example-engine:top"]


def test_create_makes_a_new_entry_inside_an_old_one(apply: Callable[..., Record]) -> None:
    after = apply('<pair><a>1</a><b>p</b><inner nc:operation="create"><id>j</id></inner></pair>')
    assert [row["id"] for row in after["pair"][0]["inner"]] == ["i", "j"]


def test_operation_none_walks_and_changes_only_what_is_marked(apply: Callable[..., Record]) -> None:
    after = apply('<step><name>one</name><note nc:operation="remove"/></step>', "none")
    assert after["step"][0] == {"name": "one"}
    assert after["mode"] == "on"


@pytest.mark.parametrize(
    ("inside", "operation", "tag"),
    [
        ('<step nc:operation="create"><name>one</name></step>', "merge", "data-exists"),
        ('<mode nc:operation="create">on</mode>', "merge", "data-exists"),
        ('<step nc:operation="delete"><name>none</name></step>', "merge", "data-missing"),
        ('<blob nc:operation="delete"/>', "merge", "data-missing"),
        ("<step><name>none</name></step>", "none", "data-missing"),
        ("<blob>AA==</blob>", "none", "data-missing"),
        ("<unknown/>", "merge", "unknown-element"),
        ("<counted>1</counted>", "merge", "unknown-element"),
        ('<mode xmlns="urn:nobody">on</mode>', "merge", "unknown-namespace"),
        ("<mode>maybe</mode>", "merge", "invalid-value"),
        ("<ratio>1.234</ratio>", "merge", "invalid-value"),
        ("<ratio>11</ratio>", "merge", "invalid-value"),
        ("<ratio>1e1</ratio>", "merge", "invalid-value"),
        ("<flags>one three</flags>", "merge", "invalid-value"),
        ("<pair><a>256</a><b>p</b></pair>", "merge", "invalid-value"),
        ("<pair><a>1</a></pair>", "merge", "missing-element"),
        ('<mode nc:operation="destroy">on</mode>', "merge", "bad-attribute"),
        ('<step yang:insert="sideways"><name>x</name></step>', "merge", "bad-attribute"),
        ('<step yang:insert="after" yang:key="[ex:name=\'z\']"><name>x</name></step>', "merge",
         "bad-attribute"),
    ],
)  # fmt: skip
def test_a_bad_edit_is_refused_with_its_tag_and_path(
    apply: Callable[..., Record], inside: str, operation: str, tag: str
) -> None:
    with pytest.raises(RpcError) as refused:
        apply(inside, operation)
    assert refused.value.tag == tag
    assert refused.value.path is not None
    assert refused.value.path.text.startswith("/example-engine:top/")


def test_an_edit_with_one_bad_part_changes_nothing(
    example_schema: Schema, top: Top, before: Record, example_tree: Tree
) -> None:
    config = top('<mode>off</mode><step nc:operation="delete"><name>none</name></step>')
    with pytest.raises(RpcError):
        edit(example_schema, before, config)
    assert before == example_tree(BEFORE)


def test_continue_on_error_does_what_can_be_done(
    example_schema: Schema, config_of: Top, before: Record
) -> None:
    config = config_of(
        '<top xmlns="urn:example:engine"><mode>off</mode></top>'
        '<top xmlns="urn:example:engine"><mode>wrong</mode></top>'
    )
    after, errors = edit_continuing(example_schema, before, config)
    assert after["example-engine:top"]["mode"] == "off"
    assert errors is not None
    assert [error.tag for error in errors.errors] == ["invalid-value"]


@pytest.mark.parametrize(
    ("attributes", "order"),
    [
        ('yang:insert="first"', ["new", "one", "two"]),
        ('yang:insert="last"', ["one", "two", "new"]),
        ('yang:insert="before" yang:key="[ex:name=\'two\']"', ["one", "new", "two"]),
        ('yang:insert="after" yang:key="[ex:name=\'one\']"', ["one", "new", "two"]),
    ],
)
def test_entries_of_a_user_ordered_list_go_where_they_are_told(
    apply: Callable[..., Record], attributes: str, order: list[str]
) -> None:
    assert _names(apply(f"<step {attributes}><name>new</name></step>")["step"]) == order


def test_values_of_a_user_ordered_leaf_list_move(apply: Callable[..., Record]) -> None:
    assert apply('<tag yang:insert="first">y</tag>')["tag"] == ["y", "x"]
    assert apply('<tag yang:insert="before" yang:value="x">z</tag>')["tag"] == ["z", "x", "y"]


def test_one_case_of_a_choice_drives_out_the_other(apply: Callable[..., Record]) -> None:
    after = apply("<right><r1>r</r1></right>")
    assert "l1" not in after
    assert after["right"] == {"r1": "r"}
    assert apply("<l2>more</l2>")["l1"] == "left"


def test_an_empty_presence_container_stays(apply: Callable[..., Record]) -> None:
    assert apply("<right/>")["right"] == {}


@pytest.mark.parametrize(
    "inside",
    [
        "<mix>7</mix>",
        "<mix>auto</mix>",
        '<mix xmlns:zoo="urn:example:engine">zoo:cat</mix>',
        "<where>/ex:top/ex:pair[ex:a='1'][ex:b='x/y']/ex:inner[ex:id=\"i\"]</where>",
        "<flags>two one</flags>",
        "<nothing/>",
        "<ratio>-0.50</ratio>",
        "<blob>SGVsbG8=</blob>",
        "<tag>a &lt; b &amp; c</tag>",
        '<free><any xmlns="urn:x">thing</any></free>',
    ],
)
def test_values_of_every_type_come_back_as_they_went_in(
    example_schema: Schema, example_tree: Tree, config_of: Top, inside: str
) -> None:
    tree = example_tree(inside)
    written = to_xml(example_schema.root, tree)
    assert parse_config(example_schema, config_of(written)) == tree
    assert to_xml(example_schema.root, parse_config(example_schema, config_of(written))) == written


def test_canonical_forms_are_written(example_schema: Schema, example_tree: Tree) -> None:
    written = to_xml(example_schema.root, example_tree("<ratio>+01.50</ratio><flags> two  one </flags>"))
    assert "<ratio>1.5</ratio>" in written
    assert "<flags>one two</flags>" in written


_NAMES = st.sampled_from("abcd")
_STEPS = st.lists(st.tuples(_NAMES, st.sampled_from(["u", "v"])), unique_by=lambda step: step[0], max_size=4)


def _steps_xml(steps: list[tuple[str, str]]) -> str:
    return "".join(f"<step><name>{name}</name><note>{note}</note></step>" for name, note in steps)


@settings(max_examples=60, deadline=None)
@given(old=_STEPS, new=_STEPS)
def test_replace_forgets_and_merge_remembers(
    example_schema: Schema, top: Top, example_tree: Tree, old: list[tuple[str, str]],
    new: list[tuple[str, str]],
) -> None:  # fmt: skip
    tree = example_tree(_steps_xml(old))
    replaced = edit(example_schema, tree, top(_steps_xml(new)), "replace")
    assert replaced == example_tree(_steps_xml(new))
    merged = edit(example_schema, tree, top(_steps_xml(new)))
    rows = merged.get("example-engine:top", Record()).get("step", [])
    assert {row["name"]: row["note"] for row in rows} == {**dict(old), **dict(new)}
    assert edit(example_schema, merged, top(_steps_xml(new))) is merged
