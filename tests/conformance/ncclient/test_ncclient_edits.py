"""ncclient changes configuration: edits, validation, locks, commits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
QN = "urn:bellweave:yang:bellweave-quantum-node"
NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
NODE = ("subtree", f'<quantum-node xmlns="{QN}"/>')

Config = Callable[[str], str]
Links = Callable[[Any], list[str]]
Connect = Callable[..., Any]


def _circuit(link: str, operation: str = "", *, rate: str = "10") -> str:
    attribute = f' nc:operation="{operation}"' if operation else ""
    return (
        f"<circuit{attribute}><link-id>{link}</link-id><role>swap</role><a-port>q1</a-port>"
        f"<b-port>q2</b-port><bsm>b1</bsm><pair-rate-hz>{rate}</pair-rate-hz></circuit>"
    )


def _key(link: str, operation: str) -> str:
    return (
        f'<circuit nc:operation="{operation}"><link-id>{link}</link-id><role>swap</role>'
        "<a-port>q1</a-port></circuit>"
    )


def test_an_edit_becomes_running_by_commit(session: Any, config: Config, links: Links) -> None:
    session.edit_config(config(_circuit("l1")), target="candidate")
    assert links(session.get_config("candidate", filter=NODE)) == ["l1"]
    assert links(session.get_config("running", filter=NODE)) == []
    session.validate("candidate")
    session.commit()
    assert links(session.get_config("running", filter=NODE)) == ["l1"]


def test_every_operation_does_what_it_says(session: Any, config: Config, links: Links) -> None:
    def candidate() -> Any:
        return session.get_config("candidate", filter=NODE)

    session.edit_config(config(_circuit("l1") + _circuit("l2", "create")), target="candidate")
    session.edit_config(config(_circuit("l1", "merge", rate="20")), target="candidate")
    assert "<pair-rate-hz>20.0</pair-rate-hz>" in candidate().xml
    session.edit_config(config(_key("l2", "delete") + _key("none", "remove")), target="candidate")
    assert links(candidate()) == ["l1"]
    session.edit_config(
        config(_circuit("l3")).replace("<quantum-node", '<quantum-node nc:operation="replace"'),
        target="candidate",
    )
    assert links(candidate()) == ["l3"]
    session.edit_config(config(_circuit("l4", "merge")), target="candidate", default_operation="none")
    assert links(candidate()) == ["l3", "l4"]
    session.discard_changes()
    assert links(candidate()) == []


@pytest.mark.parametrize(
    ("inside", "tag"),
    [
        (_circuit("l1", "create"), "data-exists"),
        (_key("none", "delete"), "data-missing"),
        ("<colour>red</colour>", "unknown-element"),
        ("<domain-time>2026-01-01T00:00:00Z</domain-time>", "unknown-element"),
        (_circuit("l2", rate="many"), "invalid-value"),
        ("<circuit><link-id>l2</link-id></circuit>", "missing-element"),
        (_circuit("l2", "explode"), "bad-attribute"),
    ],
)
def test_a_bad_edit_is_refused_whole(
    reader: Any, config: Config, links: Links, inside: str, tag: str
) -> None:
    with reader.locked("candidate"):
        reader.edit_config(config(_circuit("l1")), target="candidate")
        with pytest.raises(RPCError) as refused:
            reader.edit_config(
                config(_circuit("good") + inside), target="candidate", error_option="rollback-on-error"
            )
        assert refused.value.tag == tag
        assert refused.value.path
        assert links(reader.get_config("candidate", filter=NODE)) == ["l1"]


def test_running_is_not_written_directly(session: Any, config: Config) -> None:
    with pytest.raises(RPCError) as refused:
        session.edit_config(config(_circuit("l1")), target="running")
    assert refused.value.tag == "operation-not-supported"


def test_nonsense_is_refused_at_validate_and_at_commit(session: Any, config: Config, links: Links) -> None:
    session.edit_config(config(_circuit("l1").replace("q2", "q1")), target="candidate")
    for refuse in (lambda: session.validate("candidate"), session.commit):
        with pytest.raises(RPCError) as refused:
            refuse()
        assert (refused.value.tag, refused.value.app_tag) == ("operation-failed", "must-violation")
        assert "two different ports" in refused.value.message
    assert links(session.get_config("running", filter=NODE)) == []


def test_a_missing_port_is_refused(session: Any, config: Config) -> None:
    session.edit_config(config(_circuit("l1").replace("q2", "q9")), target="candidate")
    with pytest.raises(RPCError) as refused:
        session.validate("candidate")
    assert "b-port" in refused.value.path


def test_test_options_are_honoured(session: Any, config: Config, links: Links) -> None:
    bad = config(_circuit("l1").replace("q2", "q1"))
    for option in ("test-then-set", "test-only"):
        with pytest.raises(RPCError):
            session.edit_config(bad, target="candidate", test_option=option)
    session.edit_config(config(_circuit("l1")), target="candidate", test_option="test-only")
    assert links(session.get_config("candidate", filter=NODE)) == []
    session.edit_config(bad, target="candidate", test_option="set")
    assert links(session.get_config("candidate", filter=NODE)) == ["l1"]


def test_a_configuration_is_copied_and_validated_inline(session: Any, config: Config, links: Links) -> None:
    session.edit_config(config(_circuit("l1")), target="candidate")
    session.copy_config(source="running", target="candidate")
    assert links(session.get_config("candidate", filter=NODE)) == []
    with pytest.raises(RPCError):
        session.validate(to_ele(config(_circuit("l1"))))  # the ports of the circuit are not in it
    request = (
        f'<edit-data xmlns="{NMDA}" xmlns:ds="{DS}"><datastore>ds:candidate</datastore>'
        f'<config xmlns:nc="{BASE}"><quantum-node xmlns="{QN}">{_circuit("l5")}</quantum-node></config>'
        "</edit-data>"
    )
    session.dispatch(to_ele(request))
    assert links(session.get_config("candidate", filter=NODE)) == ["l5"]


def test_locks_hold_between_sessions(
    session: Any, connect: Connect, element: str, config: Config, links: Links
) -> None:
    other = connect(element)
    session.lock("candidate")
    session.lock("running")
    for store in ("candidate", "running"):
        with pytest.raises(RPCError) as denied:
            other.lock(store)
        assert denied.value.tag == "lock-denied"
        assert f"<session-id>{session.session_id}</session-id>" in etree.tostring(denied.value.xml).decode()
    with pytest.raises(RPCError) as in_use:
        other.edit_config(config(_circuit("l1")), target="candidate")
    assert in_use.value.tag == "in-use"
    with pytest.raises(RPCError):
        other.commit()
    with pytest.raises(RPCError):
        other.unlock("candidate")
    session.edit_config(config(_circuit("l1")), target="candidate")
    session.unlock("candidate")
    assert links(other.get_config("candidate", filter=NODE)) == []
    other.lock("candidate")


def test_a_lock_dies_with_its_session(lab: Any, session: Any, element: str) -> None:
    other = lab.connect(element)
    other.lock("candidate")
    other.close_session()
    session.lock("candidate")


def test_a_session_is_killed_by_another(lab: Any, session: Any, element: str) -> None:
    victim = lab.connect(element)
    victim.lock("candidate")
    session.kill_session(victim.session_id)
    session.lock("candidate")
    deadline = time.monotonic() + 10
    while victim.connected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not victim.connected
