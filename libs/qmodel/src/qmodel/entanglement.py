"""Two-qubit Werner states: what the one number w says, and what swapping, storing and purifying do to it.

Everyone who predicts or emulates a link uses it. A Werner state is w |Phi+><Phi+| + (1 - w) I/4 with w in
[0, 1] here (negative w is never useful for a network). Werner, PRA 40, 4277 (1989).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from qmodel.errors import Invalid

BellCoefficients = tuple[float, float, float, float]
"""Weights of (Phi+, Psi-, Psi+, Phi-); they are >= 0 and add up to 1."""

LINEAR_OPTICS_BSM_LIMIT = 0.5
"""Lütkenhaus, Calsamiglia, Suominen, PRA 59, 3295 (1999): without ancillas no more is possible."""
CLASSICAL_CHSH_LIMIT = 2.0


def fidelity(werner: float) -> float:
    """Fidelity with Phi+, in [0.25, 1]: F = (1 + 3w)/4."""
    return (1.0 + 3.0 * _share(werner, "werner")) / 4.0


def werner_of_fidelity(fidelity_value: float) -> float:
    """The inverse: w = (4F - 1)/3 for F in [0.25, 1]."""
    if not 0.25 <= fidelity_value <= 1.0:
        raise Invalid("fidelity must be in [0.25, 1]")
    return (4.0 * fidelity_value - 1.0) / 3.0


def qber(werner: float) -> float:
    """Quantum bit error rate of either basis, in [0, 0.5]: e = (1 - w)/2."""
    return (1.0 - _share(werner, "werner")) / 2.0


def werner_of_qber(error_rate: float) -> float:
    """The inverse: w = 1 - 2e for e in [0, 0.5]."""
    if not 0.0 <= error_rate <= 0.5:
        raise Invalid("qber must be in [0, 0.5]")
    return 1.0 - 2.0 * error_rate


def chsh(werner: float) -> float:
    """CHSH value at the best settings, in [0, 2 sqrt 2]: S = 2 sqrt 2 w. Above 2 no local model explains it.

    Horodecki, Horodecki, Horodecki, Phys. Lett. A 200, 340 (1995)."""
    return 2.0 * math.sqrt(2.0) * _share(werner, "werner")


def teleportation_fidelity(werner: float) -> float:
    """Mean fidelity of a qubit teleported through the pair, in [0.5, 1]: (2F + 1)/3 = (1 + w)/2.

    Horodecki, Horodecki, Horodecki, PRA 60, 1888 (1999); 2/3 is the best without entanglement."""
    return (1.0 + _share(werner, "werner")) / 2.0


def swapped_werner(pair_werners: Iterable[float], bsm_werners: Iterable[float] = ()) -> float:
    """Werner parameter after joining the pairs by Bell-state measurements: the product of all, in any order.

    Briegel et al., PRL 81, 5932 (1998)."""
    product = math.prod(_share(w, "werner") for w in pair_werners)
    return product * math.prod(_share(w, "bsm werner") for w in bsm_werners)


def stored_werner(werner: float, stored_s: float, t2_s: float) -> float:
    """Werner parameter after the qubits have waited `stored_s` >= 0 qubit-seconds (summed over the stored
    ones) in memories of coherence time `t2_s` > 0: w e^(-t/T)."""
    if stored_s < 0 or t2_s <= 0:
        raise Invalid("stored_s must not be negative and t2_s must be positive")
    return _share(werner, "werner") * math.exp(-stored_s / t2_s)


def bbpssw(fidelity_1: float, fidelity_2: float) -> tuple[float, float]:
    """(fidelity, success probability) of one round on two Werner pairs, twirled again afterwards.

    Bennett et al., PRL 76, 722 (1996), for two different fidelities: Dür, Briegel, Rep. Prog. Phys. 70,
    1381 (2007). It raises fidelity where both are above 1/2 and near each other."""
    if not (0 <= fidelity_1 <= 1 and 0 <= fidelity_2 <= 1):
        raise Invalid("fidelity must be in [0, 1]")
    miss_1, miss_2 = (1.0 - fidelity_1) / 3.0, (1.0 - fidelity_2) / 3.0
    success = fidelity_1 * fidelity_2 + fidelity_1 * miss_2 + miss_1 * fidelity_2 + 5.0 * miss_1 * miss_2
    return (fidelity_1 * fidelity_2 + miss_1 * miss_2) / success, success


def dejmps(first: BellCoefficients, second: BellCoefficients) -> tuple[BellCoefficients, float]:
    """(Bell coefficients, success probability) of one round on two Bell-diagonal pairs.

    Deutsch et al., PRL 77, 2818 (1996)."""
    a1, b1, c1, d1 = _bell(first)
    a2, b2, c2, d2 = _bell(second)
    success = (a1 + b1) * (a2 + b2) + (c1 + d1) * (c2 + d2)
    kept = (a1 * a2 + b1 * b2, c1 * d2 + d1 * c2, c1 * c2 + d1 * d2, a1 * b2 + b1 * a2)
    return (kept[0] / success, kept[1] / success, kept[2] / success, kept[3] / success), success


def bell_coefficients(werner: float) -> BellCoefficients:
    """The Bell-diagonal form of a Werner state: (F, (1-F)/3, (1-F)/3, (1-F)/3)."""
    best = fidelity(werner)
    rest = (1.0 - best) / 3.0
    return best, rest, rest, rest


def _share(value: float, what: str) -> float:
    if not 0.0 <= value <= 1.0:
        raise Invalid(f"{what} must be in [0, 1]")
    return value


def _bell(state: BellCoefficients) -> BellCoefficients:
    if not (min(state) >= 0 and abs(sum(state) - 1.0) <= 1e-9):
        raise Invalid("Bell coefficients must be >= 0 and add up to 1")
    return state
