"""Our YANG modules: pyang finds nothing to say about them, and they refuse physical nonsense."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.quantum.inventory import Inventory
from emulator.world.plant import Plant
from qmodel.yang import QUANTUM_NODE_NS, decimal_text, module_dirs, module_file
from qyang.edit import edit
from qyang.errors import RpcError
from qyang.schema import Schema
from qyang.validation import Validator


def test_pyang_finds_no_error_and_no_warning() -> None:
    files = [str(module_file(name)) for name in ("bellweave-quantum-node", "bellweave-qn-types")]
    search = ":".join(str(folder) for folder in module_dirs())
    pyang = Path(sys.executable).with_name("pyang")
    done = subprocess.run(
        [str(pyang), "-p", search, *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def judge(
    quantum_schema: Schema, plant: Plant, config_of: Callable[[str], Any]
) -> Callable[[str, str], None]:
    """Validates circuits or timing routes at a node; raises RpcError."""

    def run(node: str, inside: str) -> None:
        config = config_of(f'<quantum-node xmlns="{QUANTUM_NODE_NS}">{inside}</quantum-node>')
        factory = Inventory.of(plant, plant.nodes[node]).factory_config()
        Validator(quantum_schema).validate(edit(quantum_schema, factory, config))

    return run


def _circuit(role: str, inside: str, rate: str = "<pair-rate-hz>1</pair-rate-hz>") -> str:
    return f"<circuit><link-id>l</link-id><role>{role}</role>{inside}{rate}</circuit>"


def _timing(role: str, inside: str) -> str:
    return f"<timing-route><link-id>l</link-id><role>{role}</role>{inside}</timing-route>"


@pytest.mark.parametrize(
    ("node", "inside"),
    [
        ("alice", _circuit("endpoint", "<a-port>q1</a-port><detector>da</detector>")),
        ("alice", _circuit("source", "<a-port>q1</a-port><source>sa</source><detector>da</detector>"
                           "<metered>true</metered>")),
        ("alice", _circuit("source", "<a-port>q1</a-port><b-port>q2</b-port><source>sa</source>")),
        ("hub", _circuit("source", "<a-port>q1</a-port><source>sh1</source><bsm>bh</bsm>")),
        ("hub", _circuit("swap", "<a-port>q1</a-port><b-port>q2</b-port><bsm>bh</bsm>")),
        ("hub", _circuit("switch", "<a-port>q1</a-port><b-port>q2</b-port>")),
        ("hub", _timing("relay", "<a-port>t1</a-port><b-port>t2</b-port>")),
        ("hub", _timing("master", "<a-port>t1</a-port><b-port>t2</b-port>")),
        ("hub", _timing("client", "<a-port>t1</a-port>")),
    ],
)  # fmt: skip
def test_sensible_circuits_are_accepted(judge: Callable[[str, str], None], node: str, inside: str) -> None:
    judge(node, inside)


@pytest.mark.parametrize(
    ("node", "inside", "message"),
    [
        ("hub", _circuit("swap", "<a-port>q1</a-port><bsm>bh</bsm>"), "b-port is missing"),
        ("hub", _circuit("switch", "<a-port>q1</a-port>"), "b-port is missing"),
        ("hub", _circuit("switch", "<a-port>q1</a-port><b-port>q1</b-port>"), "two different ports"),
        ("hub", _circuit("switch", "<a-port>q1</a-port><b-port>q9</b-port>"), "b-port"),
        ("hub", _circuit("switch", "<a-port>q1</a-port><b-port>t1</b-port>"), "not a quantum port"),
        ("hub", _circuit("swap", "<a-port>q1</a-port><b-port>q2</b-port>"), "names its bsm"),
        ("hub", _circuit("swap", "<a-port>q1</a-port><b-port>q2</b-port><bsm>sh1</bsm>"),
         "Bell-state measurement"),
        ("hub", _circuit("switch", "<a-port>q1</a-port><b-port>q2</b-port><bsm>bh</bsm>"), "bsm"),
        ("hub", _circuit("switch", "<a-port>q1</a-port><b-port>q2</b-port><source>sh1</source>"), "source"),
        ("alice", _circuit("endpoint", "<a-port>q1</a-port>"), "names its detector"),
        ("alice", _circuit("endpoint", "<a-port>q1</a-port><detector>nobody</detector>"), "detector"),
        ("alice", _circuit("endpoint", "<a-port>q1</a-port><b-port>q2</b-port><detector>da</detector>"),
         "one port"),
        ("alice", _circuit("source", "<a-port>q1</a-port><b-port>q2</b-port>"), "names its source"),
        ("alice", _circuit("source", "<a-port>q1</a-port><source>sa</source>"), "detector or bsm"),
        ("alice", _circuit("source", "<a-port>q1</a-port><b-port>q2</b-port><source>sa</source>"
                           "<metered>true</metered>"), "metered"),
        ("alice", _circuit("endpoint", "<a-port>q1</a-port><detector>da</detector>", ""), "pair-rate-hz"),
        ("alice", _circuit("endpoint", "<a-port>q1</a-port><detector>da</detector>",
                           "<pair-rate-hz>-1</pair-rate-hz>"), "range"),
        ("hub", _timing("relay", "<a-port>t1</a-port>"), "b-port is missing"),
        ("hub", _timing("client", "<a-port>t1</a-port><b-port>t2</b-port>"), "one port"),
        ("hub", _timing("client", "<a-port>q1</a-port>"), "timing port"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(judge: Callable[[str, str], None], node: str, inside: str, message: str) -> None:
    with pytest.raises(RpcError, match=message):
        judge(node, inside)


def test_a_node_may_play_several_parts_in_one_link(judge: Callable[[str, str], None]) -> None:
    judge(
        "hub",
        _circuit("source", "<a-port>q1</a-port><source>sh1</source><bsm>bh</bsm>")
        + _circuit("source", "<a-port>q2</a-port><source>sh2</source><bsm>bh</bsm>")
        + _circuit("swap", "<a-port>q1</a-port><b-port>q2</b-port><bsm>bh</bsm>"),
    )


@given(st.floats(0, 1e9, allow_nan=False))
def test_a_rate_written_as_decimal_reads_back_the_same(rate_hz: float) -> None:
    text = decimal_text(rate_hz)
    assert decimal_text(float(text)) == text
    assert float(text) == pytest.approx(rate_hz, abs=1e-6)
