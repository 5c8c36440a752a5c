"""ncclient and the confirmed commit: confirm, extend, cancel, time out, die, and kill -9 in the window."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from ncclient.operations import RPCError

QN = "urn:bellweave:yang:bellweave-quantum-node"
NODE = ("subtree", f'<quantum-node xmlns="{QN}"/>')
CIRCUIT = (
    "<circuit><link-id>{}</link-id><role>swap</role><a-port>q1</a-port><b-port>q2</b-port>"
    "<bsm>b1</bsm><pair-rate-hz>10</pair-rate-hz></circuit>"
)
WAIT_LIMIT_S = 15.0

Config = Callable[[str], str]
Links = Callable[[Any], list[str]]


@pytest.fixture
def running(links: Links) -> Callable[[Any], list[str]]:
    return lambda session: links(session.get_config("running", filter=NODE))


def _becomes(read: Callable[[], list[str]], expected: list[str]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while read() != expected:
        assert time.monotonic() < deadline, f"still {read()}"
        time.sleep(0.05)


def _provision(session: Any, config: Config, link: str, **how: Any) -> None:
    session.edit_config(config(CIRCUIT.format(link)), target="candidate")
    session.commit(confirmed=True, **how)


def test_it_reverts_when_time_is_up(
    session: Any, config: Config, running: Callable[[Any], list[str]]
) -> None:
    _provision(session, config, "l1", timeout="1", persist="p")
    assert running(session) == ["l1"]
    _becomes(lambda: running(session), [])


def test_another_session_confirms_by_persist_id(
    lab: Any, session: Any, element: str, config: Config, running: Callable[[Any], list[str]]
) -> None:
    first = lab.connect(element)
    _provision(first, config, "l1", timeout="60", persist="change-1")
    first.close_session()
    with pytest.raises(RPCError) as refused:
        session.commit(persist_id="change-2")
    assert refused.value.tag == "invalid-value"
    session.commit(persist_id="change-1")
    assert running(session) == ["l1"]
    with pytest.raises(RPCError):
        session.cancel_commit(persist_id="change-1")


def test_it_is_cancelled_by_persist_id(
    session: Any, config: Config, running: Callable[[Any], list[str]]
) -> None:
    _provision(session, config, "l1", timeout="60", persist="p")
    with pytest.raises(RPCError):
        session.cancel_commit(persist_id="q")
    session.cancel_commit(persist_id="p")
    assert running(session) == []


def test_a_follow_up_extends_the_time(
    session: Any, config: Config, running: Callable[[Any], list[str]]
) -> None:
    _provision(session, config, "l1", timeout="1", persist="p")
    session.commit(confirmed=True, timeout="60", persist_id="p")
    time.sleep(1.3)
    assert running(session) == ["l1"]
    session.cancel_commit(persist_id="p")
    assert running(session) == []


def test_without_persist_it_dies_with_its_session(
    lab: Any, session: Any, element: str, config: Config, running: Callable[[Any], list[str]]
) -> None:
    first = lab.connect(element)
    _provision(first, config, "l1", timeout="60")
    assert running(session) == ["l1"]
    first.close_session()
    _becomes(lambda: running(session), [])


def test_a_kill_in_the_window_reverts_and_a_confirmed_change_stays(
    own_lab: Any, config: Config, running: Callable[[Any], list[str]]
) -> None:
    before = {name: (entry["port"], entry["host_key"]) for name, entry in own_lab.listed.items()}
    session = own_lab.connect("ne-0")
    _provision(session, config, "kept", timeout="60", persist="p")
    session.commit(persist_id="p")
    _provision(session, config, "lost", timeout="60", persist="q")
    assert running(session) == ["kept", "lost"]
    own_lab.stop(signal.SIGKILL)
    own_lab.start()
    assert {name: (e["port"], e["host_key"]) for name, e in own_lab.listed.items()} == before
    again = own_lab.connect("ne-0")
    assert running(again) == ["kept"]
    with pytest.raises(RPCError) as refused:
        again.commit(persist_id="q")
    assert refused.value.tag == "invalid-value"
    again.lock("candidate")
    again.close_session()
