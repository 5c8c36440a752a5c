"""`python -m bellweave_local.demo` tells the story on the stack in the state directory; 1 if a step fails."""

from __future__ import annotations

import sys
import time

import httpx
from rich.console import Console

from bellweave_local.demo import screen
from bellweave_local.demo.doors import StepFailed
from bellweave_local.demo.story import STEPS, Story
from bellweave_local.state import StateDir


def main() -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    state = StateDir.chosen(None)
    status = state.read_status()
    if status is None or status.phase != "ready":
        console.print("[red]no stack is running here[/red]: start it with `make up`")
        return 1
    started_s = time.monotonic()
    name = "opening the doors"
    try:
        story = Story(console, state, status)
        try:
            for number, (name, step) in enumerate(STEPS, 1):
                screen.heading(console, number, name)
                begun_s = time.monotonic()
                step(story)
                console.print(f"  [dim]{time.monotonic() - begun_s:.1f} s[/dim]")
        finally:
            story.splice()
    except (StepFailed, httpx.HTTPError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, StepFailed) else str(error)
        console.print(f"[red]step failed[/red]: {name}: {reason}", markup=True)
        return 1
    console.print(f"\n[green]All as it should be[/green], in {time.monotonic() - started_s:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
