"""The EMS's REST API on a real database: devices are added once, forged cursors refused."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any, cast

import httpx
import pytest
from cryptography.fernet import Fernet

from ems.adapters.vault import FernetVault
from ems.api.devices import router
from ems.domain.device import Profile
from ems.store import EmsStore
from ems.usecases.device import Devices
from qkit.auth import Principal, Verifier
from qkit.database import Database
from qkit.http import Health, make_app
from qkit.migrations import RoleUrls, migrate
from qkit.settings import ServiceSettings
from qmodel.clock import DomainClock

BODY = {"name": "c", "host": "127.0.0.1", "port": 2830, "user": "admin", "password": "PRECIOUS"}
BODY |= {"host_key": "ssh-ed25519 AAAA"}


class FixedVerifier:
    async def verify(self, token: str) -> Principal:
        return Principal("olga", None, frozenset({token}))


class Pretended:
    """A device that can be learned, with the adapter that opens it and the fleet that forgets it."""

    def __init__(self) -> None:
        self.logins = 0

    async def open(self, *access: Any) -> Pretended:
        self.logins += 1
        return self

    async def learn(self) -> Profile:
        return Profile(frozenset(), ())

    async def close(self) -> None: ...

    async def drop(self, element: str) -> None: ...


@pytest.fixture
def pretended() -> Pretended:
    return Pretended()


@pytest.fixture
async def door(urls: RoleUrls, pretended: Pretended) -> AsyncIterator[httpx.AsyncClient]:
    await migrate(urls.owner, own=files("ems") / "migrations")
    api, worker = await Database.open(urls.api), await Database.open(urls.worker)
    clock = DomainClock(origin_s=0.0, scale=1.0, real_now_s=lambda: 0.0)
    store = EmsStore(worker, FernetVault(Fernet.generate_key()), clock.now)
    devices = Devices(store, cast(Any, pretended), cast(Any, pretended))
    settings = ServiceSettings(
        service="ems",
        database_url=cast(Any, urls.owner),
        database_api_url=cast(Any, urls.api),
        database_worker_url=cast(Any, urls.worker),
        nats_user="ems",
        nats_password=cast(Any, "none"),
        oidc_issuer="http://issuer",
    )
    app = make_app(
        settings,
        title="test",
        verifier=cast(Verifier, FixedVerifier()),
        routers=[router(devices, cast(Any, store), api, lambda: None)],
        health=Health(),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://ems/api/v1",
        headers={"Authorization": "Bearer operator"},
    ) as client:
        yield client
    await api.close()
    await worker.close()


async def test_a_device_is_added_once_for_an_idempotency_key(
    door: httpx.AsyncClient, pretended: Pretended
) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await door.post("/devices", json=BODY, headers=key)
    assert (first.status_code, first.headers["etag"]) == (201, '"1"')
    again = await door.post("/devices", json=BODY, headers=key)
    assert (again.status_code, again.json(), again.headers["etag"]) == (201, first.json(), '"1"')
    assert pretended.logins == 1
    other = await door.post("/devices", json=BODY | {"user": "root"}, headers=key)
    assert other.status_code == 422
    assert "PRECIOUS" not in first.text + other.text


async def test_an_address_that_has_a_name_is_refused_with_that_name(door: httpx.AsyncClient) -> None:
    await door.post("/devices", json=BODY)
    twin = await door.post("/devices", json=BODY | {"name": "alias"})
    assert (twin.status_code, twin.json()["device"]) == (409, "c")


@pytest.mark.parametrize("path", ["/devices", "/alarms", "/usage"])
@pytest.mark.parametrize(
    "key", [[], [None], ["\0"], [2**70], ["a", "b"], ["\0", "b", "c"], ["\ud800"], {"t": 1}]
)
async def test_a_forged_cursor_is_a_problem_and_no_failure(
    door: httpx.AsyncClient, path: str, key: Any
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
    answer = await door.get(path, params={"cursor": cursor})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
