"""A throw-away stack for a benchmark, with generated networks, and the settings of its instances.

Benchmarks start one with `stack`; it is stopped and its files are deleted at the end, whatever happens.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from bellweave_local.state import StateDir, Status
from qkit.settings import ServiceSettings

_RUNNER = (str(Path(sys.executable).with_name("bellweave-local")),)
_START_LIMIT_S = 240


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: topology files have no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@contextmanager
def stack(deployment: Mapping[str, Any], topologies: Mapping[str, Mapping[str, Any]]) -> Iterator[Status]:
    """A running stack with its devices and networks known. Raises RuntimeError with the output if it does
    not start."""
    with tempfile.TemporaryDirectory(prefix="bellweave-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        for name, topology in topologies.items():
            (home / f"{name}.yaml").write_text(yaml.dump(dict(topology), Dumper=_Plain, sort_keys=False))
        described = {**deployment, "topologies": [f"{name}.yaml" for name in topologies]}
        (home / "deployment.yaml").write_text(yaml.safe_dump(described))
        state = home / "state"
        where = ("--state", str(state))
        try:
            _run("up", *where, "--deployment", str(home / "deployment.yaml"))
            status = StateDir(state).read_status()
            assert status is not None
            yield status
        finally:
            _run("down", *where)


def _run(*arguments: str) -> None:
    done = subprocess.run(
        (*_RUNNER, *arguments), capture_output=True, text=True, timeout=_START_LIMIT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"bellweave-local {arguments[0]}: {done.stdout}{done.stderr}")


def settings_of(status: Status, instance: str) -> ServiceSettings:
    """Settings with which a benchmark speaks as one of the stack's instances."""
    service, _, name = instance.partition(".")
    user = next(user for user in status.bus_users if user.name == instance)
    database = status.databases[instance]
    return ServiceSettings(
        service=service,
        instance=name,
        replica="bench",
        database_url=SecretStr(database.owner),
        database_api_url=SecretStr(database.api),
        database_worker_url=SecretStr(database.worker),
        nats_url=str(status.process("nats").address),
        nats_user=user.name,
        nats_password=SecretStr(user.password),
        oidc_issuer=status.issuer.url if status.issuer else "",
    )


def pairs_topology(operator: str, pairs: int, ems: tuple[str, str]) -> dict[str, Any]:
    """`pairs` fibres, each between a site with a source and one without: 2 × pairs elements on two EMSs."""
    nodes: list[dict[str, Any]] = []
    fibres: list[dict[str, Any]] = []
    timing: list[dict[str, Any]] = []
    for i in range(pairs):
        a, b = f"a{i}", f"b{i}"
        detector = [{"id": "det-1"}]
        nodes += [
            {
                "id": a,
                "operator": operator,
                "site": a.upper(),
                "element": f"{a}-qn",
                "ems": ems[0],
                "sources": [{"id": "src-1"}],
                "detectors": detector,
            },
            {
                "id": b,
                "operator": operator,
                "site": b.upper(),
                "element": f"{b}-qn",
                "ems": ems[1],
                "detectors": detector,
            },
        ]
        ends = {"a": {"node": a, "port": "q1"}, "b": {"node": b, "port": "q1"}}
        fibres.append({"id": f"f{i}", **ends, "length_km": 10.0})
        ends = {"a": {"node": a, "port": "t1"}, "b": {"node": b, "port": "t1"}}
        timing.append({"id": f"t{i}", **ends, "length_km": 10.0})
    return {
        "bellweave_topology": 1,
        "operator": operator,
        "nodes": nodes,
        "quantum_links": fibres,
        "timing_links": timing,
    }
