"""`python -m bench [NAME]`: run the benchmarks, print a table, and merge the figures into results.json.

A benchmark is a module of this folder with a `NAME` and a `run(context)` that returns its results. Each is
compared with a baseline or floor that it measures itself, in the same run. Results of benchmarks that were
not run stay in the file.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from bench.result import Context, Result

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
NO_BENCHMARK = {"__main__", "__init__", "result"}


def main(arguments: Sequence[str]) -> int:
    found = discover()
    unknown = sorted(set(arguments) - set(found))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(sorted(found))}", file=sys.stderr)
        return 2
    chosen = arguments or sorted(found)
    console = Console()
    failed: list[str] = []
    results: list[Result] = []
    for name in chosen:
        console.print(f"[bold]{name}[/bold]", highlight=False)
        begun_s = time.monotonic()
        try:
            measured = found[name](Context(say=lambda text: console.print(f"  {text}", highlight=False)))
        except Exception as error:  # one benchmark that fails must not hide the others' figures
            console.print_exception()
            failed.append(f"{name}: {error}")
            continue
        results += measured
        console.print(f"  took {time.monotonic() - begun_s:.1f} s", highlight=False)
        merge(RESULTS, name, measured)
    console.print(as_table(results))
    for problem in failed:
        console.print(f"failed: {problem}", style="red")
    return 1 if failed else 0


def discover() -> dict[str, Callable[[Context], list[Result]]]:
    """Every benchmark of this folder by its NAME."""
    modules = [
        import_module(path.stem) for path in sorted(HERE.glob("*.py")) if path.stem not in NO_BENCHMARK
    ]
    return {module.NAME: module.run for module in modules if hasattr(module, "NAME")}


def import_module(name: str) -> ModuleType:
    return importlib.import_module(f"bench.{name}")


def merge(file: Path, name: str, results: Sequence[Result]) -> None:
    """Replace the results of benchmark `name` (and of its cases) in the file."""
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        known = []
    others = [one for one in known if one["name"].partition("/")[0] != name]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    fresh = [result.as_json(machine) for result in results]
    merged = sorted([*others, *fresh], key=lambda one: str(one["name"]))
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(merged, indent=2) + "\n")
    partial.replace(file)


def as_table(results: Sequence[Result]) -> Table:
    table = Table("name", "figure", "unit", "baseline", "", "ratio", "conditions")
    for column in (1, 4, 5):
        table.columns[column].justify = "right"
    for one in results:
        table.add_row(
            one.name,
            f"{one.figure:.4g}",
            one.unit,
            one.baseline_name,
            f"{one.baseline:.4g}",
            f"{one.ratio:.2f}",
            one.conditions,
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
