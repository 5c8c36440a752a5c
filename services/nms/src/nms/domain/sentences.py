"""Placements in words: the one sentence that tells a person where a link runs and why it is good enough."""

from __future__ import annotations

from qmodel.links import Placement
from qmodel.nodeconfig import Purpose
from qmodel.units import format_bit_rate, format_duration, format_frequency


def why_here(placement: Placement) -> str:
    """Such as "alice > relay-1 > bob: pairs made at relay-1; fidelity 0.961, 18 kbit/s of key, 0.4 ms; timing
    in the same conduits"."""
    sources = ", ".join(dict.fromkeys(hop.source_node for hop in placement.hops))
    parts = [f"pairs made at {sources}"]
    if placement.swap_nodes:
        parts.append(f"joined at {', '.join(placement.swap_nodes)}")
    figures = [f"fidelity {placement.fidelity:.3f}"]
    if placement.request.purpose is Purpose.KEYS and not placement.request.swap_at_b:
        figures.append(f"{format_bit_rate(placement.key_rate_bps)} of key")
    else:
        figures.append(f"{format_frequency(placement.pair_rate_hz)} of pairs")
    figures.append(format_duration(placement.latency_s))
    timing = "timing in the same conduits" if placement.timing_coherent else "timing on a way of its own"
    if not placement.timing_links:
        timing = "timing not declared"
    sentence = [" > ".join(placement.nodes) + ": " + ", ".join(parts), ", ".join(figures), timing]
    if placement.visibility is not None:
        passes = placement.visibility
        sentence.append(
            f"passes of {format_duration(passes.duration_s)} every {format_duration(passes.period_s)}"
        )
    return "; ".join(sentence)


def what_is(resource: str) -> str:
    """A resource's name for people: `source/r1/s1` is "source s1 at r1"."""
    kind, name, *device = resource.split("/")
    return f"{kind} {device[0]} at {name}" if device else f"{kind.replace('-', ' ')} {name}"
