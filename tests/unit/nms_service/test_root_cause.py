"""Which fault explains the alarms, and which links it disrupts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nms.domain.rootcause import cause_at_elements, causes_of, dark_links, disrupted
from qmodel.contracts.ems import Alarm, PerceivedSeverity
from qmodel.links import LinkRequest, Placement
from qmodel.security import SecurityLevel
from qmodel.topology import Pass, Topology
from qmodel.topology_file import load_topology

NOW_S = 1000.0


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load_topology(Path(__file__).parent / "triangle.yaml")


def dark(element: str, port: str, alarm_type: str = "loss-of-signal") -> Alarm:
    return Alarm(
        element=element,
        resource=f"port/{port}",
        alarm_type=alarm_type,
        severity=PerceivedSeverity.CRITICAL,
        text="no light",
        raised_at=datetime.fromtimestamp(NOW_S, UTC),
    )


def over(link_id: str, *fibres: str, nodes: tuple[str, ...] = ("alice", "bob")) -> Placement:
    request = LinkRequest(
        link_id=link_id,
        a=nodes[0],
        b=nodes[-1],
        security_level=SecurityLevel.SECRET,
        min_fidelity=0.9,
        max_latency_s=1.0,
    )
    return Placement(
        link_id=link_id,
        request=request,
        operator="north",
        nodes=nodes,
        quantum_links=fibres,
        hops=(),
        detectors=("d1", "d1"),
        elements=tuple(f"{node}-qn" for node in nodes),
        fidelity=0.95,
        pair_rate_hz=1000.0,
        key_rate_bps=100.0,
        latency_s=0.001,
    )


def test_both_dark_ends_name_the_fibre(topology: Topology) -> None:
    alarms = [dark("alice-qn", "q2"), dark("charlie-qn", "q1")]
    (cause,) = causes_of(topology, alarms, [over("l1", "q-ac")], NOW_S)
    assert cause.name == "quantum-link/q-ac"
    assert cause.avoid == ("q-ac",)


def test_one_dark_end_names_its_port(topology: Topology) -> None:
    (cause,) = causes_of(topology, [dark("alice-qn", "q2")], [over("l1", "q-ac")], NOW_S)
    assert cause.name == "port/alice/q2"
    assert cause.avoid == ("q-ac",)


def test_two_dark_fibres_of_one_conduit_name_the_conduit(topology: Topology) -> None:
    alarms = [dark("alice-qn", "q1"), dark("bob-qn", "q1"), dark("alice-qn", "q3"), dark("bob-qn", "q3")]
    placements = [over("l1", "q-ab"), over("l2", "q-ab2"), over("l3", "q-ac", nodes=("alice", "charlie"))]
    causes = causes_of(topology, alarms, placements, NOW_S)
    assert [cause.name for cause in causes] == ["conduit/c-ab"]
    assert causes[0].avoid == ("c-ab", "q-ab", "q-ab2")
    assert {link: cause.name for link, cause in disrupted(causes, placements).items()} == {
        "l1": "conduit/c-ab",
        "l2": "conduit/c-ab",
    }


def test_a_dark_timing_fibre_is_a_cause_of_its_own(topology: Topology) -> None:
    placement = over("l1", "q-ac").model_copy(update={"timing_links": ("t-ac",)})
    alarms = [dark("alice-qn", "t2"), dark("charlie-qn", "t1")]
    causes = causes_of(topology, alarms, [placement], NOW_S)
    assert [cause.name for cause in causes] == ["timing-link/t-ac"]
    assert disrupted(causes, [placement])["l1"].avoid == ("t-ac",)


def test_quantum_and_timing_dark_together_name_their_conduit(topology: Topology) -> None:
    placement = over("l1", "q-ac").model_copy(update={"timing_links": ("t-ac",)})
    alarms = [dark("alice-qn", "q2"), dark("charlie-qn", "q1"), dark("alice-qn", "t2")]
    (cause,) = causes_of(topology, alarms, [placement], NOW_S)
    assert cause.name == "conduit/c-ac"


def test_a_conduit_with_a_lit_fibre_in_use_is_not_cut(topology: Topology) -> None:
    third = topology.quantum_links[0].model_copy(
        update={
            "id": "q-ab3",
            "a": topology.quantum_links[0].a.model_copy(update={"port": "q9"}),
            "b": topology.quantum_links[0].b.model_copy(update={"port": "q9"}),
        }
    )
    wider = topology.model_copy(update={"quantum_links": (*topology.quantum_links, third)})
    alarms = [dark("alice-qn", "q1"), dark("bob-qn", "q1"), dark("alice-qn", "q3"), dark("bob-qn", "q3")]
    causes = causes_of(wider, alarms, [over("l1", "q-ab"), over("l2", "q-ab3")], NOW_S)
    assert [cause.name for cause in causes] == ["quantum-link/q-ab", "quantum-link/q-ab2"]


def test_other_alarms_and_clears_make_nothing_dark(topology: Topology) -> None:
    hot = dark("alice-qn", "q1", "high-temperature")
    cleared = dark("bob-qn", "q1").model_copy(update={"severity": PerceivedSeverity.CLEARED})
    strange = dark("mallory-qn", "q1")
    assert causes_of(topology, [hot, cleared, strange], [over("l1", "q-ab")], NOW_S) == []


def test_a_satellite_out_of_sight_is_no_fault(topology: Topology) -> None:
    downlink = topology.quantum_links[0].model_copy(
        update={"medium": "free_space", "visibility": Pass(period_s=600, duration_s=60)}
    )
    sky = topology.model_copy(update={"quantum_links": (downlink, *topology.quantum_links[1:])})
    alarms = [dark("alice-qn", "q1")]
    assert dark_links(sky, alarms, 630.0) == {"q-ab"}
    assert dark_links(sky, alarms, 700.0) == frozenset()


def test_a_broken_relay_is_avoided_but_not_a_broken_end(topology: Topology) -> None:
    placement = over("l1", "q-ac", "q-bc", nodes=("alice", "charlie", "bob"))
    relay = dark("charlie-qn", "x", "laser-failed").model_copy(update={"resource": "component/s1"})
    end = relay.model_copy(update={"element": "alice-qn"})
    at_relay = cause_at_elements(topology, placement, "down", [relay])
    at_end = cause_at_elements(topology, placement, "down", [end])
    unknown = cause_at_elements(topology, placement, "bob-qn: no coincidences", [])
    assert (at_relay.name, at_relay.avoid) == ("component/s1 at charlie-qn", ("charlie",))
    assert at_end.avoid == ()
    assert (unknown.name, unknown.text, unknown.avoid) == ("link/l1", "bob-qn: no coincidences", ())
