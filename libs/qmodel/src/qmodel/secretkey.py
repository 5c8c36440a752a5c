"""Secret key from entangled pairs (BBM92): finite blocks first, the asymptotic rate as their limit.

Placement promises the finite-size rate and the emulated endpoints release it. Both bases are measured by
both sides; the frequent basis makes key, the rare one is disclosed to estimate the phase error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from qmodel.entanglement import qber
from qmodel.errors import Invalid


@dataclass(frozen=True)
class KeyParameters:
    """How raw pairs become key.

    `reconciliation_efficiency` f >= 1 is leaked bits over the Shannon limit; `block_pairs` coincidences are
    processed together; `epsilon_secrecy` and `epsilon_correctness` bound the failure per block;
    `sampling_basis_share` in (0, 0.5] is how often each side picks the rare basis; `authentication_bits` of
    key authenticate one block's post-processing (six messages with 128-bit Wegman-Carter tags).
    """

    reconciliation_efficiency: float = 1.16
    block_pairs: float = 1e7
    epsilon_secrecy: float = 1e-10
    epsilon_correctness: float = 1e-15
    sampling_basis_share: float = 0.2
    authentication_bits: float = 768.0

    def __post_init__(self) -> None:
        if self.reconciliation_efficiency < 1 or self.block_pairs <= 0 or self.authentication_bits < 0:
            raise Invalid("reconciliation efficiency must be >= 1, block size > 0, authentication cost >= 0")
        if not (0 < self.epsilon_secrecy < 1 and 0 < self.epsilon_correctness < 1):
            raise Invalid("epsilon must be in (0, 1)")
        if not 0 < self.sampling_basis_share <= 0.5:
            raise Invalid("sampling_basis_share must be in (0, 0.5]")

    @property
    def key_share(self) -> float:
        """Share of pairs that both sides measured in the key basis."""
        return (1.0 - self.sampling_basis_share) ** 2

    @property
    def sample_share(self) -> float:
        """Share of pairs that both sides measured in the sampling basis."""
        return self.sampling_basis_share**2


DEFAULT_KEY_PARAMETERS = KeyParameters()


def binary_entropy(probability: float) -> float:
    """h(p) in bits, for p in [0, 1]."""
    if not 0.0 <= probability <= 1.0:
        raise Invalid("probability must be in [0, 1]")
    if probability in (0.0, 1.0):
        return 0.0
    return -probability * math.log2(probability) - (1.0 - probability) * math.log2(1.0 - probability)


def asymptotic_key_per_pair(werner: float, parameters: KeyParameters = DEFAULT_KEY_PARAMETERS) -> float:
    """Secret bits per coincidence for endless blocks: key_share (1 - h(e) - f h(e)), at least 0.

    Shor, Preskill, PRL 85, 441 (2000); for BBM92 Ma, Fung, Lo, PRA 76, 012307 (2007)."""
    error_rate = qber(werner)
    entropy = binary_entropy(error_rate)
    return max(0.0, parameters.key_share * (1.0 - (1.0 + parameters.reconciliation_efficiency) * entropy))


def secret_key_per_pair(werner: float, parameters: KeyParameters = DEFAULT_KEY_PARAMETERS) -> float:
    """Secret bits per coincidence for blocks of `parameters.block_pairs`, in [0, asymptotic].

    Tomamichel et al., Nat. Commun. 3, 634 (2012), eq. (2) with q = 1, which holds for BBM92 too
    (Tomamichel, Leverrier, Quantum 1, 14 (2017)):
    l = n (1 - h(e + mu)) - leak - log2(2 / (eps_sec^2 eps_cor)), mu = sqrt((n+k)/(nk) (k+1)/k ln(2/eps_sec)),
    less the key spent on authentication. n bits make key and k bits are disclosed."""
    kept = parameters.block_pairs * parameters.key_share
    sampled = parameters.block_pairs * parameters.sample_share
    error_rate = qber(werner)
    deviation = math.sqrt(
        (kept + sampled) / (kept * sampled) * (sampled + 1.0) / sampled
        * math.log(2.0 / parameters.epsilon_secrecy)
    )  # fmt: skip
    phase_error = min(0.5, error_rate + deviation)
    leaked = kept * parameters.reconciliation_efficiency * binary_entropy(error_rate)
    fixed = math.log2(2.0 / (parameters.epsilon_secrecy**2 * parameters.epsilon_correctness))
    bits = kept * (1.0 - binary_entropy(phase_error)) - leaked - fixed - parameters.authentication_bits
    return max(0.0, bits / parameters.block_pairs)


def secret_key_rate_bps(
    pair_rate_hz: float, werner: float, parameters: KeyParameters = DEFAULT_KEY_PARAMETERS
) -> float:
    """Finite-size secret key, bits per second, from `pair_rate_hz` >= 0 coincidences of this Werner value."""
    if pair_rate_hz < 0:
        raise Invalid("pair_rate_hz must not be negative")
    return pair_rate_hz * secret_key_per_pair(werner, parameters)


def pair_rate_for_key_hz(
    key_rate_bps: float, werner: float, parameters: KeyParameters = DEFAULT_KEY_PARAMETERS
) -> float:
    """Coincidences per second needed for this finite-size key rate; infinite where no key can be had."""
    if key_rate_bps < 0:
        raise Invalid("key_rate_bps must not be negative")
    per_pair = secret_key_per_pair(werner, parameters)
    if key_rate_bps == 0:
        return 0.0
    return key_rate_bps / per_pair if per_pair > 0 else math.inf


def block_time_s(pair_rate_hz: float, parameters: KeyParameters = DEFAULT_KEY_PARAMETERS) -> float:
    """How long one block takes to fill, in seconds: the delay until a new link's first key."""
    return parameters.block_pairs / pair_rate_hz if pair_rate_hz > 0 else math.inf


def min_werner_for_key(parameters: KeyParameters = DEFAULT_KEY_PARAMETERS) -> float:
    """The Werner value at which finite-size key begins, within 1e-6, by bisection; 1 if it never does."""
    low, high = 0.0, 1.0
    if secret_key_per_pair(high, parameters) == 0.0:
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2.0
        low, high = (low, middle) if secret_key_per_pair(middle, parameters) > 0 else (middle, high)
    return high
