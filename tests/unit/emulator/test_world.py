"""The world: links become ready as their parts do, count what they give, and go dark when a fibre is cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.world.counters import Counters
from emulator.world.performance import light_s, next_light_s
from emulator.world.plant import Plant
from emulator.world.world import NodeSetup, World
from qmodel.errors import Invalid, NotFound
from qmodel.nodeconfig import Circuit, NodeConfig, Purpose, Role
from qmodel.topology import Pass, Topology

Setups = dict[str, NodeSetup]


def _configure(world: World, setups: Setups) -> None:
    for node, setup in setups.items():
        world.configure(node, setup)


def _circuits(node_parts: dict[str, list[dict[str, Any]]], **common: Any) -> Setups:
    return {
        node: NodeSetup(NodeConfig(circuits=tuple(Circuit(**{**common, **part}) for part in parts)))
        for node, parts in node_parts.items()
    }


def _released(world: World, node: str, link_id: str, purpose: Purpose = Purpose.KEYS) -> int:
    rows = world.counters.snapshot()
    if rows is not None:
        world.counters.publish(rows)
    return world.counter(node, link_id, purpose).published


def test_a_link_is_ready_once_all_parts_are_there_and_its_laser_has_settled(
    world: World, clock: Any, direct_link: Setups
) -> None:
    reasons = []
    for node, setup in direct_link.items():
        world.configure(node, setup)
        reasons.append(world.status("ab").reason)
    assert reasons == ["hub is not configured at q1", "bob is not configured at q1", "alice/sa is warming up"]
    assert world.status("ab").expected_in_s == 300
    clock.pass_s(299)
    assert not world.status("ab").ready
    clock.pass_s(1)
    status = world.status("ab")
    assert status.ready
    assert 0 < status.pair_rate_hz <= 50_000
    assert status.key_rate_bps > 1000
    assert status.fidelity is not None
    assert status.fidelity > 0.9


def test_order_of_configuration_does_not_matter(plant: Plant, clock: Any, direct_link: Setups) -> None:
    seen = set()
    for order in itertools.permutations(direct_link):
        world = World(plant, clock.domain)
        for node in order:
            world.configure(node, direct_link[node])
        clock.pass_s(400)
        seen.add(world.status("ab").ready)
    assert seen == {True}


def test_a_laser_that_is_warm_stays_warm(world: World, clock: Any, direct_link: Setups) -> None:
    _configure(world, direct_link)
    clock.pass_s(300)
    world.configure("alice", NodeSetup())
    assert not world.status("ab").ready
    world.configure("alice", direct_link["alice"])
    assert world.status("ab").ready


def test_ends_release_what_was_ordered_from_the_moment_the_link_is_ready(
    world: World, clock: Any, direct_link: Setups
) -> None:
    _configure(world, direct_link)
    clock.pass_s(310)
    world.settle_all()
    assert _released(world, "alice", "ab") == 10_000
    assert _released(world, "bob", "ab") == 10_000
    clock.pass_s(1)
    world.settle_all()
    assert _released(world, "alice", "ab") == 11_000


def test_a_cut_conduit_takes_light_and_timing_and_stops_the_count(
    world: World, clock: Any, direct_link: Setups
) -> None:
    heard: list[Any] = []
    for node in ("alice", "hub", "bob"):
        world.on_alarm[node] = heard.append
    _configure(world, direct_link)
    clock.pass_s(310)
    assert {line.key for line in world.cut("c1")} == {"north/f1", "north/t1"}
    assert world.cut("c1") == []
    clock.pass_s(100)
    world.settle_all()
    assert _released(world, "alice", "ab") == 10_000
    assert "f1" in world.status("ab").reason
    raised = {(alarm.node, alarm.resource, alarm.severity) for alarm in heard}
    assert raised == {
        ("alice", "port/q1", "critical"), ("hub", "port/q1", "critical"),
        ("alice", "port/t1", "major"), ("hub", "port/t1", "major"),
    }  # fmt: skip
    assert {alarm.resource for alarm in world.alarms("alice")} == {"port/q1", "port/t1"}
    heard.clear()
    world.splice("north/f1")
    assert "t1" in world.status("ab").reason
    world.splice("t1")
    assert world.status("ab").ready
    assert {alarm.severity for alarm in heard} == {"cleared"}
    assert world.alarms("alice") == []


def test_what_does_not_exist_or_is_ambiguous_is_not_cut(world: World, topologies: list[Topology]) -> None:
    with pytest.raises(NotFound):
        world.cut("nowhere")
    twice = Topology.model_validate(
        {**topologies[1].model_dump(), "quantum_links": [
            {**topologies[1].quantum_links[0].model_dump(), "id": "f1"}]}
    )  # fmt: skip
    with pytest.raises(Invalid, match="several operators"):
        Plant([topologies[0], twice]).lines_named("f1")


@pytest.mark.parametrize(
    ("node", "change"),
    [
        ("alice", {"disabled_components": frozenset({"sa"})}),
        ("bob", {"disabled_components": frozenset({"db"})}),
        ("hub", {"disabled_ports": frozenset({"q2"})}),
        ("hub", {"disabled_ports": frozenset({"t2"})}),
    ],
)
def test_what_is_switched_off_makes_the_link_not_ready(
    world: World, clock: Any, direct_link: Setups, node: str, change: dict[str, Any]
) -> None:
    _configure(world, direct_link)
    clock.pass_s(400)
    world.configure(node, NodeSetup(direct_link[node].config, **change))
    assert not world.status("ab").ready
    world.configure(node, direct_link[node])
    assert not world.status("ab").reason or "warming up" in world.status("ab").reason


def test_attenuation_on_purpose_lowers_the_rate(world: World, clock: Any, direct_link: Setups) -> None:
    unlimited = {
        node: NodeSetup(
            NodeConfig(
                circuits=tuple(c.model_copy(update={"pair_rate_hz": 1e9}) for c in each.config.circuits)
            )
        )
        for node, each in direct_link.items()
    }
    _configure(world, unlimited)
    clock.pass_s(400)
    before = world.status("ab").pair_rate_hz
    world.configure("alice", NodeSetup(unlimited["alice"].config, attenuation_db={"sa": 10.0}))
    assert world.status("ab").pair_rate_hz == pytest.approx(before / 10, rel=0.15)


def test_a_swapped_link_has_two_hops_and_the_hub_may_light_both(world: World, clock: Any) -> None:
    setups = _circuits(
        {
            "alice": [{"role": Role.ENDPOINT, "ports": ("q1",), "detector": "da"}],
            "hub": [
                {"role": Role.SOURCE, "ports": ("q1",), "source": "sh1", "bsm": "bh"},
                {"role": Role.SOURCE, "ports": ("q2",), "source": "sh2", "bsm": "bh"},
                {"role": Role.SWAP, "ports": ("q1", "q2"), "bsm": "bh"},
            ],
            "bob": [{"role": Role.ENDPOINT, "ports": ("q1",), "detector": "db"}],
        },
        link_id="s", pair_rate_hz=1e6, key_rate_bps=10.0,
    )  # fmt: skip
    _configure(world, setups)
    assert world.status("s").expected_in_s == 200
    clock.pass_s(200)
    assert world.status("s").ready
    world.configure("hub", NodeSetup(NodeConfig(circuits=setups["hub"].config.circuits[:1])))
    assert not world.status("s").ready


def test_a_link_runs_across_operators_through_a_border(world: World, clock: Any) -> None:
    setups = _circuits(
        {
            "bob": [{"role": Role.SOURCE, "ports": ("q3",), "source": "sb", "detector": "db"}],
            "gate": [
                {"role": Role.SWAP, "ports": ("q1", "q2"), "bsm": "bg"},
                {"role": Role.SOURCE, "ports": ("q2",), "source": "sg", "bsm": "bg"},
            ],
            "charlie": [{"role": Role.ENDPOINT, "ports": ("q1",), "detector": "dc"}],
        },
        link_id="x", pair_rate_hz=1e6, key_rate_bps=10.0,
    )  # fmt: skip
    _configure(world, setups)
    clock.pass_s(60)
    assert world.status("x").ready, world.status("x").reason


_SATELLITE = {
    "alice": [{"role": Role.ENDPOINT, "ports": ("q2",), "detector": "da"}],
    "sat": [{"role": Role.SOURCE, "ports": ("q1", "q2"), "source": "ss"}],
    "bob": [{"role": Role.ENDPOINT, "ports": ("q2",), "detector": "db"}],
}


def test_keys_over_a_satellite_flow_evenly_from_stores(world: World, clock: Any) -> None:
    setups = _circuits(_SATELLITE, link_id="k", pair_rate_hz=1e6, key_rate_bps=0.5)
    _configure(world, setups)
    clock.pass_s(10)
    world.settle_all()
    assert world.status("k").ready, world.status("k").reason
    before = _released(world, "alice", "k")
    clock.pass_s(5400)
    world.settle_all()
    assert _released(world, "alice", "k") - before == pytest.approx(2700, abs=1)


def test_pairs_over_a_satellite_wait_for_the_pass(world: World, clock: Any) -> None:
    setups = _circuits(_SATELLITE, link_id="p", pair_rate_hz=1.0, purpose=Purpose.PAIRS)
    _configure(world, setups)
    clock.pass_s(5400 - clock.now_s % 5400 + 700)
    status = world.status("p")
    assert (status.ready, status.reason) == (False, "waiting for the satellite's pass")
    assert status.expected_in_s == pytest.approx(4700)
    world.settle_all()
    before = _released(world, "bob", "p", Purpose.PAIRS)
    clock.pass_s(5400)
    world.settle_all()
    assert _released(world, "bob", "p", Purpose.PAIRS) - before == pytest.approx(5400, rel=0.01)


def test_cuts_and_warm_lasers_outlive_the_process(
    world: World, plant: Plant, clock: Any, direct_link: Setups
) -> None:
    _configure(world, direct_link)
    clock.pass_s(300)
    world.cut("f2")
    stored = world.to_store()
    assert world.to_store() is None
    again = World(plant, clock.domain, stored)
    _configure(again, direct_link)
    assert "f2" in again.status("ab").reason
    again.splice("f2")
    assert again.status("ab").ready


def test_counters_show_only_what_is_durable_and_never_go_back() -> None:
    counters = Counters()
    counters.add("n", "l", Purpose.KEYS, 10.7)
    assert counters.of("n", "l", Purpose.KEYS).published == 0
    rows = counters.snapshot()
    counters.add("n", "l", Purpose.KEYS, 5.0)
    assert rows is not None
    counters.publish(rows)
    shown = counters.of("n", "l", Purpose.KEYS)
    assert shown.published == 10
    again = Counters()
    again.restore(rows)
    assert again.of("n", "l", Purpose.KEYS).boot_id == shown.boot_id
    assert again.of("n", "l", Purpose.KEYS).published == 10
    assert Counters().of("n", "l", Purpose.KEYS).boot_id != shown.boot_id


@given(
    offset_s=st.floats(0, 1000), duration_s=st.floats(1, 900), start_s=st.floats(0, 5000),
    length_s=st.floats(0, 20_000), parts=st.lists(st.floats(0, 1), max_size=4),
)  # fmt: skip
def test_light_adds_up_over_any_division_of_time(
    offset_s: float, duration_s: float, start_s: float, length_s: float, parts: list[float]
) -> None:
    window = Pass(period_s=1000, offset_s=offset_s, duration_s=duration_s)
    times = sorted([start_s, start_s + length_s, *(start_s + share * length_s for share in parts)])
    pieces = sum(light_s([window], a, b) for a, b in itertools.pairwise(times))
    whole = light_s([window], start_s, start_s + length_s)
    assert pieces == pytest.approx(whole, abs=1e-3)
    assert 0 <= whole <= length_s + 1e-6


def test_two_passes_must_be_open_at_once() -> None:
    one, two = Pass(period_s=100, duration_s=20), Pass(period_s=100, offset_s=10, duration_s=20)
    assert next_light_s([one, two], 0.0) == pytest.approx(10)
    assert next_light_s([one, two], 15.0) == 0
    assert light_s([one, two], 0.0, 100.0) == pytest.approx(10)
    never = Pass(period_s=100, offset_s=50, duration_s=20)
    assert next_light_s([one, never], 0.0) == float("inf")
