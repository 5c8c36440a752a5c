"""XPath filters on trees: what is selected, with which ancestors and keys, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.netconf.filters import XPathFilter
from emulator.netconf.xpath import absolute_in
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.tree import Record
from qyang.xmlout import to_xml

EXAMPLE = "urn:example:engine"
CONTENT = (
    "<tag>red</tag><tag>blue</tag>"
    "<pair><a>1</a><b>x</b><mark>5</mark><inner><id>i</id></inner></pair>"
    "<pair><a>2</a><b>y</b><mark>6</mark></pair>"
    '<mode>on</mode><free><any xmlns="urn:any">thing</any></free>'
)
PAIR_1 = "<pair><a>1</a><b>x</b><mark>5</mark><inner><id>i</id></inner></pair>"

Select = Callable[[str], str]


@pytest.fixture
def select(example_schema: Schema, example_tree: Callable[[str], Record]) -> Select:
    """What an expression selects inside of `top`, as XML."""
    tree = example_tree(CONTENT)

    def run(expression: str) -> str:
        found = XPathFilter(expression, {"e": EXAMPLE, "n": "urn:any"}).select(example_schema.root, tree)
        text = to_xml(example_schema.root, found)
        return text.removeprefix(f'<top xmlns="{EXAMPLE}">').removesuffix("</top>")

    return run


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("/e:top/e:mode", "<mode>on</mode>"),
        ("e:top/e:mode", "<mode>on</mode>"),
        ("//e:mode", "<mode>on</mode>"),
        ("/e:top/e:pair[e:a='1']", PAIR_1),
        ("/e:top/e:pair[e:mark > 5]/e:mark", "<pair><a>2</a><b>y</b><mark>6</mark></pair>"),
        ("/e:top/e:pair/e:inner/e:id", "<pair><a>1</a><b>x</b><inner><id>i</id></inner></pair>"),
        ("/e:top/e:tag[2] | /e:top/e:mode", "<tag>blue</tag><mode>on</mode>"),
        ("/e:top/e:tag[.='red'][/e:top/e:mode = 'on']", "<tag>red</tag>"),
        ("/e:top/e:mode[count(/e:top/e:pair) * 2 = 4 and /*/e:tag]", "<mode>on</mode>"),
        ("/e:top/e:mode/text()", "<mode>on</mode>"),
        ("/e:top/e:free/n:any", '<free><any xmlns="urn:any">thing</any></free>'),
        ("/e:top/e:mode[.='/e:x']", ""),
        ("/e:top/e:nothing", ""),
        ("/top/mode", ""),
    ],
)
def test_an_expression_selects(select: Select, expression: str, selected: str) -> None:
    assert select(expression) == selected


@pytest.mark.parametrize("expression", ["/", "/*", "//*", "/e:top", " / "])
def test_the_root_selects_everything(select: Select, expression: str) -> None:
    assert select(expression).startswith("<tag>red</tag><tag>blue</tag><pair>")


@pytest.mark.parametrize("expression", ["count(//e:tag)", "'text'", "/e:top[", "/x:top", "", "a" * 5000])
def test_what_selects_no_nodes_is_refused(select: Select, expression: str) -> None:
    with pytest.raises(RpcError) as refused:
        select(expression)
    assert refused.value.tag == "invalid-value"


@pytest.mark.parametrize(
    ("expression", "led"),
    [
        ("/a/b[/c = 2 * /d]", "/*/a/b[/*/c = 2 * /*/d]"),
        ("*/a | /*", "*/a | /*/*"),
        ("a:*/b[x and /y div /z]", "a:*/b[x and /*/y div /*/z]"),
        ("/and/or[. = '/x']", "/*/and/or[. = '/x']"),
        ("../a//b[1]/c", "../a//b[1]/c"),
        ("count(/a)/b", "count(/*/a)/b"),
        ("/ | a", "/* | a"),
    ],
)
def test_absolute_paths_are_led_through_the_element_around_the_data(expression: str, led: str) -> None:
    assert absolute_in(expression) == led
