"""A chain of hops joined by swaps: the one model that placement predicts with and the emulator lives by.

`coincidences` makes a source and two receivers a hop; `chain_performance` joins hops. Nothing here knows
nodes, ports or links: `qmodel.hops` builds these values from a topology.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qmodel import entanglement
from qmodel.errors import Invalid

MAX_HOPS = 16
"""Waiting for the slowest sums over all subsets of hops: 65,536 of them at most."""


@dataclass(frozen=True)
class Receiver:
    """Where a photon ends. `efficiency` in [0, 1]; `dark_rate_hz` >= 0 false clicks per second, counted only
    within `window_s` > 0 of each trial; after a click it is blind for `dead_time_s` >= 0.

    A memory has `modes` > 0 and neither dark counts nor dead time here."""

    efficiency: float = 1.0
    dark_rate_hz: float = 0.0
    window_s: float = 5e-10
    dead_time_s: float = 0.0
    modes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.efficiency <= 1:
            raise Invalid("efficiency must be in [0, 1]")
        if min(self.dark_rate_hz, self.dead_time_s, self.modes) < 0 or self.window_s <= 0:
            raise Invalid("dark rate, dead time and modes must not be negative; the window must be positive")


@dataclass(frozen=True)
class HopPhysics:
    """What one hop gives while its source runs on it: `pair_rate_hz` coincidences per second out of
    `trial_rate_hz` trials, with Werner parameter `werner`; `herald_s` until one end knows of the other."""

    pair_rate_hz: float
    werner: float
    trial_rate_hz: float
    herald_s: float = 0.0

    def limited_to(self, pair_rate_hz: float) -> HopPhysics:
        """The same hop when it may give at most this rate: fewer trials, the same probability in each."""
        if pair_rate_hz >= self.pair_rate_hz:
            return self
        share = max(0.0, pair_rate_hz) / self.pair_rate_hz
        return self.scaled(share)

    def scaled(self, share: float) -> HopPhysics:
        """The same hop with a share in [0, 1] of its trials."""
        return replace(self, pair_rate_hz=self.pair_rate_hz * share, trial_rate_hz=self.trial_rate_hz * share)


@dataclass(frozen=True)
class SwapPhysics:
    """A Bell-state measurement between two hops. `success` in (0, 1], `werner` in [0, 1]. With `t2_s` both
    qubits wait in memories of that coherence time; without, both photons must arrive in the same trial."""

    success: float
    werner: float
    t2_s: float | None = None


@dataclass(frozen=True)
class Performance:
    """What a chain gives end to end. `swap_success` is the chance that all its swaps succeed."""

    pair_rate_hz: float
    werner: float
    swap_success: float = 1.0

    @property
    def fidelity(self) -> float:
        return entanglement.fidelity(self.werner)

    @property
    def qber(self) -> float:
        return entanglement.qber(self.werner)

    @property
    def chsh(self) -> float:
        return entanglement.chsh(self.werner)


NOTHING = Performance(0.0, 0.0)


def coincidences(
    trial_rate_hz: float,
    pairs_per_trial: float,
    source_werner: float,
    arms: tuple[float, float],
    receivers: tuple[Receiver, Receiver],
    herald_s: float = 0.0,
) -> HopPhysics:
    """The hop that a pulsed pair source makes over two arms of these transmissivities in [0, 1].

    Per trial, a side clicks with s = mu eta + d tau (photons of any pair, and dark counts in the window), so
    true coincidences are mu eta_A eta_B and accidental ones s_A s_B: with one trial per window this is the
    S_A S_B tau of a continuous source. Accidentals carry no correlation: w = w_source true/(true + acc).
    Takesue, Shimizu, Opt. Commun. 283, 276 (2010); Ma, Fung, Lo, PRA 76, 012307 (2007). Dead time scales
    each side by 1/(1 + S t) (non-paralyzable; Knoll, Radiation Detection, ch. 4).

    A memory keeps a photon for `herald_s` until it knows whether the other side has its own, so its modes
    limit the trials to modes/herald_s absorbed photons per second (Collins et al., PRL 98, 060502, 2007).
    """
    if trial_rate_hz < 0 or pairs_per_trial < 0 or herald_s < 0:
        raise Invalid("trial rate, pairs per trial and herald time must not be negative")
    etas = [eta * receiver.efficiency for eta, receiver in zip(arms, receivers, strict=True)]
    trials_hz = trial_rate_hz
    for eta, receiver in zip(etas, receivers, strict=True):
        absorbed = pairs_per_trial * eta
        if receiver.modes and herald_s > 0 and absorbed > 0:
            trials_hz = min(trials_hz, receiver.modes / herald_s / absorbed)
    clicks = [
        pairs_per_trial * eta + receiver.dark_rate_hz * receiver.window_s
        for eta, receiver in zip(etas, receivers, strict=True)
    ]
    true = pairs_per_trial * etas[0] * etas[1]
    total = true + clicks[0] * clicks[1]
    live = math.prod(
        1.0 / (1.0 + trials_hz * click * receiver.dead_time_s)
        for click, receiver in zip(clicks, receivers, strict=True)
    )
    werner = source_werner * true / total if total > 0 else 0.0
    return HopPhysics(trials_hz * total * live, werner, trials_hz, herald_s)


def chain_performance(hops: Sequence[HopPhysics], swaps: Sequence[SwapPhysics]) -> Performance:
    """Rate and Werner parameter of `hops` joined by `swaps` (one fewer than hops), in the chain's order.

    Without memories all hops of a run must succeed in the same trial: probabilities multiply. With
    memories a round waits for the slowest hop, E[max] of exponential times (as in Bernardes, Praxmeyer,
    van Loock, PRA 83, 012323, 2011), swaps as soon as both neighbours are there, and starts again if a swap
    fails. Werner parameters multiply; each stored qubit loses e^(-t/T2) for its herald and mean wait, which
    is a lower bound of the mean loss (Jensen). Endpoints measure at once. Any dead hop makes it all dead.
    """
    if len(swaps) != len(hops) - 1:
        raise Invalid("a chain of n hops has n - 1 swaps")
    if len(hops) > MAX_HOPS:
        raise Invalid(f"a chain has at most {MAX_HOPS} hops")
    if any(hop.pair_rate_hz <= 0 for hop in hops):
        return NOTHING
    runs, stores = _runs(hops, swaps)
    success = math.prod(swap.success for swap in swaps)
    stored_success = math.prod(swap.success for swap in stores)
    werner = entanglement.swapped_werner((hop.werner for hop in hops), (swap.werner for swap in swaps))
    for left, right, swap in zip(runs, runs[1:], stores, strict=False):
        werner = entanglement.stored_werner(werner, _stored_s(left, right), swap.t2_s or math.inf)
    wait_s = mean_slowest_s([run.pair_rate_hz for run in runs])
    return Performance(stored_success / wait_s, werner, success)


def mean_slowest_s(rates_hz: Sequence[float]) -> float:
    """Mean time in seconds until each of several independent Poisson processes has fired once.

    Inclusion-exclusion over subsets: sum of (-1)^(|S|+1) / (sum of rates in S). With equal rates it is
    H_n / rate."""
    signs, sums = np.array([-1.0]), np.array([0.0])
    for rate_hz in rates_hz:
        sums = np.concatenate([sums, sums + rate_hz])
        signs = np.concatenate([signs, -signs])
    return float(np.sum(signs[1:] / sums[1:]))


def _runs(
    hops: Sequence[HopPhysics], swaps: Sequence[SwapPhysics]
) -> tuple[list[HopPhysics], list[SwapPhysics]]:
    """Hops merged over their memoryless swaps, and the swaps with memories between the merged runs."""
    runs = [hops[0]]
    stores: list[SwapPhysics] = []
    for hop, swap in zip(hops[1:], swaps, strict=True):
        if swap.t2_s is not None:
            stores.append(swap)
            runs.append(hop)
            continue
        before = runs[-1]
        trials_hz = min(before.trial_rate_hz, hop.trial_rate_hz)
        chance = (
            (before.pair_rate_hz / before.trial_rate_hz)
            * (hop.pair_rate_hz / hop.trial_rate_hz)
            * swap.success
        )
        runs[-1] = HopPhysics(
            trials_hz * chance, before.werner * hop.werner, trials_hz, before.herald_s + hop.herald_s
        )
    return runs, stores


def _stored_s(left: HopPhysics, right: HopPhysics) -> float:
    """Mean qubit-seconds that the two qubits at one swap spend in its memories."""
    both_s = mean_slowest_s([left.pair_rate_hz, right.pair_rate_hz])
    waits_s = (both_s - 1.0 / left.pair_rate_hz) + (both_s - 1.0 / right.pair_rate_hz)
    return max(0.0, waits_s) + left.herald_s + right.herald_s
