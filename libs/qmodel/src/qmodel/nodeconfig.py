"""What one node must do for each link: protocol-neutral, from the NMS, made device configuration by the EMS.

A node configuration is always the whole target of that node, never a difference: two of them can be
compared, and any one can follow any other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from qmodel.ids import Id, Name


class Target(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """A node's part in a link."""

    ENDPOINT = "endpoint"
    """Detects photons of one port; the link ends here."""
    SOURCE = "source"
    """Makes pairs, one photon to each of two ports; with one port the other photon stays at `detector`, or,
    if the source stands in a node that swaps, at `bsm`."""
    SWAP = "swap"
    """Joins the pairs of two ports by a Bell-state measurement. Both ports are named, towards either
    neighbour of the route, even if one photon comes from a source in this very node."""
    SWITCH = "switch"
    """Passes photons from one port to the other."""


class Purpose(StrEnum):
    KEYS = "keys"
    PAIRS = "pairs"


class Circuit(Target):
    """One node's part in one link. `pair_rate_hz` is what the link may take here: the rate of the hop that it
    serves, for a swap the higher one of its two. `key_rate_bps` is what its endpoints may release;
    `metered` marks the one endpoint whose counter is billed."""

    link_id: Id
    role: Role
    ports: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    source: Name | None = None
    bsm: Name | None = None
    detector: Name | None = None
    pair_rate_hz: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    purpose: Purpose = Purpose.KEYS
    key_rate_bps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    metered: bool = False


class TimingRole(StrEnum):
    MASTER = "master"
    RELAY = "relay"
    CLIENT = "client"


class TimingRoute(Target):
    """One node's part in the timing route of one link, along its timing ports."""

    link_id: Id
    role: TimingRole
    ports: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]


class NodeConfig(Target):
    """Everything that one element must do, sorted by (link, role, ports) so that equal targets are equal.

    A node may have several parts in one link (an endpoint with its own source is one `SOURCE` circuit)."""

    circuits: tuple[Circuit, ...] = ()
    timing: tuple[TimingRoute, ...] = ()

    def normalized(self) -> NodeConfig:
        return NodeConfig(
            circuits=tuple(sorted(self.circuits, key=lambda c: (c.link_id, c.role, c.ports))),
            timing=tuple(sorted(self.timing, key=lambda t: (t.link_id, t.role, t.ports))),
        )
