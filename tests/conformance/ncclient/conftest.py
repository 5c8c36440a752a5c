"""A network of emulated elements in a process of its own, and ncclient sessions with them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from lxml import etree
from ncclient import manager

from emulator.control import ask_control

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
ELEMENTS = 60
START_LIMIT_S = 60.0


def _topology(elements: int) -> str:
    """A ring of nodes that each have everything; a test takes one that nobody has used."""
    nodes, fibres, timing = [], [], []
    for n in range(elements):
        nodes.append(
            {"id": f"n{n}", "operator": "lab", "element": f"ne-{n}", "ems": "ems.lab",
             "sources": [{"id": "s1"}, {"id": "s2"}], "bsms": [{"id": "b1"}], "detectors": [{"id": "d1"}]}
        )  # fmt: skip
        far = f"n{(n + 1) % elements}"
        fibres.append(
            {"id": f"f{n}", "a": {"node": f"n{n}", "port": "q1"}, "b": {"node": far, "port": "q2"},
             "length_km": 10, "conduits": [f"c{n}"]}
        )  # fmt: skip
        timing.append(
            {"id": f"t{n}", "a": {"node": f"n{n}", "port": "t1"}, "b": {"node": far, "port": "t2"},
             "length_km": 10, "conduits": [f"c{n}"]}
        )  # fmt: skip
    conduits = [{"id": f"c{n}"} for n in range(elements)]
    return json.dumps(
        {"bellweave_topology": 1, "operator": "lab", "conduits": conduits, "nodes": nodes,
         "quantum_links": fibres, "timing_links": timing}
    )  # fmt: skip


@dataclass
class Lab:
    """The process, its state, and where its elements listen."""

    home: Path
    process: subprocess.Popen[str] | None = None
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)
    used: int = 0

    def start(self) -> None:
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emulator", "network", "--topology", str(self.home / "lab.json"),
                 "--state", str(self.home / "state"), "--clock-scale", "10",
                 "--authorized-key", str(self.home / "key.pub")],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready"), (self.home / "log").read_text()
        listing = json.loads((self.home / "state" / "elements.json").read_text())
        self.listed = {entry["element"]: entry for entry in listing["elements"]}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; the exit code."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        code = self.process.wait(START_LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def next_element(self) -> str:
        self.used += 1
        return f"ne-{self.used - 1}"

    def ask(self, **request: Any) -> Any:
        """Asks the control door; its result."""
        return asyncio.run(ask_control(self.home / "state", request))

    def reach(self, *arguments: str) -> Any:
        """Runs `bellweave-element` against the process, as a person would; what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "emulator", *arguments, "--state", str(self.home / "state")],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def connect(self, element: str, **options: Any) -> Any:
        entry = self.listed[element]
        given = {"username": entry["user"], "key_filename": str(self.home / "key"), "timeout": 20, **options}
        return manager.connect(
            host=entry["host"], port=entry["port"], hostkey_verify=False, allow_agent=False,
            look_for_keys=False, **given,
        )  # fmt: skip


def _make_lab(home: Path, elements: int = ELEMENTS) -> Lab:
    (home / "lab.json").write_text(_topology(elements))
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(home / "key")
    key.write_public_key(home / "key.pub")
    return Lab(home)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One process for most tests."""
    made = _make_lab(tmp_path_factory.mktemp("lab"))
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A process of the test's own, to be killed."""
    made = _make_lab(tmp_path)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.fixture
def large_lab(tmp_path: Path) -> Iterator[Lab]:
    """A process with 200 elements."""
    made = _make_lab(tmp_path, 200)
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture
def element(lab: Lab) -> str:
    """An element that no other test touches."""
    return lab.next_element()


@pytest.fixture
def connect(lab: Lab) -> Iterator[Callable[..., Any]]:
    """Opens sessions, closed after the test."""
    opened: list[Any] = []

    def run(element: str, **options: Any) -> Any:
        session = lab.connect(element, **options)
        opened.append(session)
        return session

    yield run
    for session in opened:
        if session.connected:
            session.close_session()


@pytest.fixture
def session(connect: Callable[..., Any], element: str) -> Any:
    return connect(element)


@pytest.fixture(scope="session")
def reader(lab: Lab) -> Iterator[Any]:
    """One session for all tests that only read, with an element that nobody changes."""
    session = lab.connect(lab.next_element())
    yield session
    session.close_session()


@pytest.fixture(scope="session")
def config() -> Callable[[str], str]:
    """`<config>` around circuits of a quantum node."""
    return lambda inside: (
        f'<config xmlns="{BASE}" xmlns:nc="{BASE}">'
        f'<quantum-node xmlns="urn:bellweave:yang:bellweave-quantum-node">{inside}</quantum-node></config>'
    )


@pytest.fixture(scope="session")
def links() -> Callable[[Any], list[str]]:
    """The link ids of the circuits that a reply holds."""

    def run(reply: Any) -> list[str]:
        data = etree.fromstring(reply.xml.encode()) if isinstance(reply.xml, str) else reply.xml
        tag = "{urn:bellweave:yang:bellweave-quantum-node}link-id"
        return sorted({str(found.text) for found in data.iter(tag)})

    return run
