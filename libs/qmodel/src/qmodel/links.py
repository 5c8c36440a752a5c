"""Links: what the SMS asks of an NMS, what the NMS places, and how it says no."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from qmodel.ids import Id, Name
from qmodel.nodeconfig import Purpose
from qmodel.security import SecurityLevel
from qmodel.topology import Pass

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class LinkRequest(Shape):
    """A link (or one operator's segment of it) between two nodes of the operator's topology.

    A segment (`swap_at_b`) is bound by `pair_rate_hz`; its `key_rate_bps` is the whole link's, which only its
    endpoint needs to know. The operator that owns border b configures the swap there; the other delivers.
    `key_rate_bps` or `pair_rate_hz` is the sustained rate asked for; fidelity in [0, 1] is the least for
    this segment alone; `max_latency_s` bounds its one-way classical delay. `metered` marks the one segment
    whose endpoint is billed: it is the operator's end named first.
    """

    link_id: Id
    a: Name
    b: Name
    purpose: Purpose = Purpose.KEYS
    security_level: SecurityLevel
    key_rate_bps: Rate = 0.0
    pair_rate_hz: Rate = 0.0
    min_fidelity: Annotated[float, Field(ge=0.25, le=1)]
    max_latency_s: Annotated[float, Field(gt=0)]
    swap_at_b: bool = Field(default=False, description="b is a border: join the segments there by a BSM")
    handover: Name | None = Field(
        default=None,
        description="quantum link by which photons reach border b from the operator that does not own it",
    )
    metered: bool = True
    avoid: tuple[str, ...] = Field(default=(), description="quantum links, conduits or nodes not to use")


class LinkState(StrEnum):
    """Life of a link at its NMS."""

    HELD = "held"
    """Placed, capacity claimed, nothing on any device."""
    COMMITTING = "committing"
    STABILIZING = "stabilizing"
    UP = "up"
    DOWN = "down"
    RELEASED = "released"


class Hop(Shape):
    """One elementary pair distribution: a source at `source_node` and photons to both swap points or ends.

    `nodes` is its way from end to end, `quantum_links` the links between them. `pair_rate_hz` is what this
    link may take of the hop while its photons fly, `share_ppm` (of a million) the share of time for that.
    """

    ends: tuple[Name, Name]
    nodes: tuple[Name, ...]
    source_node: Name
    source: Name
    quantum_links: tuple[Name, ...]
    loss_db: float
    pair_rate_hz: float
    werner: float
    share_ppm: Annotated[int, Field(ge=1, le=1_000_000)]


class Placement(Shape):
    """Where a link runs and what it is expected to give; every figure says for how much of the time.

    `pair_rate_hz` and `key_rate_bps` are sustained averages: for a satellite they are already multiplied by
    the share of time in which it passes. `request` is what it answers, so that it can be carried out, checked
    and made again. `bsms` are those of `swap_nodes`, a border that this operator owns included; `detectors`
    those of the two ends, None where photons are handed over. `why` is one sentence for a person.
    """

    link_id: Id
    request: LinkRequest
    operator: Name
    nodes: tuple[Name, ...]
    quantum_links: tuple[Name, ...]
    hops: tuple[Hop, ...]
    swap_nodes: tuple[Name, ...] = ()
    bsms: tuple[Name, ...] = ()
    detectors: tuple[Name | None, Name | None]
    elements: tuple[Name, ...] = ()
    fidelity: float
    pair_rate_hz: float
    key_rate_bps: float
    latency_s: float
    timing_links: tuple[Name, ...] = ()
    timing_coherent: bool = Field(default=True, description="the timing route follows the photons' conduits")
    visibility: Pass | None = None
    settle_s: float = Field(default=0.0, description="domain time until its slowest laser has settled")
    why: str = ""


class Refusal(Shape):
    """Why a link cannot be placed: the constraint that binds, where, and what would fit."""

    link_id: Id
    a: Name
    b: Name
    constraint: str = Field(description="capacity, fidelity, latency, key-rate, security, timing or path")
    where: str | None = Field(default=None, description="the node or link that binds")
    reason: str
    would_fit: dict[str, float] = Field(default_factory=dict, description="e.g. key_rate_bps: 4800.0")


class Join(Shape):
    """The swap that a border's owner can make there: success in (0, 1], Werner parameter, memories' T2."""

    success: float
    werner: float
    t2_s: float


class BorderOffer(Shape):
    """What one operator offers from one of its nodes to one border, without showing its inside.

    `pair_rate_hz` is sustained: with `visibility` it is already multiplied by the share of time of the pass.
    `swap_success` is the chance that all swaps inside the segment succeed; it is contained in the rate and
    says how the segment waits together with another one."""

    operator: Name
    node: Name
    border: Name
    pair_rate_hz: float
    werner: float
    latency_s: float
    swap_success: float = 1.0
    join: Join | None = Field(default=None, description="given by the operator that owns the border")
    handover: Name | None = Field(
        default=None, description="quantum link over which the photons reach a border of another operator"
    )
    price_per_pair: str = Field(default="0", description="a decimal number, in the operators' currency")
    visibility: Pass | None = None
