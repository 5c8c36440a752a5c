"""Validation of what has changed agrees with yangson's on the whole; its errors are RFC 7950's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yangson.enumerations import ContentType
from yangson.exceptions import ValidationError
from yangson.instance import RootNode

from qmodel.yang import HARDWARE_NS, INTERFACES_NS, QUANTUM_NODE_NS, QUANTUM_TYPES_NS
from qyang.edit import edit
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record
from qyang.validation import EVERYTHING, Validator, outside_references

Top = Callable[[str], Any]
Tree = Callable[[str], Record]


def _whole_verdict(schema: Schema, tree: Record) -> bool:
    """What yangson says of the whole tree."""
    root = RootNode(tree, schema.model.schema, schema.model.schema_data, tree.timestamp)
    try:
        root.validate(ctype=ContentType.config)
    except ValidationError:
        return False
    return True


def _verdict(validator: Validator, tree: Record, valid: Record | None) -> bool:
    try:
        validator.validate(tree, valid)
    except RpcError:
        return False
    return True


@pytest.mark.parametrize(
    ("inside", "tag", "app_tag"),
    [
        ("<pair><a>1</a><b>p</b><mark>5</mark></pair><pair><a>2</a><b>p</b><mark>5</mark></pair>",
         "operation-failed", "data-not-unique"),
        ("".join(f"<pair><a>{n}</a><b>p</b></pair>" for n in range(6)),
         "operation-failed", "too-many-elements"),
        ("<pair><a>1</a><b>p</b><inner><id>i</id><up>q</up></inner></pair>",
         "data-missing", "instance-required"),
        ("<only-when-on>x</only-when-on>", "unknown-element", None),
    ],
)  # fmt: skip
def test_a_violation_has_the_tags_of_rfc_7950(
    example_schema: Schema, example_tree: Tree, inside: str, tag: str, app_tag: str | None
) -> None:
    with pytest.raises(RpcError) as refused:
        Validator(example_schema).validate(example_tree(inside))
    assert (refused.value.tag, refused.value.app_tag) == (tag, app_tag)
    assert refused.value.path is not None
    assert refused.value.path.text.startswith("/example-engine:top")


def test_constraints_are_read_for_what_they_look_at(quantum_schema: Schema, example_schema: Schema) -> None:
    node = quantum_schema.root.children["bellweave-quantum-node:quantum-node"]
    assert outside_references(node.children["circuit"]) == {
        "ietf-interfaces:interfaces",
        "ietf-hardware:hardware",
    }
    top = example_schema.root.children["example-engine:top"]
    assert outside_references(top.children["pair"]) == {"example-engine:top"}
    assert EVERYTHING not in outside_references(top)
    assert outside_references(top.children["step"]) == frozenset()


_PARTS = st.fixed_dictionaries(
    {
        "pairs": st.dictionaries(
            st.sampled_from("1234567"), st.tuples(st.sampled_from("pq"), st.sampled_from("56")), max_size=7
        ),
        "up": st.sampled_from(["", "p", "q", "r"]),
        "mode": st.sampled_from(["", "on", "off"]),
        "when": st.booleans(),
    }
)


def _example(parts: dict[str, Any]) -> str:
    rows = [
        f"<pair><a>{a}</a><b>{b}</b>{f'<mark>{a}{mark}</mark>' if mark == '6' else f'<mark>{mark}</mark>'}"
        f"{'<inner><id>i</id><up>' + parts['up'] + '</up></inner>' if parts['up'] else ''}</pair>"
        for a, (b, mark) in parts["pairs"].items()
    ]
    mode = f"<mode>{parts['mode']}</mode>" if parts["mode"] else ""
    conditional = "<only-when-on>x</only-when-on>" if parts["when"] else ""
    return "".join(rows) + mode + conditional


@settings(max_examples=150, deadline=None)
@given(first=_PARTS, second=_PARTS, replace=st.booleans())
def test_the_verdict_on_a_change_is_the_verdict_on_the_whole(
    example_schema: Schema, top: Top, example_tree: Tree, first: dict[str, Any], second: dict[str, Any],
    replace: bool,
) -> None:  # fmt: skip
    validator = Validator(example_schema)
    before = example_tree(_example(first))
    assert _verdict(validator, before, None) == _whole_verdict(example_schema, before)
    if not _whole_verdict(example_schema, before):
        before = Record()
    after = edit(example_schema, before, top(_example(second)), "replace" if replace else "merge")
    assert _verdict(validator, after, before) == _whole_verdict(example_schema, after)


def _node_config(ports: set[str], parts: set[str], circuits: dict[str, tuple[str, str, str]]) -> str:
    kinds = {"s": "entangled-photon-source", "b": "bsm", "d": "detector"}
    types = f'xmlns:t="{QUANTUM_TYPES_NS}"'
    interfaces = "".join(
        f"<interface><name>{port}</name><type {types}>t:quantum-port</type></interface>"
        for port in sorted(ports)
    )
    components = "".join(
        f"<component><name>{part}</name><class {types}>t:{kinds[part]}</class></component>"
        for part in sorted(parts)
    )
    rows = "".join(
        f"<circuit><link-id>{link}</link-id><role>{role}</role><a-port>{port}</a-port>"
        f"{'<b-port>q2</b-port>' if role in ('swap', 'switch') else ''}"
        f"{f'<{leaf}>{leaf[0]}</{leaf}>' if leaf else ''}<pair-rate-hz>1</pair-rate-hz></circuit>"
        for link, (role, port, leaf) in circuits.items()
    )
    return (
        f'<interfaces xmlns="{INTERFACES_NS}">{interfaces}</interfaces>'
        f'<hardware xmlns="{HARDWARE_NS}">{components}</hardware>'
        f'<quantum-node xmlns="{QUANTUM_NODE_NS}">{rows}</quantum-node>'
    )


_CIRCUITS = st.dictionaries(
    st.sampled_from(["l1", "l2", "l3"]),
    st.tuples(
        st.sampled_from(["endpoint", "source", "swap", "switch"]),
        st.sampled_from(["q1", "q3"]),
        st.sampled_from(["", "source", "bsm", "detector"]),
    ),
    max_size=3,
)
_SOME_PORTS = st.sets(st.sampled_from(["q1", "q2", "q3"]))
_SOME_PARTS = st.sets(st.sampled_from(["s", "b", "d"]))


@settings(max_examples=150, deadline=None)
@given(ports=_SOME_PORTS, parts=_SOME_PARTS, first=_CIRCUITS, second=_CIRCUITS)
def test_a_quantum_node_is_judged_the_same_in_parts_and_as_a_whole(
    quantum_schema: Schema, config_of: Top, ports: set[str], parts: set[str],
    first: dict[str, tuple[str, str, str]], second: dict[str, tuple[str, str, str]],
) -> None:  # fmt: skip
    validator = Validator(quantum_schema)
    everything = ({"q1", "q2", "q3"}, {"s", "b", "d"})
    before = edit(quantum_schema, Record(), config_of(_node_config(*everything, first)), "replace")
    if not _whole_verdict(quantum_schema, before):
        before = edit(quantum_schema, Record(), config_of(_node_config(*everything, {})), "replace")
    validator.validate(before)
    after = edit(quantum_schema, before, config_of(_node_config(ports, parts, second)), "replace")
    assert _verdict(validator, after, before) == _whole_verdict(quantum_schema, after)
