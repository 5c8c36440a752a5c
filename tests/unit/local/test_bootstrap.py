"""Setting up waits for another set-up, and for nothing without a limit."""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import pytest
from deploy import bootstrap


def test_a_second_set_up_says_that_it_waits_and_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "STEP_LIMIT_S", 0.5)
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        assert not bootstrap.take(second)
        assert capsys.readouterr().out.count("another set-up runs here") == 1
        fcntl.flock(first, fcntl.LOCK_UN)
        assert bootstrap.take(second)


def test_a_program_that_does_not_answer_has_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "ANSWER_LIMIT_S", 0.2)
    assert bootstrap.output(Path(sys.executable), "-c", "import time; time.sleep(9)") is None
