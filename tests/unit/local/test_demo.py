"""The demo leaves the network as it found it, whatever happens in between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bellweave_local.demo import __main__ as demo
from bellweave_local.demo import story as told
from bellweave_local.demo.doors import StepFailed
from bellweave_local.state import StateDir


def test_a_step_that_fails_leaves_no_fibre_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[tuple[str, str]] = []

    def fail(story: told.Story) -> None:
        story.cut = "f1"
        raise StepFailed("no alarm came")

    def emulator(_: Any, verb: str, what: str) -> None:
        done.append((verb, what))

    monkeypatch.setattr(StateDir, "read_status", lambda _: SimpleNamespace(phase="ready"))
    monkeypatch.setattr(told, "Doors", lambda _: None)
    monkeypatch.setattr(told, "_emulator", emulator)
    monkeypatch.setattr(demo, "STEPS", (("A fibre is cut", fail),))
    assert demo.main() == 1
    assert done == [("splice", "f1")]
    assert "splicing fibre f1 again" in capsys.readouterr().out
