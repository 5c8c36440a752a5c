"""Named SQL: a store keeps its statements in `queries.sql` and calls them by name.

A block starts with `-- name: purpose in a few words` and runs to the next one. Stores call `load_queries`
in their constructor. Statements are constants: values go in as parameters, never by formatting.
"""

from __future__ import annotations

import re
from importlib.resources import files

_HEADER = re.compile(r"^--\s*([a-z][a-z0-9_]*):\s*(\S.*)$", re.MULTILINE)


class Queries:
    """Statements by attribute; `purposes` tells what each is for."""

    def __init__(self, statements: dict[str, str], purposes: dict[str, str]) -> None:
        self._statements = statements
        self.purposes = purposes

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"no query named {name}") from None


def parse_queries(text: str) -> Queries:
    """Split `text` into its named blocks. Raises ValueError for a name used twice or an empty block."""
    headers = list(_HEADER.finditer(text))
    statements: dict[str, str] = {}
    purposes: dict[str, str] = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header[1]
        body = text[header.end() : following.start() if following else len(text)].strip()
        if name in statements:
            raise ValueError(f"query {name} is defined twice")
        if not body:
            raise ValueError(f"query {name} is empty")
        statements[name] = body
        purposes[name] = header[2].strip()
    return Queries(statements, purposes)


def load_queries(package: str, filename: str = "queries.sql") -> Queries:
    """The named statements of `filename` inside `package` (such as `sms`)."""
    return parse_queries((files(package) / filename).read_text(encoding="utf-8"))
