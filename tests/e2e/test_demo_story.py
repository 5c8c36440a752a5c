"""`make demo` tells its story twice on one stack, and every step of it is so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.e2e.ground import Ground

from bellweave_local.demo.story import ORDER, STEPS

_LIMIT_S = 200


@pytest.fixture
def emptied(ground: Ground) -> Iterator[None]:
    """Takes down what the story leaves running, on purpose, to look at."""
    yield
    for service in ground.items("sms.main", "/services", "acme-admin"):
        if service["name"] == ORDER["name"] and service["state"] not in ("terminated", "failed"):
            ground.end(service["id"])


@pytest.mark.usefixtures("emptied")
def test_the_story_comes_true_and_can_be_told_again(ground: Ground) -> None:
    first, again = _tell(ground), _tell(ground)
    for told in (first, again):
        assert told.returncode == 0, told.stdout + told.stderr
        for name, _ in STEPS:
            assert name in told.stdout
    assert "of an earlier run" not in first.stdout
    assert "of an earlier run" in again.stdout
    orders = ground.items("sms.main", "/orders", "acme-admin")
    told_of = [order for order in orders if order["name"] == ORDER["name"]]
    assert [order["state"] for order in told_of] == ["completed", "completed"]
    invoices = ground.items("bms.main", "/invoices", "billing", tenant="acme")
    assert len({invoice["number"] for invoice in invoices}) >= 2


def _tell(ground: Ground) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BELLWEAVE_STATE": str(ground.state.root)}
    command = [sys.executable, "-m", "bellweave_local.demo"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
