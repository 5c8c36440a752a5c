"""Security levels as policy: what a level demands of a placement, a cipher and a key lifetime."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qmodel.errors import Invalid


class SecurityLevel(StrEnum):
    STANDARD = "standard"
    SECRET = "secret"  # noqa: S105 (a level, not a password)
    TOP_SECRET = "top_secret"  # noqa: S105

    @property
    def rank(self) -> int:
        """Order of clearance: a node may carry levels up to its own rank."""
        return list(SecurityLevel).index(self)


class Cipher(StrEnum):
    AES_256_GCM = "aes-256-gcm"
    ONE_TIME_PAD = "one-time-pad"


@dataclass(frozen=True)
class SecurityPolicy:
    """What a security level means. Fidelity in [0, 1]; `rekey_s` is the key lifetime in seconds."""

    level: SecurityLevel
    trusted_relays_allowed: bool
    min_clearance: SecurityLevel
    min_fidelity: float
    cipher: Cipher
    rekey_s: float


POLICIES: dict[SecurityLevel, SecurityPolicy] = {
    SecurityLevel.STANDARD: SecurityPolicy(
        SecurityLevel.STANDARD, True, SecurityLevel.STANDARD, 0.85, Cipher.AES_256_GCM, 3600.0
    ),
    SecurityLevel.SECRET: SecurityPolicy(
        SecurityLevel.SECRET, True, SecurityLevel.SECRET, 0.88, Cipher.AES_256_GCM, 60.0
    ),
    SecurityLevel.TOP_SECRET: SecurityPolicy(
        SecurityLevel.TOP_SECRET, False, SecurityLevel.TOP_SECRET, 0.90, Cipher.ONE_TIME_PAD, 0.0
    ),
}

AUTHENTICATION_OVERHEAD = 0.02
"""Share of extra key that message authentication takes; Wegman-Carter tags on kilobyte packets cost less."""

AES_KEY_BITS = 256


def parse_level(text: str) -> SecurityLevel:
    """The level named by `text`; "Top Secret", "top-secret" and "top_secret" are the same.

    Raises Invalid for a level that does not exist."""
    try:
        return SecurityLevel(text.strip().lower().replace(" ", "_").replace("-", "_"))
    except ValueError:
        known = ", ".join(level.value for level in SecurityLevel)
        raise Invalid(
            f"unknown security level {text!r}; known are {known}", where="/security_level"
        ) from None


def vpn_key_rate_bps(level: SecurityLevel, payload_bytes_per_s: float) -> float:
    """Secret key, bits per second, that a tunnel with this payload rate per direction consumes.

    A one-time pad spends a key bit per payload bit in each direction; AES-256-GCM spends one key per
    direction and lifetime. Both pay for authentication.
    """
    policy = POLICIES[level]
    if policy.cipher is Cipher.ONE_TIME_PAD:
        spent_bps = 2 * 8 * payload_bytes_per_s
    else:
        spent_bps = 2 * AES_KEY_BITS / policy.rekey_s
    return spent_bps * (1 + AUTHENTICATION_OVERHEAD)
