"""Operational state and notifications of a quantum node, from XML."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lxml import etree

from ems.adapters.netconf.errors import ProtocolViolation
from ems.adapters.netconf.state import event_of, operational_of
from ems.domain.observation import ActiveAlarm, ConfigChanged
from qmodel.contracts.ems import PerceivedSeverity

QN = "urn:bellweave:yang:bellweave-quantum-node"
NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"
PRINTED = f"""
<data xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
 <quantum-node xmlns="{QN}">
  <circuit><link-id>l1</link-id><role>endpoint</role><a-port>q1</a-port><metered>true</metered>
   <state><ready>true</ready><reason/><expected-ready-in-s>0.0</expected-ready-in-s>
    <pair-rate-hz>1200.5</pair-rate-hz><fidelity>0.97</fidelity>
    <released>18446744073709551615</released><unit>key-bits</unit><counter-boot-id>b-1</counter-boot-id>
   </state></circuit>
  <circuit><link-id>l2</link-id><role>source</role><a-port>q1</a-port>
   <state><ready>false</ready><reason>s1 warms up</reason><expected-ready-in-s>120.5</expected-ready-in-s>
   </state></circuit>
  <circuit><link-id>l2</link-id><role>switch</role><a-port>q2</a-port>
   <state><ready>true</ready><pair-rate-hz>10.0</pair-rate-hz></state></circuit>
  <circuit><link-id>l3</link-id><role>endpoint</role><a-port>q3</a-port></circuit>
  <domain-time>2026-01-02T03:04:05.5Z</domain-time>
  <alarm><resource>port/q1</resource><alarm-type>loss-of-signal</alarm-type><severity>major</severity>
   <text>no light</text><time>2026-01-02T03:04:05+00:00</time></alarm>
 </quantum-node>
 <hardware xmlns="urn:ietf:params:xml:ns:yang:ietf-hardware">
  <component><name>s1</name><quantum xmlns="{QN}"><state><settled>false</settled>
   <temperature-c>24.125</temperature-c><counts>12</counts></state></quantum></component>
  <component><name>chassis</name></component></hardware>
 <interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces">
  <interface><name>q1</name><oper-status>up</oper-status>
   <photonic xmlns="{QN}"><signal>true</signal><line-loss-db>3.25</line-loss-db></photonic></interface>
  <interface><name>q2</name><oper-status>down</oper-status></interface></interfaces>
</data>"""


def test_readiness_is_told_per_link_and_a_link_is_ready_when_all_its_parts_are() -> None:
    by_link = {each.link_id: each for each in operational_of(etree.fromstring(PRINTED)).circuits}
    assert by_link["l1"].ready
    assert (by_link["l1"].pair_rate_hz, by_link["l1"].fidelity) == (1200.5, 0.97)
    assert not by_link["l2"].ready
    assert (by_link["l2"].reason, by_link["l2"].expected_in_s) == ("s1 warms up", 120.5)
    assert not by_link["l3"].ready
    assert by_link["l3"].reason


def test_counters_ports_performance_and_time_are_read() -> None:
    seen = operational_of(etree.fromstring(PRINTED))
    (counter,) = seen.counters
    assert (counter.link_id, counter.unit, counter.boot_id) == ("l1", "key-bits", "b-1")
    assert (counter.count, counter.metered) == (2**64 - 1, True)
    assert seen.ports_up == {"q1": True, "q2": False}
    assert seen.performance == {
        "component/s1/settled": 0.0,
        "component/s1/temperature-c": 24.125,
        "component/s1/counts": 12.0,
        "port/q1/signal": 1.0,
        "port/q1/line-loss-db": 3.25,
    }
    assert seen.at == datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)
    (alarm,) = seen.alarms
    assert (alarm.resource, alarm.severity) == ("port/q1", PerceivedSeverity.MAJOR)


def test_a_device_that_tells_nothing_is_read_as_nothing() -> None:
    seen = operational_of(etree.fromstring('<data xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"/>'))
    assert (seen.circuits, seen.counters, seen.alarms, seen.at) == ((), (), (), None)


def notification(inside: str) -> etree._Element:
    return etree.fromstring(
        f'<notification xmlns="{NOTIFICATION}"><eventTime>2026-01-02T03:04:05Z</eventTime>'
        f"{inside}</notification>"
    )


def test_an_element_alarm_becomes_an_alarm() -> None:
    event = event_of(
        notification(
            f'<element-alarm xmlns="{QN}"><resource>port/q1</resource><alarm-type>loss-of-signal</alarm-type>'
            "<severity>cleared</severity><text>light again</text>"
            "<time>2026-01-02T03:04:06Z</time></element-alarm>"
        )
    )
    assert event == ActiveAlarm(
        "port/q1",
        "loss-of-signal",
        PerceivedSeverity.CLEARED,
        "light again",
        datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    )


def test_a_configuration_change_tells_who_did_it() -> None:
    event = event_of(
        notification(
            '<netconf-config-change xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications">'
            "<changed-by><username>mallory</username><session-id>12</session-id></changed-by>"
            "<datastore>running</datastore></netconf-config-change>"
        )
    )
    assert event == ConfigChanged("mallory", 12, "running")


def test_other_notifications_are_passed_over() -> None:
    assert event_of(notification('<fan-noise xmlns="urn:x"/>')) is None


@pytest.mark.parametrize(
    "inside",
    [
        "<resource>port/q1</resource><alarm-type>x</alarm-type>",
        "<resource>port/q1</resource><alarm-type>x</alarm-type><time>yesterday</time>",
        "<alarm-type>x</alarm-type><time>2026-01-02T03:04:06Z</time>",
    ],
)
def test_an_alarm_that_cannot_be_understood_is_a_violation(inside: str) -> None:
    with pytest.raises(ProtocolViolation):
        event_of(notification(f'<element-alarm xmlns="{QN}">{inside}</element-alarm>'))
