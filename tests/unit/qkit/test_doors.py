"""A service's doors: who gets in, how much they may send, and what they hear when something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from prometheus_client import generate_latest
from pydantic import BaseModel, SecretStr
from structlog.testing import capture_logs

from qkit.auth import Principal, Verifier, public, require
from qkit.http import Health, make_app
from qkit.settings import ServiceSettings
from qkit.telemetry import Metrics
from qmodel.errors import Infeasible, Unauthenticated, Unavailable

MAX_BODY = 1000


class Note(BaseModel):
    text: str
    count: int = 0


class Tokens(Verifier):
    """Takes `name/tenant/role,role` for a token."""

    def __init__(self) -> None:
        super().__init__("https://issuer.test", "bellweave")

    async def verify(self, token: str) -> Principal:
        try:
            subject, tenant, roles = token.split("/")
        except ValueError:
            raise Unauthenticated("the token is not a JWT") from None
        return Principal(subject, tenant or None, frozenset(roles.split(",")))


def rooms() -> APIRouter:
    router = APIRouter()

    @router.post("/notes", dependencies=[Depends(public)])
    async def take(note: Note) -> Note:
        return note

    @router.get("/mine")
    async def mine(caller: Annotated[Principal, Depends(require("tenant", "operator"))]) -> dict[str, Any]:
        return {"subject": caller.subject, "tenant": caller.tenant}

    @router.get("/bug", dependencies=[Depends(public)])
    async def bug() -> None:
        raise RuntimeError("password=s3same in a bug")

    @router.get("/late-bug", dependencies=[Depends(public)])
    async def late_bug() -> None:
        raise TimeoutError("of the handler's own")

    @router.get("/endless", dependencies=[Depends(public)])
    async def endless() -> None:
        await asyncio.Event().wait()

    @router.get("/stream", dependencies=[Depends(public)])
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first "
            await asyncio.sleep(0.4)
            yield b"last"

        return StreamingResponse(parts())

    @router.get("/no-way", dependencies=[Depends(public)])
    async def no_way() -> None:
        raise Infeasible("no path", where="/links/2", binding="latency", status=1, retry_after_s=2.5)

    return router


def settings(**more: Any) -> ServiceSettings:
    nowhere = SecretStr("postgresql://nowhere")
    return ServiceSettings(
        service="sms",
        database_url=nowhere,
        database_api_url=nowhere,
        database_worker_url=nowhere,
        nats_user="x",
        nats_password=SecretStr("x"),
        oidc_issuer="https://issuer.test",
        max_body_bytes=MAX_BODY,
        **more,
    )


def client_of(health: Health | None = None, metrics: Metrics | None = None, **more: Any) -> httpx.AsyncClient:
    app = make_app(
        settings(**more),
        title="Doors",
        verifier=Tokens(),
        routers=[rooms()],
        health=health or Health(),
        metrics=metrics,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sms")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of() as made:
        yield made


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document, after checking what every one of them has."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"] == f"urn:bellweave:problem:{kind}"
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.headers["x-request-id"]
    return document


async def in_parts(body: bytes, size: int = 300) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_an_oversized_body_is_413_with_its_length_and_without(client: httpx.AsyncClient) -> None:
    big = b'{"text": "' + b"x" * MAX_BODY + b'"}'
    headers = {"content-type": "application/json"}
    announced = await client.post("/api/v1/notes", content=big, headers=headers)
    assert problem(announced, 413, "too-large")["limit_bytes"] == MAX_BODY
    unannounced = await client.post("/api/v1/notes", content=in_parts(big), headers=headers)
    assert "content-length" not in unannounced.request.headers
    assert problem(unannounced, 413, "too-large")["limit_bytes"] == MAX_BODY


async def test_a_body_at_the_limit_is_taken(client: httpx.AsyncClient) -> None:
    head, tail = b'{"text": "', b'"}'
    body = head + b"x" * (MAX_BODY - len(head + tail)) + tail
    headers = {"content-type": "application/json"}
    assert (await client.post("/api/v1/notes", content=body, headers=headers)).status_code == 200
    assert (await client.post("/api/v1/notes", content=in_parts(body), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"{", b"{'text': 'x'}", b'{"text": "x"', b"\xff\xfe\xfd", b"[" * 900, b'{"count": ' + b"9" * 900],
    ids=["half", "single quotes", "cut off", "not UTF-8", "deep", "long number"],
)
async def test_malformed_json_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/api/v1/notes", content=body, headers={"content-type": "application/json"})
    problem(answer, 400, "invalid")


@pytest.mark.parametrize(
    ("body", "where"),
    [({}, "/text"), ({"text": 7}, "/text"), ({"text": "x", "count": "s3same"}, "/count"), ([], "/")],
)
async def test_a_body_that_does_not_fit_is_422_and_says_where(
    client: httpx.AsyncClient, body: Any, where: str
) -> None:
    document = problem(await client.post("/api/v1/notes", json=body), 422, "invalid")
    assert document["where"] == where
    assert document["errors"][0]["pointer"] == where
    assert "s3same" not in str(document)


async def test_what_is_not_there_and_what_is_not_done_are_problems(client: httpx.AsyncClient) -> None:
    problem(await client.get("/api/v1/nothing"), 404, "not-found")
    problem(await client.get("/"), 404, "not-found")
    refused = await client.delete("/api/v1/notes")
    problem(refused, 405, "invalid")
    assert refused.headers["allow"] == "POST"


async def test_an_error_of_a_use_case_keeps_place_facts_and_delay(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/no-way")
    document = problem(answer, 409, "infeasible")
    assert (document["where"], document["binding"]) == ("/links/2", "latency")
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("path", ["bug", "late-bug"])
async def test_a_bug_is_a_500_without_detail_and_counted_as_one(path: str) -> None:
    metrics = Metrics()
    with capture_logs() as log:
        async with client_of(metrics=metrics) as client:
            answer = await client.get(f"/api/v1/{path}")
    document = problem(answer, 500, "internal")
    assert [line["instance"] for line in log if line["log_level"] == "error"] == [document["instance"]]
    assert "s3same" not in str(document)
    assert answer.headers["x-content-type-options"] == "nosniff"
    counted = generate_latest(metrics.registry).decode()
    assert f'bellweave_http_requests_total{{method="GET",route="/api/v1/{path}",status="500"}} 1.0' in counted


async def test_the_access_log_has_every_request_and_no_query(client: httpx.AsyncClient) -> None:
    with capture_logs() as log:
        await client.get("/api/v1/mine?key_ID=s3same")
        await client.get("/api/v1/nothing?key_ID=s3same")
        await client.get("/healthz")
    lines = [(line["path"], line["status"]) for line in log if line["event"] == "request"]
    assert lines == [("/api/v1/mine", "401"), ("/api/v1/nothing", "404")]
    assert "s3same" not in str(log)


async def test_a_request_that_takes_too_long_is_given_up() -> None:
    async with client_of(request_timeout_s=0.05) as client:
        answer = await client.get("/api/v1/endless")
    problem(answer, 504, "timeout")
    assert answer.headers["retry-after"] == "1"


async def test_an_answer_that_has_begun_may_go_on() -> None:
    async with client_of(request_timeout_s=0.2) as client:
        assert (await client.get("/api/v1/stream")).text == "first last"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer  ", "Basic YTpi", "x/acme/tenant", "Bearer nonsense", "Bearer \xe9"]
)
async def test_who_does_not_say_who_they_are_is_401(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.get("/api/v1/mine", headers=[(b"authorization", header.encode("latin-1"))])
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["x/acme/billing", "x//tenant", "x/acme/", "x//auditor"])
async def test_who_has_no_role_for_it_is_403(client: httpx.AsyncClient, token: str) -> None:
    problem(await client.get("/api/v1/mine", headers={"authorization": f"Bearer {token}"}), 403, "forbidden")


@pytest.mark.parametrize(
    ("token", "tenant"), [("x/acme/tenant", "acme"), ("x//operator", None), ("x//tenant,operator", None)]
)
async def test_who_has_a_role_gets_in(client: httpx.AsyncClient, token: str, tenant: str | None) -> None:
    answer = await client.get("/api/v1/mine", headers={"authorization": f"bearer {token}"})
    assert answer.json() == {"subject": "x", "tenant": tenant}


def test_a_route_that_does_not_say_who_may_call_it_stops_the_start() -> None:
    router = APIRouter()

    @router.get("/open")
    async def forgotten() -> None: ...

    with pytest.raises(ValueError, match="/open"):
        make_app(settings(), title="x", verifier=Tokens(), routers=[router], health=Health())


def test_a_role_that_does_not_exist_is_a_mistake() -> None:
    for roles in ((), ("emperor",), ("tenant", "emperor")):
        with pytest.raises(ValueError, match="roles"):
            require(*roles)


async def test_ready_names_every_part_that_does_not_work() -> None:
    async def fine() -> None: ...

    async def down() -> None:
        raise Unavailable("the bus cannot be reached")

    async def broken() -> None:
        raise OSError("password=s3same")

    async with client_of(Health({"database": fine})) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "faults": {}})
    async with client_of(Health({"database": fine, "bus": down, "file": broken})) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["faults"] == {"bus": "the bus cannot be reached", "file": "OSError"}
        assert (await client.get("/healthz")).json() == {"status": "alive"}, "alive all the same"


async def test_the_description_says_how_errors_look(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()
    assert "application/problem+json" in str(document["paths"]["/api/v1/notes"]["post"]["responses"])
    assert not any(path in document["paths"] for path in ("/healthz", "/readyz", "/metrics"))
