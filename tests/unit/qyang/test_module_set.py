"""A module set out of a folder: what is implemented, what only imported, features, submodules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qmodel.errors import Invalid
from qmodel.yang import module_dirs
from qyang.module_set import module_set
from qyang.schema import Schema

Write = Callable[[str, str], None]
SHOP = """module shop {
  namespace "urn:shop"; prefix s;
  import ietf-yang-types { prefix yang; }
  include shop-parts;
  revision 2026-02-01;
  feature sale; feature rent { if-feature sale; }
  container shop { leaf opened { type yang:date-and-time; } uses parts;
    leaf rent { if-feature rent; type string; } }
}"""
PARTS = """submodule shop-parts {
  belongs-to shop { prefix s; }
  revision 2026-01-01;
  grouping parts { leaf part { type string; } }
}"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def run(name: str, text: str) -> None:
        (tmp_path / f"{name}.yang").write_text(text)

    return run


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, ...]:
    return (tmp_path, *module_dirs())


def test_a_module_brings_what_it_imports_and_includes(write: Write, folders: tuple[Path, ...]) -> None:
    write("shop@2026-02-01", SHOP)
    write("shop-parts@2026-01-01", PARTS)
    modules = {module.name: module for module in module_set(["shop"], folders)}
    assert modules["shop"].features == ("sale", "rent")
    assert modules["shop"].submodules == (("shop-parts", "2026-01-01"),)
    assert not modules["ietf-yang-types"].implemented
    schema = Schema(modules.values(), folders)
    assert list(schema.root.children["shop:shop"].children) == ["opened", "part", "rent"]
    assert schema.source("shop") == SHOP
    assert schema.source("shop", "2026-02-01") == SHOP
    assert schema.source("shop-parts") == PARTS
    assert schema.source("shop", "2020-01-01") is None
    assert schema.source("ietf-interfaces") is None


def test_only_the_features_asked_for_are_on(write: Write, folders: tuple[Path, ...]) -> None:
    write("shop", SHOP)
    write("shop-parts", PARTS)
    modules = module_set(["shop"], folders, ["shop:sale"])
    assert modules[0].features == ("sale",)
    assert "rent" not in Schema(modules, folders).root.children["shop:shop"].children
    with pytest.raises(Invalid, match="shop:barter"):
        module_set(["shop"], folders, ["shop:barter"])


@pytest.mark.parametrize(
    ("name", "implemented_too"),
    [("ietf-ip", "ietf-interfaces"), ("ietf-hardware", "iana-hardware"), ("ietf-routing", "ietf-interfaces")],
)
def test_what_an_implemented_module_names_is_implemented_too(
    folders: tuple[Path, ...], name: str, implemented_too: str
) -> None:
    modules = module_set([name], folders)
    assert implemented_too in {module.name for module in modules if module.implemented}
    Schema(modules, folders)


def test_the_newest_of_several_revisions_is_taken_or_the_one_imported(
    write: Write, folders: tuple[Path, ...]
) -> None:
    for revision in ("2025-01-01", "2026-01-01"):
        write(f"base@{revision}", f'module base {{ namespace "urn:base"; prefix b; revision {revision}; }}')
    assert [module.revision for module in module_set(["base"], folders)] == ["2026-01-01"]
    write("user", 'module user { namespace "urn:user"; prefix u; '
                  'import base { prefix b; revision-date 2025-01-01; } }')  # fmt: skip
    assert [(m.name, m.revision) for m in module_set(["user"], folders)] == [
        ("user", ""),
        ("base", "2025-01-01"),
    ]


def test_a_module_of_the_base_is_not_listed_twice(folders: tuple[Path, ...]) -> None:
    base = module_set(["ietf-netconf"], folders)
    modules = module_set(["ietf-system"], folders, None, base)
    names = [module.name for module in modules]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("text", ["module broken {", "module other { prefix o; namespace 'urn:o'; }"])
def test_what_cannot_be_read_is_named(write: Write, folders: tuple[Path, ...], text: str) -> None:
    write("broken", text)
    with pytest.raises(Invalid, match=r"broken\.yang"):
        module_set(["broken"], folders)
    with pytest.raises(Invalid, match="no YANG module 'nowhere'"):
        module_set(["nowhere"], folders)
