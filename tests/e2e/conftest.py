"""One stack and one session with every device for all end-to-end tests of a worker.

`tests/conftest.py` has one worker run them all, in one stack. Each leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.devices import Devices, reached
from tests.e2e.ground import Ground, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Ground]:
    with running_stack() as ground:
        yield ground


@pytest.fixture(scope="session")
def devices(stack: Ground) -> Iterator[Devices]:
    with reached(stack.status.elements) as found:
        yield found


@pytest.fixture
def ground(stack: Ground) -> Iterator[Ground]:
    """The stack, without faults before and after."""
    stack.clear_faults()
    yield stack
    stack.clear_faults()
