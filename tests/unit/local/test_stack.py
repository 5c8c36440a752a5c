"""Which processes a deployment becomes, and what each is told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bellweave_local.deployment import Deployment, Instance
from bellweave_local.parts import Elsewhere, HttpPart
from bellweave_local.servers.identity import is_reachable, unprivileged
from bellweave_local.servers.postgres import SYSTEM_STATE, postgres_home
from bellweave_local.stack import build_stack, neighbours
from bellweave_local.state import DatabaseStatus, StateDir
from qmodel.errors import Invalid

DEPLOYMENT = Deployment(
    instances=(
        Instance(name="sms.main", peers=("nms.north",), settings={"BELLWEAVE_LOG_LEVEL": "debug"}),
        Instance(name="nms.north"),
    ),
    clock_scale=60.0,
)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    chosen = StateDir(tmp_path / "state")
    chosen.create()
    return chosen


def test_every_part_is_a_process_and_services_wait_for_their_database(state: StateDir) -> None:
    stack = build_stack(DEPLOYMENT, state, {})
    names = [part.name for part in stack.parts]
    assert names == ["postgres", "nats", "redis", "issuer", "emulator", "sms.main", "nms.north"]
    services = [part for part in stack.parts if isinstance(part, HttpPart) and part.kind == "service"]
    assert {part.needs for part in services} == {("postgres", "nats")}


def test_a_service_is_told_where_everything_is(state: StateDir) -> None:
    stack = build_stack(DEPLOYMENT, state, {})
    stack.databases["sms.main"] = DatabaseStatus(owner="o", api="a", worker="w")
    sms = next(part for part in stack.parts if part.name == "sms.main")
    assert isinstance(sms, HttpPart)
    told = sms.environment()
    assert told["BELLWEAVE_SERVICE"] == "sms"
    assert told["BELLWEAVE_INSTANCE"] == "main"
    assert told["BELLWEAVE_DATABASE_API_URL"] == "a"
    assert (told["BELLWEAVE_NMS_INSTANCES"], told["BELLWEAVE_NMS_INSTANCE"]) == ("north", "north")
    assert told["BELLWEAVE_CLOCK_SCALE"] == "60.0"
    assert told["BELLWEAVE_LOG_LEVEL"] == "debug"
    assert stack.apis["sms.main"] == f"http://127.0.0.1:{told['BELLWEAVE_HTTP_PORT']}/api/v1"


def test_neighbours_are_told_by_their_service() -> None:
    assert neighbours(["bms.main", "nms.north", "nms.south"]) == {
        "BELLWEAVE_BMS_INSTANCES": "main",
        "BELLWEAVE_BMS_INSTANCE": "main",
        "BELLWEAVE_NMS_INSTANCES": "north,south",
    }


def test_the_same_state_gives_the_same_stack(state: StateDir) -> None:
    first, second = build_stack(DEPLOYMENT, state, {}), build_stack(DEPLOYMENT, state, {})
    assert first.apis == second.apis
    assert first.bus_users == second.bus_users
    assert first.issuer == second.issuer
    assert first.clock == second.clock


def test_addresses_elsewhere_are_used_and_shown_without_their_passwords(state: StateDir) -> None:
    stack = build_stack(
        DEPLOYMENT,
        state,
        {
            "BELLWEAVE_DATABASE_ADMIN_URL": "postgresql://root:hush@db.example/postgres",
            "BELLWEAVE_NATS_URL": "nats://us%40er:hush@bus.example:4222",
            "BELLWEAVE_REDIS_URL": "redis://:hush@cache.example/0",
            "BELLWEAVE_OIDC_ISSUER": "https://id.example",
        },
    )
    elsewhere = {part.name: part.address for part in stack.parts if isinstance(part, Elsewhere)}
    assert elsewhere == {
        "postgres": "postgresql://db.example/postgres",
        "nats": "nats://bus.example:4222",
        "redis": "redis://cache.example/0",
        "issuer": "https://id.example",
    }
    assert stack.issuer is None
    assert stack.bus_users["sms.main"].name == "us@er"


def test_an_address_that_is_no_url_is_refused_without_repeating_it(state: StateDir) -> None:
    with pytest.raises(Invalid) as refused:
        build_stack(DEPLOYMENT, state, {"BELLWEAVE_REDIS_URL": "secret-word"})
    assert "secret-word" not in refused.value.detail


def test_a_database_below_a_closed_directory_goes_where_its_user_can_reach_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "state").mkdir(mode=0o711)
    home = postgres_home(closed / "state", "token")
    if os.geteuid() == 0:
        assert home.parent == SYSTEM_STATE
    else:
        assert home == closed / "state" / "postgres"


def test_reachability_is_judged_for_the_user_who_runs_it(tmp_path: Path) -> None:
    nobody = unprivileged()
    here = tmp_path / "here"
    here.mkdir()
    here.chmod(stat.S_IRWXU)
    assert is_reachable(here, None)
    assert nobody is None or not is_reachable(here, nobody)
    assert nobody is None or is_reachable(Path("/"), nobody)
