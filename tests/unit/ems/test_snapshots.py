"""Snapshots: canonical comparison, the least change, and node configurations in and out of XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from ems.adapters.netconf.quantum_node import read_snapshot, write_edit
from ems.domain.quantum_node import config_of, snapshot_of
from ems.domain.snapshot import Entry, Snapshot, change
from qmodel.errors import Invalid
from qmodel.nodeconfig import Circuit, NodeConfig, Purpose, Role, TimingRole, TimingRoute

QN = "urn:bellweave:yang:bellweave-quantum-node"
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
ENDPOINT = Circuit(
    link_id="lnk_1", role=Role.ENDPOINT, ports=("q1",), detector="d1", pair_rate_hz=1000.25, metered=True
)
SWAP = Circuit(link_id="lnk_1", role=Role.SWAP, ports=("q1", "q2"), bsm="b1", pair_rate_hz=5e6)
PAIRS = ENDPOINT.model_copy(update={"link_id": "lnk_2", "purpose": Purpose.PAIRS, "key_rate_bps": 8160.5})
TIMING = TimingRoute(link_id="lnk_1", role=TimingRole.RELAY, ports=("t1", "t2"))
CONFIG = NodeConfig(circuits=(SWAP, ENDPOINT, PAIRS), timing=(TIMING,))


def data(inside: str) -> etree._Element:
    return etree.fromstring(f'<data xmlns="{NC}">{inside}</data>')


def apply(running: Snapshot, target: Snapshot) -> Snapshot:
    """What a device would run after our edit: its entries taken one by one from the XML."""
    root = etree.fromstring(write_edit(change(running, target)))
    entries = {(entry.kind, entry.key): entry for entry in running.entries}
    for element in root:
        operation = element.attrib.pop(f"{{{NC}}}operation")
        wrapped = etree.Element(f"{{{NC}}}data")
        node = etree.SubElement(wrapped, f"{{{QN}}}quantum-node")
        node.append(element)
        (entry,) = read_snapshot(wrapped).entries
        name = (entry.kind, entry.key)
        assert (name in entries) == (operation in ("replace", "delete"))
        if operation == "delete":
            del entries[name]
        else:
            entries[name] = entry
    return Snapshot.of(entries.values())


def test_a_configuration_survives_the_way_to_a_device_and_back() -> None:
    snapshot = apply(Snapshot(), snapshot_of(CONFIG))
    assert snapshot == snapshot_of(CONFIG)
    assert config_of(snapshot) == CONFIG.normalized()


def test_order_prefixes_white_space_defaults_and_number_format_make_no_difference() -> None:
    printed = f"""
      <n:quantum-node xmlns:n="{QN}">
        <n:circuit>
          <n:metered> 1 </n:metered><n:a-port>q1</n:a-port>
          <n:pair-rate-hz>1000.250000</n:pair-rate-hz><n:key-rate-bps>0.0</n:key-rate-bps>
          <n:role>endpoint</n:role> <n:purpose>keys</n:purpose>
          <n:link-id>lnk_1</n:link-id><n:detector>
             d1</n:detector>
          <n:state><n:ready>true</n:ready></n:state>
        </n:circuit>
      </n:quantum-node>"""
    assert read_snapshot(data(printed)) == snapshot_of(NodeConfig(circuits=(ENDPOINT,)))


def test_other_data_of_the_device_is_passed_over() -> None:
    assert read_snapshot(data('<interfaces xmlns="urn:x"><interface/></interfaces>')) == Snapshot()


def test_an_unknown_leaf_is_noticed_and_is_no_node_configuration() -> None:
    printed = (
        f'<quantum-node xmlns="{QN}"><circuit><link-id>lnk_1</link-id><role>endpoint</role>'
        "<a-port>q1</a-port><detector>d1</detector><pair-rate-hz>1000.25</pair-rate-hz>"
        '<metered>true</metered><colour xmlns="urn:vendor">blue</colour></circuit></quantum-node>'
    )
    snapshot = read_snapshot(data(printed))
    assert snapshot != snapshot_of(NodeConfig(circuits=(ENDPOINT,)))
    with pytest.raises(Invalid) as caught:
        config_of(snapshot)
    assert caught.value.where == "circuit[lnk_1,endpoint,q1]"
    with pytest.raises(Invalid):
        write_edit(change(Snapshot(), snapshot))


def test_two_parts_under_one_key_cannot_be_written() -> None:
    twin = SWAP.model_copy(update={"ports": ("q1", "q3")})
    with pytest.raises(Invalid):
        snapshot_of(NodeConfig(circuits=(SWAP, twin)))


def test_an_edit_touches_only_the_entries_that_differ() -> None:
    slower = ENDPOINT.model_copy(update={"pair_rate_hz": 500.0})
    running = snapshot_of(NodeConfig(circuits=(ENDPOINT, SWAP)))
    target = snapshot_of(NodeConfig(circuits=(slower, SWAP), timing=(TIMING,)))
    edit = change(running, target)
    assert [entry.path for entry in edit.create] == ["timing-route[lnk_1,relay,t1]"]
    assert [entry.path for entry in edit.replace] == ["circuit[lnk_1,endpoint,q1]"]
    assert edit.delete == ()
    assert not change(running, running)


def test_text_in_a_value_stays_text_in_the_edit() -> None:
    entry = Entry("circuit", ("a&b", "<x>", '"q"'), (("detector", "]]>"),))
    root = etree.fromstring(write_edit(change(Snapshot(), Snapshot.of([entry]))))
    assert [leaf.text for leaf in root[0]] == ["a&b", "<x>", '"q"', "]]>"]


@pytest.mark.parametrize("number", ["1e999999999", "NaN", "", "1" * 400, "Infinity"])
def test_an_absurd_number_is_kept_as_text(number: str) -> None:
    printed = (
        f'<quantum-node xmlns="{QN}"><circuit><link-id>l</link-id><role>endpoint</role><a-port>q1</a-port>'
        f"<pair-rate-hz>{number}</pair-rate-hz></circuit></quantum-node>"
    )
    (entry,) = read_snapshot(data(printed)).entries
    assert dict(entry.leaves)["pair-rate-hz"] == number


circuits = st.builds(
    Circuit,
    link_id=st.sampled_from(["l1", "l2", "l3"]),
    role=st.sampled_from(list(Role)),
    ports=st.sampled_from([("q1",), ("q2",), ("q3",)]),
    pair_rate_hz=st.floats(0, 1e9),
    key_rate_bps=st.floats(0, 1e9),
    metered=st.booleans(),
)
configs = st.builds(
    NodeConfig,
    circuits=st.lists(circuits, max_size=6, unique_by=lambda c: (c.link_id, c.role, c.ports)).map(tuple),
)


@given(configs, configs)
def test_any_configuration_can_follow_any_other(running: NodeConfig, target: NodeConfig) -> None:
    assert apply(snapshot_of(running), snapshot_of(target)) == snapshot_of(target)


@given(configs)
def test_a_snapshot_survives_the_store(config: NodeConfig) -> None:
    snapshot = snapshot_of(config)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
