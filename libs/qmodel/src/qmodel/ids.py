"""Identifiers: a prefix that says what is named, and a UUIDv7 that sorts by creation time."""

from __future__ import annotations

import os
import time
from typing import Annotated

from pydantic import StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A name that people choose: nodes, elements, operators, fibres. Safe in subjects, URLs and XML."""

Id = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:-]{0,79}$")]
"""An identifier that the stack makes."""


def new_id(prefix: str) -> str:
    """A new identifier such as `ord_0192f0c1d2e37abc8def0123456789ab` (48 bits of ms, 74 random bits)."""
    stamp = int(time.time() * 1000).to_bytes(6, "big")
    tail = bytearray(os.urandom(10))
    tail[0] = 0x70 | (tail[0] & 0x0F)
    tail[2] = 0x80 | (tail[2] & 0x3F)
    return f"{prefix}_{(stamp + bytes(tail)).hex()}"
