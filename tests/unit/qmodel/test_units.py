"""Quantities as people write them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodel import units
from qmodel.errors import Invalid


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_bit_rate_bps, "8 kbit/s", 8000.0),
        (units.parse_bit_rate_bps, "1 KB/s", 8000.0),
        (units.parse_bit_rate_bps, "1 KiB/s", 8192.0),
        (units.parse_bit_rate_bps, "2Mbps", 2e6),
        (units.parse_byte_rate_bytes_per_s, "1 KB/s", 1000.0),
        (units.parse_byte_rate_bytes_per_s, "1kB/s", 1000.0),
        (units.parse_frequency_hz, "10 kHz", 10_000.0),
        (units.parse_frequency_hz, "500 pairs/s", 500.0),
        (units.parse_duration_s, "1 s", 1.0),
        (units.parse_duration_s, "500 ms", 0.5),
        (units.parse_duration_s, "4.9 µs", 4.9e-6),
        (units.parse_duration_s, "2 h", 7200.0),
        (units.parse_share, "95 %", 0.95),
        (units.parse_share, "0.5", 0.5),
    ],
)
def test_quantities_are_read(parse: Callable[[str], float], text: str, value: float) -> None:
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_bit_rate_bps, "1"),
        (units.parse_bit_rate_bps, "1 kb/s"),
        (units.parse_bit_rate_bps, "-1 KB/s"),
        (units.parse_bit_rate_bps, "nan KB/s"),
        (units.parse_bit_rate_bps, "1e999 KB/s"),
        (units.parse_bit_rate_bps, "fast"),
        (units.parse_bit_rate_bps, "1" * 100 + " KB/s"),
        (units.parse_duration_s, "1 fortnight"),
        (units.parse_duration_s, ""),
        (units.parse_frequency_hz, "5 s"),
        (units.parse_share, "101 %"),
    ],
)
def test_what_is_no_quantity_is_refused(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (
        units.parse_bit_rate_bps,
        units.parse_duration_s,
        units.parse_frequency_hz,
        units.parse_share,
    ):
        with contextlib.suppress(Invalid):
            assert parse(text) >= 0


@given(st.floats(1, 1e12))
def test_a_formatted_rate_is_read_back_within_its_digits(rate_bps: float) -> None:
    assert units.parse_bit_rate_bps(units.format_bit_rate(rate_bps)) == pytest.approx(rate_bps, rel=6e-3)
    assert units.parse_frequency_hz(units.format_frequency(rate_bps)) == pytest.approx(rate_bps, rel=6e-3)


def test_durations_are_shown_in_a_unit_that_fits() -> None:
    assert [units.format_duration(x) for x in (0, 2.5e-7, 0.0043, 12, 300, 9000)] == [
        "0 s",
        "250 ns",
        "4.3 ms",
        "12 s",
        "5 min",
        "2.5 h",
    ]
