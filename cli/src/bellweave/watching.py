"""Following an order or a service as it happens: what was told so far, and how that looks.

`Story` takes server-sent events and renders; `followed` reads them and survives a broken line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bellweave.doors import Door, Told
from bellweave.show.services import commit_tree
from bellweave.show.tables import state
from bellweave.trouble import Unreachable

FINAL_ORDER = ("completed", "refused", "failed", "cancelled")
FINAL_SERVICE = ("terminated", "failed")
_PATIENCE = 20
_LONGEST_PAUSE_S = 3.0


def followed(door: Door, path: str, pause: Callable[[float], None] = time.sleep) -> Iterator[Told]:
    """Events without end: when the line breaks it goes on after the last one. Raises Unreachable after many
    failures with no event between them."""
    after: str | None = None
    failures = 0
    while True:
        try:
            for told in door.follow(path, after):
                if told.event == "error":
                    failures += 1
                    if failures >= _PATIENCE:
                        raise Unreachable.because(str(told.data.get("detail", "the stream broke off")))
                    break
                if told.event != "open":
                    failures = 0
                after = told.event_id or after
                yield told
        except Unreachable:
            failures += 1
            if failures >= _PATIENCE:
                raise
        pause(min(0.3 * (failures + 1), _LONGEST_PAUSE_S))


@dataclass
class Settling:
    """A countdown: domain time until a service should be active, run down at the clock's scale."""

    total_s: float
    since_s: float
    scale: float

    def left_s(self, now_s: float) -> float:
        return max(0.0, self.total_s - (now_s - self.since_s) * self.scale)


@dataclass
class Story:
    """What is known of one order and its service; `scale` is that of the domain clock."""

    scale: float = 1.0
    now_s: Callable[[], float] = time.monotonic
    order_state: str | None = None
    service_state: str | None = None
    service_id: str | None = None
    problem: dict[str, Any] | None = None
    lines: list[Text] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)
    links: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    settling: Settling | None = None

    def hear(self, told: Told) -> Text | None:
        """Take an event in; the line to print for it, if it says something new."""
        data = told.data
        if told.event == "state":
            return self._order_state(data)
        detail = data.get("data") or {}
        self.members = detail.get("members") or self.members
        if told.event == "link" and data.get("link_id"):
            ends = (str(detail.get("a", "")), str(detail.get("b", "")))
            self.links[data["link_id"]] = (*ends, str(detail.get("state") or data.get("step") or ""))
        if told.event == "service":
            self.service_state = str(detail.get("state") or data.get("step") or self.service_state)
        self.service_id = data.get("service_id") or self.service_id
        if not data.get("text"):
            return None
        line = Text(f"{data.get('step', ''):<12} ", style="dim")
        line.append(str(data["text"]), style="default not dim")
        self.lines.append(line)
        return line

    def see_service(self, service: dict[str, Any], links: list[dict[str, Any]]) -> None:
        """Take in how a service stands now."""
        self.service_id, self.service_state = service["id"], service["state"]
        self.links = {link["id"]: (link["a"], link["b"], link["state"]) for link in links}
        expected_s = service.get("expected_active_in_s")
        if not expected_s or service["state"] == "active":
            self.settling = None
        elif self.settling is None or abs(self.settling.left_s(self.now_s()) - expected_s) > self.scale:
            total_s = max(expected_s, self.settling.total_s if self.settling else 0.0)
            begun_s = self.now_s() - (total_s - expected_s) / self.scale
            self.settling = Settling(total_s, begun_s, self.scale)

    def _order_state(self, data: dict[str, Any]) -> Text | None:
        if data["state"] == self.order_state:
            return None
        self.order_state = data["state"]
        self.service_id = data.get("service_id") or self.service_id
        self.problem = data.get("problem") or self.problem
        return Text("order is ", style="dim").append_text(state(self.order_state))

    def render(self) -> RenderableType:
        """Everything at a glance: what was told, the commit, the links, the time left."""
        parts: list[RenderableType] = list(self.lines[-12:])
        if self.members:
            parts.append(commit_tree(self.members))
        if self.links:
            parts.append(self._links())
        if self.settling is not None:
            parts.append(self._bar(self.settling))
        head = Text("order ").append_text(state(self.order_state)) if self.order_state else Text()
        if self.service_state:
            head.append("  service ").append_text(state(self.service_state))
        return Group(*parts, head)

    def _links(self) -> Text:
        said = Text()
        for a, b, word in sorted(self.links.values()):
            said.append(f"  {a} – {b} ").append_text(state(word))
        return said

    def _bar(self, settling: Settling) -> Table:
        left_s = settling.left_s(self.now_s())
        grid = Table.grid(padding=(0, 1))
        done_s = settling.total_s - left_s
        grid.add_row(
            Text("stabilizing"),
            ProgressBar(total=settling.total_s, completed=done_s, width=40),
            Text(f"{left_s:.0f} s of domain time left", style="dim"),
        )
        return grid
