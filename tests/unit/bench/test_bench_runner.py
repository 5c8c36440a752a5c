"""The benchmark runner keeps what it did not measure and says how a figure compares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main, merge
from bench.result import Result


def result(name: str, figure: float) -> Result:
    return Result(name, figure, "s", "bare sessions", 2.0, "4 devices")


def test_results_of_other_benchmarks_stay(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    merge(file, "orders", [result("orders", 1.0)])
    merge(file, "commit", [result("commit/4", 3.0), result("commit/16", 5.0)])
    merge(file, "commit", [result("commit/4", 4.0)])
    kept = {one["name"]: one["figure"] for one in json.loads(file.read_text())}
    assert kept == {"orders": 1.0, "commit/4": 4.0}


def test_a_result_has_the_members_that_readers_expect(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    merge(file, "commit", [result("commit/4", 3.0)])
    [one] = json.loads(file.read_text())
    assert set(one) == {"name", "figure", "unit", "baseline_name", "baseline", "ratio", "conditions"}
    assert one["ratio"] == 1.5
    assert one["conditions"].startswith("4 devices; ")


def test_an_unknown_benchmark_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-benchmark"]) == 2
    assert "no-such-benchmark" in capsys.readouterr().err
