"""What every command works with: places, session, doors, and the two consoles.

Built once per run by `main`; tests build their own with another transport.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from bellweave.doors import Door
from bellweave.places import LocalStack, Places
from bellweave.session import Session, SessionFile
from bellweave.trouble import Refused, Trouble

_WIDE = 160
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass
class Toolbox:
    """`out` is for what was asked, `err` for everything else. `as_json` is set by the option `--json`."""

    environment: Mapping[str, str]
    directory: Path
    transport: httpx.BaseTransport | None = None
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))
    now_s: Callable[[], float] = time.time
    as_json: bool = False
    state: Path | None = None

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(transport=self.transport, follow_redirects=False)

    @cached_property
    def stack(self) -> LocalStack | None:
        return LocalStack.find(self.environment, self.directory, self.state)

    @cached_property
    def places(self) -> Places:
        return Places(self.environment, self.stack)

    @cached_property
    def sessions(self) -> SessionFile:
        return SessionFile(self.environment)

    @cached_property
    def session(self) -> Session | None:
        return self.sessions.load()

    def door(self, service: str, chosen: str | None = None) -> Door:
        """The door of a service; the token goes along."""
        instance = self.places.instance(service, chosen)
        url = self.places.url(instance)
        session = self.session
        if session is None:
            raise Refused.because("you are not logged in", "log in: bellweave login USER")
        if session.expires_at_s <= self.now_s():
            raise Refused.because(
                f"the login of {session.user} has expired", f"bellweave login {session.user}"
            )
        self.check_private(url)
        return Door(self.http, instance, url, session)

    def doors(self, service: str) -> list[Door]:
        return [self.door(service, name) for name in self.places.instances(service)]

    def check_private(self, url: str) -> None:
        """Secrets travel encrypted, or not beyond this machine. Raises Refused."""
        parts = urlsplit(url)
        if parts.scheme == "https" or parts.hostname in _LOOPBACK:
            return
        if self.environment.get("BELLWEAVE_PLAIN_HTTP") != "yes":
            raise Refused.because(
                f"{url} would get passwords and tokens unencrypted",
                "use https, or say BELLWEAVE_PLAIN_HTTP=yes",
            )

    def show(self, document: Any, view: Callable[[], RenderableType]) -> None:
        """`document` with `--json`, else what `view` makes of it."""
        if self.as_json:
            self.tell(document)
        else:
            self.out.print(view(), crop=False)

    def tell(self, document: Any) -> None:
        """One JSON document, in one line on stdout."""
        print(json.dumps(document, ensure_ascii=False), file=self.out.file, flush=True)

    def say(self, text: str) -> None:
        """Something that happened; not for machines."""
        if not self.as_json:
            self.err.print(text, highlight=False)

    def report(self, trouble: Trouble) -> None:
        if self.as_json:
            print(json.dumps(trouble.document(), ensure_ascii=False), file=self.err.file, flush=True)
            return
        self.err.print(f"[red]{escape(str(trouble))}[/red]", highlight=False, soft_wrap=True)
        problem = trouble.problem
        if problem.get("where"):
            self.err.print(f"  at {escape(str(problem['where']))}", highlight=False, soft_wrap=True)
        for line in _details(problem):
            self.err.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        if trouble.hint:
            self.err.print(f"[dim]→ {escape(trouble.hint)}[/dim]", highlight=False, soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    """As wide as the terminal; without one as COLUMNS says, or wide enough that tables do not break."""
    console = Console(stderr=stderr)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(stderr=stderr, width=_WIDE)


def _details(problem: Mapping[str, Any]) -> list[str]:
    """What else a problem document says: faults of the body, refusals of a placement, the quota."""
    faults = [one for one in problem.get("errors") or () if one.get("pointer") != problem.get("where")]
    lines = [f"{one.get('pointer')}: {one.get('detail')}" for one in faults]
    for refusal in problem.get("refusals") or ():
        fits = ", ".join(f"{name} {value:g}" for name, value in (refusal.get("would_fit") or {}).items())
        ends = f"{refusal.get('a', '?')} – {refusal.get('b', '?')}"
        where = f" at {refusal['where']}" if refusal.get("where") else ""
        lines.append(
            f"{ends}: {refusal.get('constraint', 'path')}{where}: {refusal.get('reason', '')}"
            + (f" (would fit: {fits})" if fits else "")
        )
    if "links_limit" in problem:
        lines.append(f"links: {problem.get('links_used')} of {problem['links_limit']} used")
        lines.append(
            f"key rate: {problem.get('key_rate_used_bps')} of {problem.get('key_rate_limit_bps')} bit/s used"
        )
    return lines


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    tools_of(ctx).as_json |= value
    return value


Json = Annotated[
    bool, typer.Option("--json", callback=_remember_json, help="Machine output; errors as problem documents.")
]


def tools_of(ctx: typer.Context) -> Toolbox:
    tools = ctx.find_object(Toolbox)
    assert tools is not None, "main gives every run its toolbox"
    return tools
