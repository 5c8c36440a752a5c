"""Quantities as people write them ("1 KB/s", "500 ms") and back, for the command line and configuration.

Inside the stack quantities are floats whose names carry the unit; text is read and written only here.
Decimal prefixes are powers of 1000, `Ki`, `Mi`, `Gi` powers of 1024. Case tells bits from bytes (`b`, `B`).
"""

from __future__ import annotations

import math
import re

from qmodel.errors import Invalid

_QUANTITY = re.compile(r"^\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ%/ ]*?)\s*$")
_MAX_TEXT = 64

_PREFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 1024.0, "Mi": 1024.0**2, "Gi": 1024.0**3}
_BIT_RATES = {
    f"{prefix}{unit}": factor * bits
    for prefix, factor in _PREFIXES.items()
    for unit, bits in (("bit/s", 1.0), ("bps", 1.0), ("B/s", 8.0))
}
_FREQUENCIES = {
    f"{prefix}{unit}": factor
    for prefix, factor in _PREFIXES.items()
    for unit in ("Hz", "pairs/s", " pairs/s", "/s")
    if not prefix.endswith("i")
}
_DURATIONS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def parse_bit_rate_bps(text: str) -> float:
    """Bits per second of "8 kbit/s", "1 KB/s", "9600 bps"; >= 0. Raises Invalid, "kb/s" included: bits or
    bytes would be a guess."""
    if re.search(r"[kKMGi\d\s]b/s\s*$", text):
        raise Invalid(f"{text!r} could mean bits or bytes; write kbit/s or KB/s")
    return _parse(text, _BIT_RATES, "a data rate such as '1 KB/s' or '8 kbit/s'")


def parse_byte_rate_bytes_per_s(text: str) -> float:
    """Bytes per second of the same texts; >= 0. Raises Invalid."""
    return parse_bit_rate_bps(text) / 8.0


def parse_frequency_hz(text: str) -> float:
    """Events per second of "10 kHz", "500 pairs/s", "2/s"; >= 0. Raises Invalid."""
    return _parse(text, _FREQUENCIES, "a frequency such as '10 kHz' or '500 pairs/s'")


def parse_duration_s(text: str) -> float:
    """Seconds of "1 s", "500 ms", "2 h"; >= 0. Raises Invalid."""
    return _parse(text, _DURATIONS, "a duration such as '500 ms' or '1 s'")


def parse_share(text: str) -> float:
    """A number in [0, 1] of "0.95" or "95 %". Raises Invalid."""
    share = _parse(text, {"": 1.0, "%": 0.01}, "a share such as '0.95' or '95 %'")
    if share > 1:
        raise Invalid(f"{text!r} is more than 1")
    return share


def format_bit_rate(rate_bps: float) -> str:
    """Such as "16.3 kbit/s"."""
    return _format(rate_bps, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))


def format_frequency(rate_hz: float) -> str:
    """Such as "1.2 MHz"."""
    return _format(rate_hz, ("Hz", "kHz", "MHz", "GHz"))


def format_duration(duration_s: float) -> str:
    """Such as "4.3 ms", "12 s", "1.5 h"; seconds >= 0."""
    for unit, size_s in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if 0 < duration_s < size_s * 999.5:
            return f"{duration_s / size_s:.3g} {unit}"
    if duration_s < 120:
        return f"{duration_s:.3g} s"
    return f"{duration_s / 60:.3g} min" if duration_s < 7200 else f"{duration_s / 3600:.3g} h"


def _parse(text: str, factors: dict[str, float], expected: str) -> float:
    match = _QUANTITY.match(text) if len(text) <= _MAX_TEXT else None
    factor = factors.get(match.group(2)) if match else None
    if match is None or factor is None:
        raise Invalid(f"{text[:_MAX_TEXT]!r} is not {expected}")
    value = float(match.group(1)) * factor
    if value < 0 or not math.isfinite(value):
        raise Invalid(f"{text!r} must be a finite amount, not less than 0")
    return value


def _format(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000.0, power + 1
    return f"{value:.3g} {units[power]}"
