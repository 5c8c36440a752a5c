"""What a link gives end to end, from the placements of its segments.

Used wherever placements come in: at first placing and after healing. Joining is `qmodel.chains`, the same
model that placement and the emulator use.
"""

from __future__ import annotations

from qmodel.chains import HopPhysics, SwapPhysics, chain_performance
from qmodel.entanglement import werner_of_fidelity
from qmodel.links import Placement
from qmodel.nodeconfig import Purpose
from qmodel.secretkey import secret_key_rate_bps
from sms.domain.link import Figures, Link

_TRIALS_HZ = 1e9


def figures_of(link: Link) -> Figures | None:
    """Fidelity, rates and delay of the whole link; None until every segment is placed.

    Segments are joined as two hops by the border's swap, as `composition` does with offers: Werner parameters
    multiply, the swap's own included, each round waits for the slower segment, and pairs come only while
    all segments have light. Rates are sustained. Key is what finite-size BBM92 gets from those pairs,
    but no more than was asked. Delays add up.
    """
    placements = link.placements
    if len(placements) < len(link.segments) or not placements:
        return None
    if len(placements) == 1:
        only = placements[0]
        return Figures(only.fidelity, only.pair_rate_hz, only.key_rate_bps, only.latency_s)
    joint = link.joint or {}
    swap = SwapPhysics(joint.get("success", 0.5), joint.get("werner", 1.0), joint.get("t2_s"))
    whole = chain_performance([_hop(p) for p in placements], [swap] * (len(placements) - 1))
    together = link.visibility
    duty = together.duty if together else 0.0 if link.passes else 1.0
    pair_rate_hz = whole.pair_rate_hz * duty
    request = link.segments[0].request
    key_rate_bps = 0.0
    if request.purpose is Purpose.KEYS:
        key_rate_bps = min(request.key_rate_bps, secret_key_rate_bps(pair_rate_hz, whole.werner))
    return Figures(
        fidelity=whole.fidelity,
        pair_rate_hz=pair_rate_hz,
        key_rate_bps=key_rate_bps,
        latency_s=sum(placement.latency_s for placement in placements),
    )


def _hop(placement: Placement) -> HopPhysics:
    """While its photons fly; trials far more frequent than pairs."""
    rate_hz = placement.pair_rate_hz / _duty(placement)
    return HopPhysics(rate_hz, werner_of_fidelity(placement.fidelity), _TRIALS_HZ)


def _duty(placement: Placement) -> float:
    return placement.visibility.duty if placement.visibility is not None else 1.0
