"""What a person is told: entries of the journal, and the sentences in them.

Use cases write notes in the transaction of what they tell about; the API streams them. Figures are rounded
for reading here and nowhere else: `data` carries them in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from qmodel.links import Placement
from qmodel.units import format_bit_rate, format_duration, format_frequency
from sms.domain.link import Link


class Topic(StrEnum):
    ORDER = "order"
    SERVICE = "service"
    LINK = "link"


@dataclass(frozen=True)
class Note:
    """One entry. `at` is real time. Notes of topic order are written only under the order's row lock."""

    topic: Topic
    step: str
    text: str
    at: datetime
    tenant: str
    order_id: str
    service_id: str | None = None
    link_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


def placed_text(link: Link) -> str:
    """Such as "Alice – Bob over north: alice, hub, bob; fidelity 0.953, key 16.4 kbit/s, 1.2 ms. <why>"."""
    ways = "; ".join(f"{p.operator}: {' – '.join(p.nodes)}" for p in link.placements)
    figures = link.figures
    said = [f"{link.a} – {link.b} over {ways}"]
    if figures is not None:
        rate = (
            f"key {format_bit_rate(figures.key_rate_bps)}"
            if figures.key_rate_bps > 0
            else f"{format_frequency(figures.pair_rate_hz)} of pairs"
        )
        said.append(f"fidelity {figures.fidelity:.3f}, {rate}, {format_duration(figures.latency_s)}")
    return ", ".join(said) + "."


def placed_data(link: Link) -> dict[str, Any]:
    figures = link.figures
    return {
        "link_id": link.link_id,
        "a": link.a,
        "b": link.b,
        "fidelity": figures.fidelity if figures else None,
        "pair_rate_hz": figures.pair_rate_hz if figures else None,
        "key_rate_bps": figures.key_rate_bps if figures else None,
        "latency_s": figures.latency_s if figures else None,
        "why": link.why,
        "segments": [_segment_data(placement) for placement in link.placements],
    }


def why_text(link: Link) -> str:
    """One sentence for the whole link, from its segments' own reasons."""
    reasons = [(p.operator, p.why) for p in link.placements if p.why]
    if len(reasons) == 1:
        return reasons[0][1]
    joint = link.joint or {}
    border = joint.get("border")
    head = [f"Joined at {border}"] if border else []
    return "; ".join(head + [f"{operator}: {why}" for operator, why in reasons])


def timing_text(placement: Placement) -> str:
    if not placement.timing_links:
        return "no timing route of its own"
    way = "along the photons' conduits" if placement.timing_coherent else "on a route of its own"
    return f"timing over {', '.join(placement.timing_links)} {way}"


def refusal_texts(refusals: Iterable[dict[str, Any]]) -> list[str]:
    texts = []
    for refusal in refusals:
        fits = ", ".join(f"{name} {value:g}" for name, value in (refusal.get("would_fit") or {}).items())
        where = f" at {refusal['where']}" if refusal.get("where") else ""
        ends = f"{refusal.get('a', '?')} – {refusal.get('b', '?')}"
        texts.append(
            f"{ends}: {refusal.get('constraint', 'path')}{where}: {refusal.get('reason', '')}"
            + (f" (would fit: {fits})" if fits else "")
        )
    return texts


def _segment_data(placement: Placement) -> dict[str, Any]:
    return {
        **placement.model_dump(mode="json", exclude={"hops"}),
        "timing": timing_text(placement),
    }
