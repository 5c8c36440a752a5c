"""The state directory: what it remembers, what it hides, and what it says of a stack that was killed."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from bellweave_local.process import open_private, rotate
from bellweave_local.state import ClockStatus, ProcessStatus, StateDir, Status, now


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    chosen = StateDir(tmp_path / "state")
    chosen.create()
    return chosen


def status(state: StateDir) -> Status:
    return Status(
        state_dir=str(state.root),
        phase="ready",
        supervisor_pid=1,
        updated_at=now(),
        clock=ClockStatus(origin_s=0, scale=60),
        processes=[
            ProcessStatus(name="nats", kind="server", state="ready", pid=2),
            ProcessStatus(name="postgres", kind="server", state="external"),
        ],
    )


def test_secrets_and_clock_stay_and_are_private(state: StateDir) -> None:
    first = state.secret("bus/admin")
    assert state.secret("bus/admin") == first != state.secret("bus/other")
    assert stat.S_IMODE((state.root / "secrets.json").stat().st_mode) == 0o600
    assert state.clock_origin_s(10.0) == state.clock_origin_s(20.0) == 10.0


def test_a_port_stays_until_somebody_else_takes_it(state: StateDir) -> None:
    port = state.port("issuer")
    assert state.port("issuer") == port
    assert state.port("sms.main") != port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert state.port("issuer") != port


def test_no_stack_has_no_status(state: StateDir) -> None:
    assert state.read_status() is None
    assert not state.is_running


def test_a_stack_whose_supervisor_is_gone_is_stopped(state: StateDir) -> None:
    state.write_status(status(state))
    found = state.read_status()
    assert found is not None
    assert (found.phase, found.supervisor_pid) == ("stopped", None)
    assert (found.process("nats").state, found.process("nats").pid) == ("stopped", None)
    assert found.process("postgres").state == "external"


def test_only_one_supervisor_at_a_time(state: StateDir) -> None:
    state.write_status(status(state))
    with state.supervised() as mine:
        assert mine
        found = state.read_status()
        assert found is not None
        assert found.phase == "ready"
        with state.supervised() as second:
            assert not second
    assert not state.is_running


def test_status_of_an_unknown_process_is_refused(state: StateDir) -> None:
    with pytest.raises(KeyError):
        status(state).process("nobody")


def test_a_large_log_is_kept_aside_and_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellweave_local.process.LOG_LIMIT_BYTES", 4)
    log = tmp_path / "nats.log"
    with open_private(log) as writer:
        writer.write(b"before")
        writer.flush()
        rotate(log)
        writer.write(b"on")
    assert log.read_bytes() == b"on"
    older = tmp_path / "nats.1.log"
    assert older.read_bytes() == b"before"
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
