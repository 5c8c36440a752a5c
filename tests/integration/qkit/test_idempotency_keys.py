"""`Idempotency-Key` on the real database: done once, answered alike, refused when it is another request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, SecretStr

from qkit.auth import Principal, Verifier, require
from qkit.database import Database
from qkit.http import Health, Idempotency, idempotency, make_app
from qkit.migrations import RoleUrls
from qkit.settings import ServiceSettings
from qmodel.errors import Conflict


class Order(BaseModel):
    what: str


class Ordered(BaseModel):
    number: int
    what: str


class Anybody(Verifier):
    def __init__(self) -> None:
        super().__init__("https://issuer.test", "bellweave")

    async def verify(self, token: str) -> Principal:
        return Principal(token, "acme", frozenset({"tenant"}))


class Shop:
    """Counts what was really done; `hold` keeps an order in flight, `refusing` makes it fail."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.done = 0
        self.started = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()
        self.refusing = False

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.post("/orders")
        async def order(
            body: Order,
            caller: Annotated[Principal, Depends(require("tenant"))],
            idem: Annotated[Idempotency, Depends(idempotency)],
        ) -> Response:
            async def make() -> Ordered:
                self.started.set()
                await self.hold.wait()
                if self.refusing:
                    raise Conflict("not now")
                self.done += 1
                return Ordered(number=self.done, what=body.what)

            async with self.db.transaction(tenant=caller.tenant) as conn:
                return await idem.answer(conn, make, status=202, headers={"Location": "/orders/1"})

        return router


@pytest.fixture
async def shop(db: Database, urls: RoleUrls) -> AsyncIterator[Shop]:
    api = await Database.open(urls.api)
    yield Shop(api)
    await api.close()


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    nowhere = SecretStr("postgresql://nowhere")
    settings = ServiceSettings(
        service="sms",
        database_url=nowhere,
        database_api_url=nowhere,
        database_worker_url=nowhere,
        nats_user="x",
        nats_password=SecretStr("x"),
        oidc_issuer="https://issuer.test",
    )
    app = make_app(settings, title="Shop", verifier=Anybody(), routers=[shop.router()], health=Health())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sms/api/v1") as made:
        yield made


async def post(
    client: httpx.AsyncClient, key: str | None, what: str = "link", caller: str = "alice"
) -> httpx.Response:
    headers = {"authorization": f"Bearer {caller}"}
    if key is not None:
        headers["idempotency-key"] = key
    return await client.post("/orders", json={"what": what}, headers=headers)


async def test_the_same_request_again_is_answered_again_and_done_once(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    first = await post(client, "k1")
    again = await post(client, "k1")
    assert shop.done == 1
    assert (first.status_code, first.json()) == (202, {"number": 1, "what": "link"})
    assert (again.status_code, again.content, again.headers["location"]) == (202, first.content, "/orders/1")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


async def test_another_body_under_the_key_is_422(client: httpx.AsyncClient, shop: Shop) -> None:
    await post(client, "k1")
    refused = await post(client, "k1", what="other")
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:bellweave:problem:idempotency-key-reused"
    assert shop.done == 1


async def test_while_the_first_is_in_flight_its_twin_is_409(client: httpx.AsyncClient, shop: Shop) -> None:
    shop.hold.clear()
    first = asyncio.create_task(post(client, "k1"))
    await shop.started.wait()
    twin = await post(client, "k1")
    other = asyncio.create_task(post(client, "k2"))
    shop.hold.set()
    assert twin.status_code == 409
    assert "retry-after" in twin.headers
    assert (await first).status_code == (await other).status_code == 202
    assert (await post(client, "k1")).content == first.result().content
    assert shop.done == 2


async def test_what_failed_is_not_kept(client: httpx.AsyncClient, shop: Shop) -> None:
    shop.refusing = True
    assert (await post(client, "k1")).status_code == 409
    shop.refusing = False
    assert (await post(client, "k1")).status_code == 202
    assert shop.done == 1


async def test_a_key_belongs_to_its_caller(client: httpx.AsyncClient, shop: Shop) -> None:
    await post(client, "k1", caller="alice")
    theirs = await post(client, "k1", what="other", caller="bob")
    assert (theirs.status_code, theirs.json()["number"]) == (202, 2)


async def test_without_a_key_each_request_counts(client: httpx.AsyncClient, shop: Shop) -> None:
    await post(client, None)
    await post(client, None)
    assert shop.done == 2


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
async def test_a_strange_key_is_refused(client: httpx.AsyncClient, shop: Shop, key: str) -> None:
    refused = await post(client, key)
    assert (refused.status_code, refused.json()["where"]) == (422, "Idempotency-Key")
    assert shop.done == 0
