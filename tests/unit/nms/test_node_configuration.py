"""Placements become targets of elements: parts that fit together, in whatever order they come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from tests.unit.nms.networks import (
    IDLE,
    bank,
    clock,
    end,
    fibre,
    foreign,
    lamp,
    network,
    placed,
    wanted,
)

from nms.domain.network import Network
from nms.domain.nodeconfig import handover_link, node_configs
from nms.domain.placement import place
from qmodel.links import LinkRequest, Placement
from qmodel.nodeconfig import Circuit, NodeConfig, Purpose, Role, TimingRole
from qmodel.topology import Node


def segment(a: str, b: str, **more: Any) -> LinkRequest:
    return wanted(a, b, swap_at_b=True, pair_rate_hz=100.0, min_fidelity=0.8, **more)


def parts(configs: dict[str, NodeConfig], link_id: str) -> dict[tuple[str, Role], Circuit]:
    return {
        (element, circuit.role): circuit
        for element, config in configs.items()
        for circuit in config.circuits
        if circuit.link_id == link_id
    }


def ports_of(net: Network) -> set[tuple[str, str]]:
    topology = net.topology
    ends = [end for link in topology.quantum_links for end in (link.a, link.b)]
    ends += [end for link in topology.timing_links for end in (link.a, link.b)]
    return {(end.node, end.port) for end in ends}


def devices_of(node: Node) -> set[str]:
    return {device.id for kind in (node.sources, node.bsms, node.detectors) for device in kind}


def assert_consistent(net: Network, placements: Iterable[Placement]) -> None:
    """Every port and device that a target names is at its node, and every link that ends here is whole."""
    nodes = {node.element: node for node in net.topology.nodes}
    ports = ports_of(net)
    for element, config in node_configs(placements, net).items():
        node = nodes[element]
        assert net.owns(node)
        for circuit in config.circuits:
            assert all((node.id, port) in ports for port in circuit.ports)
            assert {circuit.source, circuit.bsm, circuit.detector} - {None} <= devices_of(node)
        for route in config.timing:
            assert all((node.id, port) in ports for port in route.ports)


@pytest.fixture
def chain() -> Network:
    """Two long halves that a repeater joins; sources in the middle of each."""
    nodes = [end("a"), lamp("x"), bank("m"), lamp("y"), end("b")]
    return network(nodes, [fibre(a, b, 30) for a, b in ("ax", "xm", "my", "yb")])


def border_network(*, ours: bool) -> Network:
    """Our site and lamp before a border; if it is ours, two links lead on from it to the other side."""
    if not ours:
        return network([end("a"), lamp("x"), foreign("border")], [fibre("a", "x"), fibre("x", "border")])
    onward = [fibre("border", "beyond", 5, name="h1"), fibre("beyond", "border", 6, name="h2")]
    nodes = [end("a"), lamp("x"), bank("border"), foreign("beyond")]
    return network(nodes, [fibre("a", "x"), fibre("x", "border"), *onward])


def test_a_joined_link_has_a_part_at_every_node_of_its_way(chain: Network) -> None:
    link = placed(chain, wanted())

    assert link.swap_nodes == ("m",)
    found = parts(node_configs([link], chain), link.link_id)
    assert set(found) == {
        ("a-qn", Role.ENDPOINT),
        ("x-qn", Role.SOURCE),
        ("m-qn", Role.SWAP),
        ("y-qn", Role.SOURCE),
        ("b-qn", Role.ENDPOINT),
    }
    assert found["m-qn", Role.SWAP].ports == ("q-x-m", "q-m-y")
    assert found["m-qn", Role.SWAP].bsm == "bsm-1"
    assert found["a-qn", Role.ENDPOINT].key_rate_bps == 1000.0
    assert_consistent(chain, [link])


def test_one_end_is_metered_even_if_both_detectors_have_one_name(chain: Network) -> None:
    link = placed(chain, wanted())

    assert link.detectors == ("det-1", "det-1")
    metered = [key for key, part in parts(node_configs([link], chain), link.link_id).items() if part.metered]
    assert metered == [("a-qn", Role.ENDPOINT)]


def test_an_end_with_its_own_source_is_one_metered_part() -> None:
    lit = end("a", sources=lamp("a").sources)
    net = network([lit, end("b")], [fibre("a", "b")])
    link = placed(net, wanted())

    (circuit,) = node_configs([link], net)["a-qn"].circuits
    assert (circuit.role, circuit.source, circuit.detector) == (Role.SOURCE, "src-1", "det-1")
    assert circuit.metered
    assert_consistent(net, [link])


def test_the_segment_that_is_not_billed_meters_nothing() -> None:
    net = border_network(ours=True)
    link = placed(net, segment("a", "border", metered=False, handover="h1"))

    configs = node_configs([link], net)
    assert not any(circuit.metered for config in configs.values() for circuit in config.circuits)


@pytest.mark.parametrize("handover", ["h1", "h2"])
def test_our_border_joins_our_last_port_to_the_agreed_one(handover: str) -> None:
    net = border_network(ours=True)
    link = placed(net, segment("a", "border", handover=handover))

    configs = node_configs([link], net)
    (swap,) = (c for c in configs["border-qn"].circuits if c.role is Role.SWAP)
    assert (swap.ports, swap.bsm) == (("q-x-border", f"q-{handover}"), "bsm-1")
    assert link.detectors == ("det-1", None)
    (timing,) = configs["border-qn"].timing
    assert (timing.role, timing.ports) == (TimingRole.RELAY, ("t-x-border", f"t-{handover}"))
    assert_consistent(net, [link])


def test_a_border_of_another_operator_gets_no_configuration() -> None:
    net = border_network(ours=False)
    link = placed(net, segment("a", "border"))

    assert handover_link(link, net) is None
    assert link.bsms == ()
    assert set(node_configs([link], net)) == {"a-qn", "x-qn"} == set(link.elements)
    assert_consistent(net, [link])


def test_photons_reach_a_foreign_border_by_the_agreed_link_only() -> None:
    ways = [fibre("x", "border", 5, name="near"), fibre("x", "border", 9, name="far")]
    net = network([end("a"), lamp("x"), foreign("border")], [fibre("a", "x"), *ways])

    assert placed(net, segment("a", "border")).quantum_links[-1] == "near"
    assert placed(net, segment("a", "border", handover="far")).quantum_links[-1] == "far"
    assert place(net, IDLE, [segment("a", "border", handover="far", avoid=("far",))]).refusals


def test_the_other_operators_node_on_the_way_is_never_passed() -> None:
    nodes = [end("a"), foreign("f"), end("b", sources=lamp("b").sources)]
    net = network(nodes, [fibre("a", "f"), fibre("f", "b")])

    assert place(net, IDLE, [wanted()]).refusals[0].constraint == "path"


def test_equal_targets_are_equal_whatever_the_order(chain: Network) -> None:
    asked = [wanted(link_id=f"l{i}", key_rate_bps=10.0) for i in range(3)]
    placements = place(chain, IDLE, asked).placements

    assert len(placements) == 3
    first, *others = (node_configs(each, chain) for each in itertools.permutations(placements))
    assert all(other == first for other in others)
    assert list(first) == list(others[0])


def test_time_goes_from_the_first_end_to_the_last(chain: Network) -> None:
    link = placed(chain, wanted())

    roles = {e: [t.role for t in config.timing] for e, config in node_configs([link], chain).items()}
    relay = [TimingRole.RELAY]
    assert roles == {
        "a-qn": [TimingRole.MASTER],
        "x-qn": relay,
        "m-qn": relay,
        "y-qn": relay,
        "b-qn": [TimingRole.CLIENT],
    }


def test_a_node_that_only_passes_time_on_is_told_so() -> None:
    nodes = [end("a"), end("b", sources=lamp("b").sources), lamp("t")]
    net = network(nodes, [fibre("a", "b")], [clock("a", "t"), clock("t", "b")])
    link = placed(net, wanted())

    assert not link.timing_coherent
    assert "t-qn" in link.elements
    config = node_configs([link], net)["t-qn"]
    assert config.circuits == ()
    assert [route.role for route in config.timing] == [TimingRole.RELAY]


def test_pairs_have_no_key_rate_at_their_ends(chain: Network) -> None:
    link = placed(chain, wanted(purpose=Purpose.PAIRS, key_rate_bps=0.0, pair_rate_hz=10.0))

    circuits = [c for config in node_configs([link], chain).values() for c in config.circuits]
    assert {c.purpose for c in circuits} == {Purpose.PAIRS}
    assert {c.key_rate_bps for c in circuits} == {0.0}


def test_no_placements_are_no_targets(chain: Network) -> None:
    assert node_configs([], chain) == {}
