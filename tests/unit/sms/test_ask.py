"""What a tenant may ask for is checked before anything else happens, with a pointer to each fault."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from qmodel.errors import Invalid
from qmodel.security import SecurityLevel
from sms.domain.ask import Ask, OrderKind, checked, from_json, to_json

GOOD = Ask(
    OrderKind.FULL_MESH_VPN,
    ("Alice", "Bob", "Charlie"),
    SecurityLevel.TOP_SECRET,
    1.0,
    rate_bytes_per_s=1000.0,
)


def test_a_sound_ask_passes_and_survives_its_row() -> None:
    assert checked(GOOD) is GOOD
    assert from_json(to_json(GOOD)) == GOOD
    with_fidelity = replace(GOOD, min_fidelity=0.95)
    assert from_json(to_json(with_fidelity)) == with_fidelity


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"sites": ("Alice",)}, "/sites"),
        ({"sites": ()}, "/sites"),
        ({"sites": tuple(f"s{i}" for i in range(200))}, "/sites"),
        ({"sites": ("Alice", "Bob", "alice")}, "/sites/2"),
        ({"kind": OrderKind.POINT_TO_POINT_VPN}, "/sites"),
        ({"rate_bytes_per_s": 0.0}, "/rate_bytes_per_s"),
        ({"rate_bytes_per_s": -1.0}, "/rate_bytes_per_s"),
        ({"rate_bytes_per_s": 1e30}, "/rate_bytes_per_s"),
        ({"rate_bytes_per_s": math.nan}, "/rate_bytes_per_s"),
        ({"rate_bytes_per_s": math.inf}, "/rate_bytes_per_s"),
        ({"key_rate_bps": 100.0}, "/key_rate_bps"),
        ({"kind": OrderKind.KEY}, "/rate_bytes_per_s"),
        ({"max_latency_s": 0.0}, "/max_latency_s"),
        ({"max_latency_s": math.nan}, "/max_latency_s"),
        ({"min_fidelity": 1.5}, "/min_fidelity"),
        ({"min_fidelity": 0.3}, "/min_fidelity"),
        ({"min_fidelity": math.nan}, "/min_fidelity"),
    ],
)
def test_each_fault_is_pointed_at(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked(replace(GOOD, **changes))
    assert refused.value.where == pointer
    assert refused.value.facts["errors"][0]["pointer"] == pointer


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        checked(replace(GOOD, sites=("Alice", "ALICE", "Bob", "bob"), max_latency_s=-1.0))
    pointers = [error["pointer"] for error in refused.value.facts["errors"]]
    assert pointers == ["/sites/1", "/sites/3", "/max_latency_s"]
