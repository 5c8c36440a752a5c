"""The white paper's example: four sites of two operators under a satellite, six links, and a cut."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.unit.nms.networks import IDLE, example

from nms.domain.network import Network
from nms.domain.offers import border_offers
from nms.domain.placement import Placed, place
from nms.domain.usage import WHOLE_PPM, usage_of
from qmodel.errors import Infeasible
from qmodel.links import LinkRequest, Placement
from qmodel.nodeconfig import Purpose
from qmodel.security import POLICIES, SecurityLevel, vpn_key_rate_bps
from sms.domain.ask import OrderKind
from sms.domain.composition import Demand, Joined, choose, segment_requests
from sms.domain.decomposition import decompose

LEVEL = SecurityLevel.TOP_SECRET
KEY_BPS = vpn_key_rate_bps(LEVEL, 1000.0)
LATENCY_S = 1.0
HOME = {"alice": "north", "bob": "north", "charlie": "south", "dave": "south"}


@dataclass
class Mesh:
    """The whole example as it is asked of both operators."""

    networks: dict[str, Network]
    requests: dict[str, list[LinkRequest]]
    joined: dict[str, Joined]

    def placed(self, *avoid: str) -> dict[str, Placed]:
        return {
            operator: place(
                self.networks[operator],
                IDLE,
                [request.model_copy(update={"avoid": avoid}) for request in requests],
            )
            for operator, requests in self.requests.items()
        }


def demand_for(key_rate_bps: float) -> Demand:
    return Demand(Purpose.KEYS, LEVEL, key_rate_bps, 0.0, POLICIES[LEVEL].min_fidelity, LATENCY_S)


def whole_link(a: str, b: str, key_rate_bps: float) -> LinkRequest:
    return LinkRequest(
        link_id=f"{a}-{b}",
        a=a,
        b=b,
        security_level=LEVEL,
        key_rate_bps=key_rate_bps,
        min_fidelity=POLICIES[LEVEL].min_fidelity,
        max_latency_s=LATENCY_S,
    )


def joined_link(networks: dict[str, Network], a: str, b: str, demand: Demand) -> Joined:
    mine, theirs = (border_offers(networks[HOME[site]], IDLE, site, LEVEL, LATENCY_S) for site in (a, b))
    return choose(mine, theirs, demand, f"{a}-{b}")


@pytest.fixture
def networks() -> dict[str, Network]:
    return {operator: example(operator) for operator in ("north", "south")}


@pytest.fixture
def mesh(networks: dict[str, Network]) -> Mesh:
    requests: dict[str, list[LinkRequest]] = {"north": [], "south": []}
    joined: dict[str, Joined] = {}
    demand = demand_for(KEY_BPS)
    for a, b in decompose(OrderKind.FULL_MESH_VPN, list(HOME)):
        if HOME[a] == HOME[b]:
            requests[HOME[a]].append(whole_link(a, b, KEY_BPS))
            continue
        joined[f"{a}-{b}"] = joined_link(networks, a, b, demand)
        for site, request in zip(
            (a, b), segment_requests(f"{a}-{b}", joined[f"{a}-{b}"], demand), strict=True
        ):
            requests[HOME[site]].append(request)
    return Mesh(networks, requests, joined)


def by_id(outcome: Placed) -> dict[str, Placement]:
    return {placement.link_id: placement for placement in outcome.placements}


def test_six_links_over_two_operators_all_find_room(mesh: Mesh) -> None:
    outcome = mesh.placed()

    assert not [refusal.reason for one in outcome.values() for refusal in one.refusals]
    links = {placement.link_id for one in outcome.values() for placement in one.placements}
    assert len(links) == 6
    assert len(outcome["north"].placements) == len(outcome["south"].placements) == 5
    for operator, one in outcome.items():
        taken = usage_of(one.placements, mesh.networks[operator]).taken_ppm
        assert max(taken.values()) <= WHOLE_PPM


def test_links_inside_one_operator_give_the_ordered_key(mesh: Mesh) -> None:
    outcome = mesh.placed()

    for operator, link in (("north", "alice-bob"), ("south", "charlie-dave")):
        placement = by_id(outcome[operator])[link]
        assert placement.key_rate_bps >= KEY_BPS
        assert placement.fidelity >= 0.9
        assert placement.visibility is None


def test_links_across_run_by_the_satellite_and_say_when_it_passes(mesh: Mesh) -> None:
    outcome = mesh.placed()

    assert len(mesh.joined) == 4
    for link, joined in mesh.joined.items():
        north, south = by_id(outcome["north"])[link], by_id(outcome["south"])[link]
        assert "sat" in north.nodes
        assert north.nodes[-1] == south.nodes[-1] == joined.border == "south-gs"
        assert north.visibility is not None
        assert joined.visibility == north.visibility
        assert joined.estimate.fidelity >= 0.9
        # Only the owner of the border swaps there.
        assert "south-gs" not in north.swap_nodes
        assert south.swap_nodes[-1] == "south-gs"
        assert (north.request.metered, south.request.metered) == (True, False)


def test_all_timing_of_the_example_runs_beside_the_photons(mesh: Mesh) -> None:
    for one in mesh.placed().values():
        assert all(placement.timing_coherent and placement.timing_links for placement in one.placements)


@pytest.mark.parametrize("cut", ["f-alice-n1", "c-harbour"])
def test_after_a_cut_at_alice_all_links_find_other_paths(mesh: Mesh, cut: str) -> None:
    before, after = mesh.placed(), mesh.placed(cut)

    assert any("f-alice-n1" in placement.quantum_links for placement in before["north"].placements)
    for one in after.values():
        assert not one.refusals
        assert not any("f-alice-n1" in placement.quantum_links for placement in one.placements)
        assert not any("t-alice-n1" in placement.timing_links for placement in one.placements)


@pytest.mark.parametrize("sites", [("alice", "bob"), ("charlie", "dave")])
def test_a_hundred_times_the_rate_is_refused_and_what_would_fit_does(
    networks: dict[str, Network], sites: tuple[str, str]
) -> None:
    net = networks[HOME[sites[0]]]

    (refusal,) = place(net, IDLE, [whole_link(*sites, 100 * KEY_BPS)]).refusals

    assert refusal.constraint == "key-rate"
    assert refusal.where is not None
    assert refusal.where.startswith("source/")
    fits_bps = refusal.would_fit["key_rate_bps"]
    assert KEY_BPS < fits_bps < 100 * KEY_BPS
    outcome = place(net, IDLE, [whole_link(*sites, fits_bps)])
    assert not outcome.refusals
    assert outcome.placements[0].key_rate_bps >= fits_bps


def test_a_hundred_times_the_rate_across_is_refused_and_what_would_fit_does(
    networks: dict[str, Network],
) -> None:
    with pytest.raises(Infeasible) as refused:
        joined_link(networks, "alice", "charlie", demand_for(100 * KEY_BPS))

    (refusal,) = refused.value.facts["refusals"]
    assert (refusal["constraint"], refusal["where"]) == ("key-rate", "south-gs")
    demand = demand_for(refusal["would_fit"]["key_rate_bps"])
    joined = joined_link(networks, "alice", "charlie", demand)
    for site, request in zip(("alice", "charlie"), segment_requests("l", joined, demand), strict=True):
        assert not place(networks[HOME[site]], IDLE, [request]).refusals


def test_the_same_order_is_placed_in_the_same_way_twice(mesh: Mesh) -> None:
    assert mesh.placed() == mesh.placed()
