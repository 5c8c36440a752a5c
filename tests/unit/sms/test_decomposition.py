"""A service is a link between every two of its sites, and each link has the key that its level spends."""

from __future__ import annotations

from typing import Any

import pytest

from qmodel.security import SecurityLevel
from sms.domain.ask import Ask, OrderKind
from sms.domain.decomposition import decompose, key_rate_of, total_key_rate_bps

MESH = ("Dave", "Alice", "Charlie", "Bob")


def ask(kind: OrderKind, sites: tuple[str, ...] = MESH, **more: Any) -> Ask:
    return Ask(kind, sites, SecurityLevel.TOP_SECRET, 1.0, **more)


@pytest.mark.parametrize(("sites", "links"), [(2, 1), (3, 3), (4, 6), (20, 190)])
def test_every_two_sites_are_linked_once(sites: int, links: int) -> None:
    names = [f"s{i:02}" for i in range(sites)]
    pairs = decompose(OrderKind.FULL_MESH_VPN, names)

    assert len(pairs) == links
    assert len({frozenset(pair) for pair in pairs}) == links
    assert all(a != b for a, b in pairs)


def test_the_order_in_which_sites_are_named_does_not_matter() -> None:
    assert decompose(OrderKind.FULL_MESH_VPN, MESH) == decompose(OrderKind.FULL_MESH_VPN, sorted(MESH))
    assert decompose(OrderKind.FULL_MESH_VPN, MESH)[0] == ("Alice", "Bob")


def test_a_one_time_pad_spends_a_key_bit_per_bit_in_both_directions() -> None:
    vpn = ask(OrderKind.FULL_MESH_VPN, rate_bytes_per_s=1000.0)

    assert key_rate_of(vpn) == pytest.approx(2 * 8 * 1000 * 1.02)
    assert total_key_rate_bps(vpn) == pytest.approx(6 * key_rate_of(vpn))


def test_ordered_key_is_what_each_link_gives() -> None:
    assert key_rate_of(ask(OrderKind.KEY, key_rate_bps=500.0)) == 500.0
    assert total_key_rate_bps(ask(OrderKind.KEY, ("Alice", "Bob"), key_rate_bps=500.0)) == 500.0


def test_entanglement_takes_no_key() -> None:
    assert total_key_rate_bps(ask(OrderKind.ENTANGLEMENT, pair_rate_hz=100.0)) == 0.0
