"""The schema of a quantum node, compiled once."""

from __future__ import annotations

import pytest

from qmodel.yang import QUANTUM_NODE_MODULES, module_dirs
from qyang.schema import Schema


@pytest.fixture(scope="session")
def quantum_schema() -> Schema:
    return Schema(QUANTUM_NODE_MODULES, module_dirs())
