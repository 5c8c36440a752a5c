"""Files of named statements and of migrations: what is read from them, and what is refused."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from qkit.migrations import RoleUrls, read_migrations
from qkit.queries import load_queries, parse_queries
from qmodel.errors import Invalid


def test_a_block_runs_to_the_next_name_and_keeps_its_comments() -> None:
    queries = parse_queries("-- one: the first\nSELECT 1 -- why\n\n-- two: the second\nSELECT 2\n")
    assert queries.one == "SELECT 1 -- why"
    assert queries.two == "SELECT 2"
    assert queries.purposes == {"one": "the first", "two": "the second"}


def test_an_unknown_name_is_an_attribute_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match="no query named nought"):
        _ = parse_queries("-- one: x\nSELECT 1").nought


@pytest.mark.parametrize(
    "text", ["-- one: a\nSELECT 1\n-- one: b\nSELECT 2", "-- one: a\n-- two: b\nSELECT 2"]
)
def test_doubles_and_empty_blocks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one"):
        parse_queries(text)


def test_our_own_files_can_be_read() -> None:
    assert "commit_claim" in load_queries("qkit", "commitlog.sql").claim
    numbers = [migration.number for migration in read_migrations(files("qkit") / "sql", "kit")]
    assert numbers == sorted(set(numbers))


def test_migrations_come_by_number_whatever_the_folders_order(tmp_path: Path) -> None:
    for name in ("010_late.sql", "002_early.sql", "100_last.sql", "readme.md"):
        (tmp_path / name).write_text("SELECT 1")
    found = read_migrations(tmp_path, "service")
    assert [migration.name for migration in found] == ["early", "late", "last"]


@pytest.mark.parametrize("name", ["1_x.sql", "001-x.sql", "001_X.sql", "x.sql", "0001_x.sql"])
def test_a_migration_with_a_strange_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(Invalid, match="NNN_name"):
        read_migrations(tmp_path, "service")


def test_two_migrations_of_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("001_a.sql", "001_b.sql"):
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(Invalid, match="001"):
        read_migrations(tmp_path, "service")


def test_connection_strings_do_not_show() -> None:
    assert "s3same" not in repr(RoleUrls("a:s3same@h", "b:s3same@h", "c:s3same@h"))
