"""ncclient listens: configuration changes, confirmed commits, alarms; and elements misbehave on order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree
from ncclient.operations import RPCError
from ncclient.operations.errors import TimeoutExpiredError
from ncclient.transport.errors import TransportError

QN = "urn:bellweave:yang:bellweave-quantum-node"
NN = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
NODE = ("subtree", f'<quantum-node xmlns="{QN}"/>')
CIRCUIT = (
    "<circuit><link-id>{}</link-id><role>swap</role><a-port>q1</a-port><b-port>q2</b-port>"
    "<bsm>b1</bsm><pair-rate-hz>10</pair-rate-hz></circuit>"
)

Config = Callable[[str], str]


def _next(session: Any, name: str) -> Any:
    """The next notification of that name; others are passed over."""
    while True:
        heard = session.take_notification(timeout=10)
        assert heard is not None, f"no {name} came"
        event = etree.fromstring(heard.notification_xml.encode())[1]
        if etree.QName(event).localname == name:
            return event


def test_a_subscriber_hears_of_changes_and_confirmed_commits(session: Any, config: Config) -> None:
    session.create_subscription()
    session.edit_config(config(CIRCUIT.format("l1")), target="candidate")
    session.commit(confirmed=True, timeout="60", persist="p")
    changed = _next(session, "netconf-config-change")
    who = changed.find(f"{{{NN}}}changed-by")
    assert who.findtext(f"{{{NN}}}session-id") == session.session_id
    assert who.findtext(f"{{{NN}}}username") == "admin"
    edit = changed.find(f"{{{NN}}}edit")
    assert edit.findtext(f"{{{NN}}}operation") == "create"
    assert edit.findtext(f"{{{NN}}}target").startswith("/bellweave-quantum-node:quantum-node")
    started = _next(session, "netconf-confirmed-commit")
    assert started.findtext(f"{{{NN}}}confirm-event") == "start"
    assert started.findtext(f"{{{NN}}}timeout") == "60"
    session.cancel_commit(persist_id="p")
    assert _next(session, "netconf-confirmed-commit").findtext(f"{{{NN}}}confirm-event") == "cancel"


def test_a_timeout_is_told_and_is_the_elements_own_doing(session: Any, config: Config) -> None:
    session.create_subscription()
    session.edit_config(config(CIRCUIT.format("l1")), target="candidate")
    session.commit(confirmed=True, timeout="1", persist="p")
    assert _next(session, "netconf-confirmed-commit").findtext(f"{{{NN}}}confirm-event") == "start"
    reverted = _next(session, "netconf-config-change")
    assert reverted.find(f"{{{NN}}}changed-by/{{{NN}}}server") is not None
    assert _next(session, "netconf-confirmed-commit").findtext(f"{{{NN}}}confirm-event") == "timeout"


def test_a_cut_fibre_raises_an_alarm_at_its_end_and_clears_when_mended(
    lab: Any, session: Any, element: str
) -> None:
    number = element.removeprefix("ne-")
    session.create_subscription(filter=("subtree", f'<element-alarm xmlns="{QN}"/>'))
    assert set(lab.ask(do="cut", name=f"c{number}")) == {f"lab/f{number}", f"lab/t{number}"}
    alarms = [_next(session, "element-alarm") for _ in range(2)]
    raised = {alarm.findtext(f"{{{QN}}}resource"): alarm.findtext(f"{{{QN}}}severity") for alarm in alarms}
    assert raised == {"port/q1": "critical", "port/t1": "major"}
    state = session.get(filter=NODE).xml
    assert "<alarm-type>loss-of-signal</alarm-type>" in state
    lab.ask(do="splice", name=f"c{number}")
    assert _next(session, "element-alarm").findtext(f"{{{QN}}}severity") == "cleared"
    assert "<alarm-type>" not in session.get(filter=NODE).xml


def test_one_session_subscribes_once_and_only_to_what_there_is(session: Any) -> None:
    with pytest.raises(RPCError) as unknown:
        session.create_subscription(stream_name="GOSSIP")
    assert unknown.value.tag == "invalid-value"
    session.create_subscription()
    with pytest.raises(RPCError):
        session.create_subscription()


def _fault(lab: Any, element: str, operation: str, action: str) -> None:
    lab.ask(do="fault", element=element, on=operation, action=action, count=1)


def test_an_element_refuses_once_when_told_to(lab: Any, session: Any, element: str) -> None:
    _fault(lab, element, "lock", "rpc-error")
    with pytest.raises(RPCError) as refused:
        session.lock("candidate")
    assert refused.value.tag == "operation-failed"
    session.lock("candidate")


def test_an_element_lies(
    lab: Any, session: Any, element: str, config: Config, links: Callable[[Any], list[str]]
) -> None:
    _fault(lab, element, "commit-confirmed", "lie")
    session.edit_config(config(CIRCUIT.format("l1")), target="candidate")
    assert session.commit(confirmed=True, timeout="60", persist="p").ok
    assert links(session.get_config("running", filter=NODE)) == []


def test_an_element_hangs_and_another_session_is_not_harmed(
    lab: Any, connect: Callable[..., Any], element: str
) -> None:
    _fault(lab, element, "validate", "hang")
    hanging = connect(element, timeout=20)
    hanging.timeout = 0.5
    with pytest.raises(TimeoutExpiredError):
        hanging.validate("candidate")
    other = connect(element)
    assert other.validate("candidate").ok
    other.kill_session(hanging.session_id)


@pytest.mark.parametrize(("action", "applied"), [("drop", []), ("lose-reply", ["l1"])])
def test_an_element_hangs_up_before_or_after_the_work(
    lab: Any, connect: Callable[..., Any], element: str, config: Config,
    links: Callable[[Any], list[str]], action: str, applied: list[str],
) -> None:  # fmt: skip
    _fault(lab, element, "confirm", action)
    session = connect(element)
    session.edit_config(config(CIRCUIT.format("l1")), target="candidate")
    session.commit(confirmed=True, timeout="60", persist="p")
    with pytest.raises(TransportError):
        session.commit(persist_id="p")
    again = connect(element)
    if not applied:
        again.cancel_commit(persist_id="p")
    assert links(again.get_config("running", filter=NODE)) == applied


def test_the_command_sets_and_shows_faults(lab: Any, session: Any, element: str) -> None:
    lab.reach("fault", element, "--on", "lock", "--action", "rpc-error")
    assert lab.reach("show")["faults"][element] == [{"on": "lock", "action": "rpc-error", "remaining": None}]
    assert lab.ask(do="clear-faults", element=element) == [element]
    session.lock("candidate")
