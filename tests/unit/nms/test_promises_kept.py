"""What is placed and configured gives what was promised, by the physics of the emulated network.

Placement predicts per operator and segment; the emulated world follows every photon over the circuits that
came out of it, end to end and across operators. Nothing but the topologies is shared between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

from emulator.world.chain import Chain, Part, follow
from emulator.world.performance import link_performance
from emulator.world.plant import Plant
from nms.domain.network import Network
from nms.domain.nodeconfig import node_configs
from nms.domain.offers import border_offers
from nms.domain.placement import place
from nms.domain.usage import Usage
from qmodel.links import LinkRequest, Placement
from qmodel.nodeconfig import Purpose
from qmodel.security import SecurityLevel, vpn_key_rate_bps
from qmodel.topology_file import load_topology
from sms.domain.composition import Demand, choose, segment_requests

TOPOLOGIES = Path(__file__).parents[3] / "deploy" / "local" / "topologies"
HOME = {"alice": "north", "bob": "north", "charlie": "south", "dave": "south"}
LEVEL = SecurityLevel.TOP_SECRET
KEY_BPS = vpn_key_rate_bps(LEVEL, 1000.0)
OVER_A_DAY_S = range(0, 86_400, 1800)


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: Network(load_topology(TOPOLOGIES / f"{name}.yaml")) for name in ("north", "south")}


def requests_for(networks: dict[str, Network], purpose: Purpose) -> dict[str, list[LinkRequest]]:
    """The example's mesh: of key for a top secret VPN, or of a thousand pairs per second."""
    keys = purpose is Purpose.KEYS
    demand = Demand(purpose, LEVEL, KEY_BPS if keys else 0.0, 0.0 if keys else 1000.0, 0.9, 1.0)
    asked: dict[str, list[LinkRequest]] = {name: [] for name in networks}
    for a, b in combinations(sorted(HOME), 2):
        if HOME[a] == HOME[b]:
            asked[HOME[a]].append(
                LinkRequest(
                    link_id=f"{a}-{b}",
                    a=a,
                    b=b,
                    purpose=purpose,
                    security_level=LEVEL,
                    key_rate_bps=demand.key_rate_bps,
                    pair_rate_hz=demand.pair_rate_hz,
                    min_fidelity=demand.min_fidelity,
                    max_latency_s=demand.max_latency_s,
                )
            )
            continue
        mine, theirs = (border_offers(networks[HOME[site]], Usage(), site, LEVEL, 1.0) for site in (a, b))
        joined = choose(mine, theirs, demand, f"{a}-{b}")
        for site, request in zip((a, b), segment_requests(f"{a}-{b}", joined, demand), strict=True):
            asked[HOME[site]].append(request)
    return asked


def placed(networks: dict[str, Network], asked: dict[str, list[LinkRequest]]) -> dict[str, list[Placement]]:
    found = {name: place(networks[name], Usage(), asked[name]) for name in networks}
    assert not [refusal.reason for one in found.values() for refusal in one.refusals]
    return {name: list(one.placements) for name, one in found.items()}


def parts_of(networks: dict[str, Network], placements: dict[str, list[Placement]]) -> dict[str, list[Part]]:
    """The circuits of each link, over all elements of both operators."""
    parts: dict[str, list[Part]] = {}
    for name, network in networks.items():
        node_of = {node.element: node.id for node in network.topology.nodes if node.element is not None}
        for element, config in node_configs(placements[name], network).items():
            for circuit in config.circuits:
                parts.setdefault(circuit.link_id, []).append(Part(node_of[element], circuit))
    return parts


def chains_of(networks: dict[str, Network], parts: dict[str, list[Part]]) -> dict[str, Chain]:
    plant = Plant([network.topology for network in networks.values()])
    return {link: follow(plant, some, lambda line: True) for link, some in parts.items()}


def worst_fidelity(chain: Chain, purpose: Purpose, times_s: Iterable[int]) -> float:
    return min(link_performance(chain, purpose, time_s).fidelity for time_s in times_s)


def test_every_link_of_the_mesh_gives_its_key_whatever_drifts(networks: dict[str, Network]) -> None:
    placements = placed(networks, requests_for(networks, Purpose.KEYS))
    chains = chains_of(networks, parts_of(networks, placements))
    assert len(chains) == 6
    for chain in chains.values():
        assert min(link_performance(chain, Purpose.KEYS, t).key_rate_bps for t in OVER_A_DAY_S) >= KEY_BPS
        assert worst_fidelity(chain, Purpose.KEYS, OVER_A_DAY_S) >= 0.9


def test_every_link_of_the_mesh_gives_its_pairs(networks: dict[str, Network]) -> None:
    placements = placed(networks, requests_for(networks, Purpose.PAIRS))
    chains = chains_of(networks, parts_of(networks, placements))
    for chain in chains.values():
        duty = min((window.duty for window in chain.passes), default=1.0)
        assert link_performance(chain, Purpose.PAIRS, 0.0).pair_rate_hz * duty >= 1000.0
        assert worst_fidelity(chain, Purpose.PAIRS, OVER_A_DAY_S) >= 0.9


def test_a_link_of_one_operator_gives_exactly_what_was_predicted(networks: dict[str, Network]) -> None:
    placements = placed(networks, requests_for(networks, Purpose.KEYS))
    chains = chains_of(networks, parts_of(networks, placements))
    for name in networks:
        whole = [placement for placement in placements[name] if not placement.request.swap_at_b]
        assert whole
        for placement in whole:
            truth = link_performance(chains[placement.link_id], Purpose.KEYS, 0.0)
            assert truth.pair_rate_hz == pytest.approx(placement.pair_rate_hz, rel=1e-4)
            assert truth.fidelity == pytest.approx(placement.fidelity, abs=2e-3)


def test_each_link_is_metered_at_one_end_and_its_satellite_is_a_source(
    networks: dict[str, Network],
) -> None:
    placements = placed(networks, requests_for(networks, Purpose.KEYS))
    parts = parts_of(networks, placements)
    for link, chain in chains_of(networks, parts).items():
        assert sum(part.circuit.metered for part in parts[link]) == 1
        across = HOME[chain.nodes[0]] != HOME[chain.nodes[-1]]
        assert (("sat", "src-1") in chain.sources) is across
        assert bool(chain.swaps) is across
