"""Importing a topology: revisions, and what may not be pulled away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qmodel.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed

TRIANGLE = (Path(__file__).parent / "triangle.yaml").read_text()


async def test_the_same_file_again_is_the_same_revision(bench: Any) -> None:
    assert (await bench.topologies.import_text(TRIANGLE, "operator")).revision == 1


async def test_another_file_is_another_revision(bench: Any) -> None:
    longer = TRIANGLE.replace("a triangle for tests", "a renamed triangle")
    row = await bench.topologies.import_text(longer, "eve")
    assert (row.revision, row.imported_by, row.topology.description) == (2, "eve", "a renamed triangle")
    assert ("heal", "network", 0.0) in bench.state.wakes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bellweave_topology: 2",
        TRIANGLE.replace("operator: north\ndescription", "operator: south\ndescription"),
        TRIANGLE.replace("node: bob, port: q1", "node: nobody, port: q1"),
    ],
)
async def test_a_bad_file_leaves_the_topology_in_force(bench: Any, text: str) -> None:
    with pytest.raises(Invalid):
        await bench.topologies.import_text(text, "operator")
    assert (await bench.topologies.current()).revision == 1


async def test_links_in_force_keep_what_they_use(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1", "alice", "charlie"))
    await bench.commit("chg_1")
    lines = [line for line in TRIANGLE.splitlines() if "id: q-ac" not in line]
    with pytest.raises(Conflict) as caught:
        await bench.topologies.import_text("\n".join(lines), "operator")
    assert "q-ac" in caught.value.detail
    renamed = TRIANGLE.replace("{node: alice, port: q2}", "{node: alice, port: q7}")
    with pytest.raises(Conflict):
        await bench.topologies.import_text(renamed, "operator")
    unused = TRIANGLE.replace("{node: alice, port: q3}", "{node: alice, port: q7}")
    assert (await bench.topologies.import_text(unused, "operator")).revision == 2


async def test_held_links_keep_what_they_use(bench: Any, make_link: Any) -> None:
    await bench.place("chg_1", make_link("l1", "alice", "charlie"))
    lines = [line for line in TRIANGLE.splitlines() if "id: q-ac" not in line]
    with pytest.raises(Conflict):
        await bench.topologies.import_text("\n".join(lines), "operator")


async def test_the_expected_revision_is_checked_first(bench: Any) -> None:
    def expect(revision: int) -> None:
        if revision != 3:
            raise PreconditionFailed("changed since")

    with pytest.raises(PreconditionFailed):
        await bench.topologies.import_text(TRIANGLE, "operator", expect)


async def test_before_the_first_import_there_is_nothing(bench: Any) -> None:
    empty = type(bench)()
    with pytest.raises(NotFound):
        await empty.topologies.current()
    with pytest.raises(NotFound):
        await empty.places.describe()
    assert await empty.healing.act("network") is None


async def test_an_ems_speaks_for_its_own_elements_only(bench: Any) -> None:
    with pytest.raises(Forbidden):
        await bench.hear("ems.west", {"element": "alice-qn", "reachable": False})
