"""Seeding asks each service for what is its own, may be repeated, and stops at a refusal with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from bellweave_local.seed import seed
from bellweave_local.state import ClockStatus, ElementStatus, IssuerStatus, Status, UserStatus, now
from qmodel.errors import Internal, Unavailable

TOPOLOGY = """
bellweave_topology: 1
operator: north
nodes:
  - {id: alice, operator: north, element: alice-qn, ems: north, latitude_deg: 1, longitude_deg: 1}
"""


@pytest.fixture
def status(tmp_path: Path) -> Status:
    (tmp_path / "north.yaml").write_text(TOPOLOGY)
    (tmp_path / "id_ed25519").write_text("the key")
    element = ElementStatus(
        name="alice-qn",
        host="127.0.0.1",
        port=8300,
        user="admin",
        private_key=str(tmp_path / "id_ed25519"),
        host_key="ssh-ed25519 AAAA",
        operator="north",
        ems="north",
    )
    users = [
        UserStatus(name=name, password=f"{name}-password", tenant=None, roles=[name])
        for name in ("operator", "billing")
    ]
    return Status(
        state_dir=str(tmp_path),
        phase="ready",
        updated_at=now(),
        clock=ClockStatus(origin_s=0, scale=1),
        processes=[],
        apis={name: f"http://{name}/api/v1" for name in ("bms.main", "sms.main", "nms.north", "ems.north")},
        issuer=IssuerStatus(
            url="http://issuer",
            token_endpoint="http://issuer/token",
            audience="bellweave",
            client_id="bellweave",
            users=users,
        ),
        elements=[element],
        topologies=[str(tmp_path / "north.yaml")],
    )


class Recorder(httpx.MockTransport):
    """Gives tokens named after the user; answers everything else with `answer`."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(self.respond)
        self.answer = answer
        self.requests: list[httpx.Request] = []

    def respond(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "issuer":
            form = dict(pair.split("=") for pair in request.content.decode().split("&"))
            return httpx.Response(200, json={"access_token": f"token-of-{form['username']}"})
        self.requests.append(request)
        return self.answer

    def asked(self) -> list[str]:
        return [f"{r.method} {r.url.host}{r.url.path} {r.headers['Authorization']}" for r in self.requests]


def test_each_service_is_asked_for_what_is_its_own(status: Status) -> None:
    services = Recorder(httpx.Response(201))
    lines = list(seed(status, services))
    assert services.asked() == [
        "POST ems.north/api/v1/devices Bearer token-of-operator",
        "PUT nms.north/api/v1/topology Bearer token-of-operator",
        "POST bms.main/api/v1/plans Bearer token-of-billing",
        "POST bms.main/api/v1/customers Bearer token-of-billing",
        "POST bms.main/api/v1/contracts Bearer token-of-billing",
        "POST bms.main/api/v1/customers Bearer token-of-billing",
        "POST bms.main/api/v1/contracts Bearer token-of-billing",
    ]
    device = json.loads(services.requests[0].content)
    assert (device["name"], device["port"], device["private_key"]) == ("alice-qn", 8300, "the key")
    assert services.requests[1].headers["Content-Type"] == "application/yaml"
    assert services.requests[1].content.decode() == TOPOLOGY
    assert lines[0] == "ems.north: 1 devices"


def test_a_refusal_stops_with_the_services_reason(status: Status) -> None:
    with pytest.raises(Internal, match="no such module"):
        list(seed(status, Recorder(httpx.Response(422, text="no such module"))))


def test_an_issuer_elsewhere_without_tokens_leaves_the_stack_alone(status: Status) -> None:
    services = Recorder(httpx.Response(201))
    lines = list(seed(status.model_copy(update={"issuer": None}), services))
    assert services.requests == []
    assert lines == ["not seeded: the issuer is elsewhere and no tokens are given"]


def test_what_an_operator_has_changed_stays_as_it_is(status: Status) -> None:
    class Changed(Recorder):
        def respond(self, request: httpx.Request) -> httpx.Response:
            answer = super().respond(request)
            if request.method == "PUT":
                return httpx.Response(412 if request.headers.get("If-Match") == '"0"' else 200)
            return answer if request.url.host == "issuer" else httpx.Response(409)

    services = Changed(httpx.Response(409))
    assert list(seed(status, services))
    assert services.requests[1].headers["If-Match"] == '"0"'
    assert len(services.requests) == 7


def test_a_service_that_does_not_answer_is_named(status: Status) -> None:
    class Silent(Recorder):
        def respond(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "nms.north":
                raise httpx.ConnectError("refused", request=request)
            return super().respond(request)

    with pytest.raises(Unavailable, match="/api/v1/topology: no answer"):
        list(seed(status, Silent(httpx.Response(201))))
