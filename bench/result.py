"""What a benchmark is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Context:
    """`say` shows progress to the person who waits."""

    say: Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One figure beside its baseline, both in `unit`. `name` is the benchmark's NAME, with `/case` where
    there are several. `conditions` says what a reader must know to repeat it."""

    name: str
    figure: float
    unit: str
    baseline_name: str
    baseline: float
    conditions: str

    @property
    def ratio(self) -> float:
        """Figure to baseline: above 1 is more time, or more per second, than the baseline."""
        return self.figure / self.baseline

    def as_json(self, machine: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "figure": self.figure,
            "unit": self.unit,
            "baseline_name": self.baseline_name,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "conditions": f"{self.conditions}; {machine}",
        }
