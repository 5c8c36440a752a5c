"""Tables and the words in them; everything from a service is shown as plain text, never as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Json = Mapping[str, Any]
NOTHING = "–"
_ID = re.compile(r"[a-z]+_[0-9a-f]{32}")
_STYLES = {
    "green": "up active completed confirmed committed managed ready issued validated provisioned invoiced"
    " cleared",
    "yellow": "received placing committing stabilizing provisioning held learning terminating degraded"
    " warning minor busy starting restarting waiting suspended indeterminate stopping",
    "red": "down refused failed unreachable quarantined unknown critical major",
    "dim": "released terminated cancelled stopped",
}
_STYLE_OF = {word: style for style, words in _STYLES.items() for word in words.split()}


def state(word: Any) -> Text:
    """A state in the colour of how good it is."""
    return Text(str(word or NOTHING), style=_STYLE_OF.get(str(word), ""))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """`columns` whose name begins with ">" are right-aligned. Without rows the table says so.

    Ids never break, so that they can be copied.
    """
    made = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        made.add_column(
            name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        cells = [cell if isinstance(cell, Text) else Text(said(cell)) for cell in row]
        for column, cell in zip(made.columns, cells, strict=True):
            if _ID.fullmatch(cell.plain):
                column.min_width = max(column.min_width or 0, cell.cell_len)
        made.add_row(*cells)
    if not made.row_count:
        made.add_row(Text("none", style="dim"))
    return made


def facts(title: str, pairs: Iterable[tuple[str, Any]]) -> Table:
    """One thing's properties, one a line; those that are None are left out."""
    made = Table(title=Text(title), title_justify="left", title_style="bold", box=None, show_header=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(Text(name), value if isinstance(value, Text) else Text(said(value)))
    return made


def said(value: Any) -> str:
    """A value in words."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or NOTHING
    return str(value)


def when(text: Any) -> str:
    """A time of RFC 3339 to the second, UTC."""
    if not text:
        return NOTHING
    try:
        return f"{datetime.fromisoformat(str(text)):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return str(text)


def count(number: Any, unit: Any) -> str:
    """Such as "1,234,567 key-bits"."""
    if number is None:
        return NOTHING
    return f"{number:,} {unit or ''}".strip()
