"""Checks of the project's files that no linter makes. `make check` calls it; it reads and never writes.

- every dependency that a pyproject names is in requirements.lock, at a version that it allows, with a hash
- no committed file names a package registry's host or holds a private key
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "names a package registry's host": re.compile(
        r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org|archive[.]ubuntu", re.IGNORECASE
    ),
    "names a package index": re.compile(r"index-url\s*=\s*\S*://|INDEX(_URL)?=\S*://"),
    "holds a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
}


def main() -> int:
    problems = [*lock_problems(), *content_problems()]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"deploy/check.py: {len(problems)} problems")
    return 1 if problems else 0


def lock_problems() -> Iterator[str]:
    locked = dict(read_lock(ROOT / "requirements.lock"))
    projects = [tomllib.loads(path.read_text()) for path in committed("pyproject.toml", "**/pyproject.toml")]
    own = {canonicalize_name(project["project"]["name"]) for project in projects}
    for project in projects:
        for requirement in requirements(project):
            name = canonicalize_name(requirement.name)
            if name in own or (requirement.marker and not requirement.marker.evaluate()):
                continue
            where = project["project"]["name"]
            if name not in locked:
                yield f"requirements.lock: lacks {name}, which {where} needs; run make lock"
            elif not requirement.specifier.contains(locked[name], prereleases=True):
                yield f"requirements.lock: {name} {locked[name]} is not {requirement.specifier} of {where}"


def read_lock(path: Path) -> Iterator[tuple[str, Version]]:
    for line in path.read_text().replace("\\\n", " ").splitlines():
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
        if pinned is None or "--hash=sha256:" not in line:
            raise SystemExit(f"{path.name}: not a pinned requirement with a hash: {line[:80]}")
        yield canonicalize_name(pinned[1]), Version(pinned[2])


def requirements(project: dict[str, dict[str, object]]) -> Iterable[Requirement]:
    texts = [project["project"].get("dependencies", []), *project.get("dependency-groups", {}).values()]
    return [Requirement(text) for group in texts if isinstance(group, list) for text in group]


def content_problems() -> Iterator[str]:
    for path in committed():
        try:
            text = path.read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        for what, pattern in FORBIDDEN.items():
            for found in pattern.finditer(text):
                line = text.count("\n", 0, found.start()) + 1
                yield f"{path.relative_to(ROOT)}:{line}: {what}"


def committed(*patterns: str) -> list[Path]:
    """Files under version control, or about to be."""
    trust = ["-c", "safe.directory=*"]  # a checkout may belong to another user than the one who checks it
    command = ["git", *trust, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


if __name__ == "__main__":
    raise SystemExit(main())
