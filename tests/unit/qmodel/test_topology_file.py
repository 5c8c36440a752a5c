"""The topology file: what is valid is loaded, what is not is refused with its place and reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qmodel.errors import Invalid, NotFound, TooLarge
from qmodel.topology_file import load_topology, parse_topology

GOOD = """\
bellweave_topology: 1
operator: north
description: two nodes and a fibre
conduits:
  - id: duct-1
nodes:
  - {id: alice, operator: north, site: Alice, element: ne-alice, ems: north}
  - {id: bob, operator: north, element: ne-bob, ems: north, sources: [{id: s1, trial_rate_hz: 1e9}]}
quantum_links:
  - id: q1
    a: {node: alice, port: q-east}
    b: {node: bob, port: q-west}
    length_km: 12.5
    conduits: [duct-1]
"""


def problem(text: str) -> tuple[str, int, str]:
    with pytest.raises(Invalid) as caught:
        parse_topology(text)
    first = caught.value.facts["problems"][0]
    assert caught.value.where == first["where"]
    return first["where"], first["line"], first["reason"]


def test_a_valid_file_is_loaded_from_text_path_and_json(tmp_path: Path) -> None:
    topology = load_topology(GOOD)
    assert topology.quantum_links[0].length_km == 12.5
    assert topology.nodes[1].sources[0].trial_rate_hz == 1e9
    path = tmp_path / "north.yaml"
    path.write_text(GOOD)
    assert load_topology(path) == topology
    assert load_topology(json.dumps(topology.model_dump(mode="json"))) == topology


@pytest.mark.parametrize("length", ["-1", ".nan", ".inf", "0", "long"])
def test_an_impossible_length_is_refused_where_it_stands(length: str) -> None:
    where, line, _ = problem(GOOD.replace("12.5", length))
    assert (where, line) == ("/quantum_links/0/length_km", 13)


@pytest.mark.parametrize(
    ("old", "new", "where", "line", "reason"),
    [
        ("node: bob, port: q-west", "node: alice, port: q-west", "/quantum_links/0", 10, "both ends at"),
        ("node: bob, port: q-west", "node: carol, port: q-west", "/quantum_links/0", 10, "no node 'carol'"),
        ("[duct-1]", "[duct-2]", "/quantum_links/0", 10, "no conduit 'duct-2'"),
        ("id: bob,", "id: alice,", "/nodes/1", 8, "occurs twice"),
        ("element: ne-bob", "element: ne-alice", "/nodes/1", 8, "is that of 'alice' already"),
        ("element: ne-alice, ems: north", "clearance: secret", "/nodes/0", 7, "needs element and ems"),
        ("[{id: s1, trial_rate_hz: 1e9}]", "[{id: s1}, {id: s1}]", "/nodes/1", 8, "device 's1' occurs twice"),
        (
            "length_km: 12.5",
            "length_km: 12.5\n    colour: red",
            "/quantum_links/0/colour",
            14,
            "not permitted",
        ),
        ("operator: north\ndesc", "desc", "/operator", 1, "required"),
    ],
)
def test_a_wrong_reference_names_its_place_and_reason(
    old: str, new: str, where: str, line: int, reason: str
) -> None:
    assert old in GOOD
    at, on, why = problem(GOOD.replace(old, new))
    assert (at, on) == (where, line)
    assert reason in why


def test_several_problems_are_all_told() -> None:
    with pytest.raises(Invalid) as caught:
        parse_topology(GOOD.replace("[duct-1]", "[duct-2]").replace("node: bob", "node: carol"))
    assert len(caught.value.facts["problems"]) == 2


def test_a_repeated_key_is_refused() -> None:
    assert problem(GOOD + "operator: south\n") == ("/operator", 15, "key 'operator' occurs twice")


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, 2]\nb: [*x, *x, *x]\n",
        "bellweave_topology: !!python/object/apply:os.system ['true']\n",
        "bellweave_topology: !!int '1'\n",
        "? [a, b]\n: 1\n",
        "[" * 1000,
        "a: [1, 2\n",
        "\x00",
        "just words",
        "",
        "- 1\n- 2\n",
    ],
)
def test_hostile_or_broken_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_topology(text)


def test_two_documents_in_one_file_are_refused() -> None:
    with pytest.raises(Invalid, match="one document"):
        parse_topology(f"{GOOD}---\n{GOOD}")


def test_more_links_than_any_network_has_are_refused_before_they_are_read() -> None:
    with pytest.raises(TooLarge) as caught:
        parse_topology("quantum_links: [" + "1," * 100_001 + "1]")
    assert caught.value.where == "/quantum_links"


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(20_000_001)
    with pytest.raises(TooLarge):
        load_topology(path)


def test_a_missing_or_undecodable_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_topology(tmp_path / "absent.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"description: \xff")
    with pytest.raises(Invalid):
        load_topology(path)
