"""How light travels: transmissivity, delay and free-space loss, as pure functions of geometry.

Placement and the emulator use it through `qmodel.hops`; whoever declares a downlink computes its mean loss
here. Nothing here knows nodes or links. Functions of one float also take numpy arrays of floats.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qmodel.errors import Invalid

F = TypeVar("F", float, NDArray[np.float64])

FIBRE_DELAY_S_PER_KM = 4.9e-6
"""Group index 1.468 of G.652 fibre at 1550 nm over the speed of light."""
VACUUM_DELAY_S_PER_KM = 1.0 / 299_792.458
EARTH_RADIUS_KM = 6371.0


def transmissivity(loss_db: F) -> F:
    """Share of photons that arrive, in (0, 1], after `loss_db` >= 0 decibels: 10^(-loss/10)."""
    _require(bool(np.all(np.asarray(loss_db) >= 0)), "loss_db must not be negative")
    share: F = 10.0 ** (-loss_db / 10.0)
    return share


def loss_db(transmitted: F) -> F:
    """The inverse of `transmissivity`: decibels >= 0 of a share of photons in (0, 1]."""
    share = np.asarray(transmitted)
    _require(bool(np.all((share > 0) & (share <= 1))), "transmissivity must be in (0, 1]")
    result = -10.0 * np.log10(transmitted)
    return result if isinstance(transmitted, np.ndarray) else float(result)


def fibre_transmissivity(length_km: F, attenuation_db_per_km: float = 0.2, extra_loss_db: float = 0.0) -> F:
    """Share of photons in (0, 1] that leave a fibre of `length_km` >= 0: 10^(-(alpha L + losses)/10).

    ITU-T G.652.D gives 0.2 dB/km at 1550 nm as typical attenuation."""
    return transmissivity(attenuation_db_per_km * length_km + extra_loss_db)


def fibre_delay_s(length_km: F) -> F:
    """One-way delay in seconds of a fibre of `length_km` >= 0, at 4.9 us/km."""
    _require(bool(np.all(np.asarray(length_km) >= 0)), "length_km must not be negative")
    return length_km * FIBRE_DELAY_S_PER_KM


def vacuum_delay_s(length_km: F) -> F:
    """One-way delay in seconds through vacuum (or air, within 0.03 %)."""
    _require(bool(np.all(np.asarray(length_km) >= 0)), "length_km must not be negative")
    return length_km * VACUUM_DELAY_S_PER_KM


def slant_range_km(altitude_km: float, elevation_deg: float) -> float:
    """Distance from a ground station to a satellite at `altitude_km` > 0, seen at `elevation_deg` in (0, 90].

    Law of cosines on a spherical Earth."""
    _require(altitude_km > 0, "altitude_km must be positive")
    _require(0 < elevation_deg <= 90, "elevation_deg must be in (0, 90]")
    down_km = EARTH_RADIUS_KM * math.sin(math.radians(elevation_deg))
    return math.sqrt(down_km**2 + 2 * EARTH_RADIUS_KM * altitude_km + altitude_km**2) - down_km


def beam_radius_m(distance_m: float, waist_m: float, wavelength_m: float, beam_quality: float = 1.0) -> float:
    """1/e^2 intensity radius of a beam at `distance_m` from its waist; `beam_quality` M^2 >= 1, 1 is ideal.

    Siegman, Lasers (1986), ch. 17: w(z) = w0 sqrt(1 + (z M^2 lambda / (pi w0^2))^2)."""
    _require(waist_m > 0 and wavelength_m > 0, "waist and wavelength must be positive")
    _require(beam_quality >= 1, "beam_quality must be at least 1")
    spread = distance_m * beam_quality * wavelength_m / (math.pi * waist_m * waist_m)
    return waist_m * math.sqrt(1.0 + spread * spread)


def diffraction_transmissivity(beam_m: float, receiver_aperture_m: float) -> float:
    """Share of a centred Gaussian beam of 1/e^2 radius `beam_m` inside an aperture of that diameter:
    1 - exp(-2 a^2 / w^2), a the aperture's radius (Siegman 1986; Bourgoin et al., NJP 15, 023006, 2013)."""
    _require(beam_m > 0 and receiver_aperture_m > 0, "beam and aperture must be positive")
    return -math.expm1(-2.0 * (receiver_aperture_m / 2.0) ** 2 / beam_m**2)


def pointing_transmissivity(distance_m: float, jitter_rad: float, beam_m: float) -> float:
    """Mean share left by pointing jitter of `jitter_rad` (standard deviation per axis).

    Mean of exp(-2 r^2/w^2) over Rayleigh-distributed offsets r: w^2 / (w^2 + 4 sigma^2 z^2)
    (Bonato et al., NJP 11, 045017, 2009)."""
    _require(jitter_rad >= 0, "jitter_rad must not be negative")
    spread_m = 2.0 * jitter_rad * distance_m
    return beam_m * beam_m / (beam_m * beam_m + spread_m * spread_m)


def air_mass(elevation_deg: float) -> float:
    """Relative optical air mass at an elevation in (0, 90] degrees, 1 at the zenith
    (Kasten and Young, Applied Optics 28, 4735, 1989)."""
    _require(0 < elevation_deg <= 90, "elevation_deg must be in (0, 90]")
    sine = math.sin(math.radians(elevation_deg))
    return max(1.0, 1.0 / (sine + 0.50572 * math.pow(elevation_deg + 6.07995, -1.6364)))


def atmosphere_transmissivity(zenith_transmissivity: float, elevation_deg: float) -> float:
    """Share of photons that the atmosphere lets through at an elevation: Beer-Lambert over the air mass."""
    _require(0 < zenith_transmissivity <= 1, "zenith_transmissivity must be in (0, 1]")
    return math.pow(zenith_transmissivity, air_mass(elevation_deg))


def downlink_loss_db(
    altitude_km: float,
    elevation_deg: float,
    *,
    wavelength_m: float = 810e-9,
    transmitter_aperture_m: float = 0.3,
    receiver_aperture_m: float = 1.0,
    jitter_rad: float = 1e-6,
    beam_quality: float = 1.0,
    zenith_transmissivity: float = 0.8,
    optics_db: float = 3.0,
) -> float:
    """Mean loss in dB of a satellite's downlink: diffraction, pointing, atmosphere and optics together.

    The beam's waist is the transmitting aperture's radius over sqrt(2), so that the telescope clips e^-4,
    which is 1.8 %, of it. The telescopes are about those of Micius (Liao et al., Nature 549, 43, 2017); its
    beam is about twice as wide as the ideal one that is the default here."""
    range_km = slant_range_km(altitude_km, elevation_deg)
    distance_m = range_km * 1e3
    beam_m = beam_radius_m(
        distance_m, transmitter_aperture_m / (2.0 * math.sqrt(2.0)), wavelength_m, beam_quality
    )
    share = (
        diffraction_transmissivity(beam_m, receiver_aperture_m)
        * pointing_transmissivity(distance_m, jitter_rad, beam_m)
        * atmosphere_transmissivity(zenith_transmissivity, elevation_deg)
    )
    return loss_db(share) + optics_db


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise Invalid(reason)
