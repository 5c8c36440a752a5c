"""HTTP of the EMS, for operators: devices, their configuration, alarms, counters and samples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ems.domain.device import Login
from ems.domain.managed import ManagedDevice
from ems.usecases.device import Devices, NewDevice
from qkit.auth import Principal, require
from qkit.database import Database
from qkit.http import Idempotency, Page, PageParams, etag_of, idempotency, page_params
from qmodel.errors import Invalid, NotFound
from qmodel.ids import Name

Operator = Annotated[Principal, Depends(require("operator"))]
Paging = Annotated[PageParams, Depends(page_params)]
Once = Annotated[Idempotency, Depends(idempotency)]

_ADD_LIMIT_S = 30.0
"""Real time for host key, login and learning together: as long as an HTTP request may take."""


class Readings(Protocol):
    """What the API reads of the store besides devices."""

    async def alarms(
        self, *, element: str | None, all_states: bool, before: int, limit: int
    ) -> list[dict[str, object]]: ...

    async def usage(self, after: tuple[str, str, str], limit: int) -> list[dict[str, object]]: ...

    async def performance(self, element: str) -> dict[str, object] | None: ...


class DeviceIn(BaseModel):
    """A device to add: by `private_key` (OpenSSH or PEM text) or `password`."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(ge=1, le=65535)
    user: str = Field(min_length=1, max_length=64)
    private_key: SecretStr | None = Field(default=None, max_length=20_000)
    password: SecretStr | None = Field(default=None, max_length=500)
    host_key: str | None = Field(default=None, max_length=5_000)
    trust_on_first_use: bool = False


class ModuleOut(BaseModel):
    name: str
    revision: str


class DeviceOut(BaseModel):
    id: str
    name: str
    host: str
    port: int
    user: str
    host_key: str
    state: str
    problem: str | None
    manageable: bool
    capabilities: list[str]
    modules: list[ModuleOut]
    components: list[dict[str, str]]
    ports: list[str]
    traits: dict[str, object]
    version: int


class AlarmOut(BaseModel):
    id: int
    element: str
    resource: str
    alarm_type: str
    severity: str
    text: str
    raised_at: datetime
    cleared_at: datetime | None


class CounterOut(BaseModel):
    element: str
    link_id: str
    boot_id: str
    unit: str
    counted: int
    at: datetime


class SampleOut(BaseModel):
    at: datetime
    values: dict[str, float]


def router(devices: Devices, readings: Readings, answers: Database, changed: Callable[[], None]) -> APIRouter:
    """All routes; every one needs the role operator. `answers` keeps the answers of idempotent requests, in
    the api role; `changed` is called after a device came or went."""
    routes = APIRouter()
    _device_routes(routes, devices, answers, changed)
    _reading_routes(routes, devices, readings)
    return routes


def _device_routes(
    routes: APIRouter, devices: Devices, answers: Database, changed: Callable[[], None]
) -> None:
    @routes.post("/devices", status_code=201, response_model=DeviceOut)
    async def add(body: DeviceIn, _: Operator, once: Once) -> Response:
        """Log in at a NETCONF device, learn what it is, and manage it from now on."""
        if (body.private_key is None) == (body.password is None):
            raise Invalid("give either a private key or a password", where="/private_key")
        login = Login(
            body.user,
            body.private_key.get_secret_value() if body.private_key else None,
            body.password.get_secret_value() if body.password else None,
        )
        new = NewDevice(body.name, body.host, body.port, login, body.host_key, body.trust_on_first_use)
        tag: dict[str, str] = {}

        async def make() -> DeviceOut:
            device = await devices.add(new)
            changed()
            tag["ETag"] = etag_of(device.version)
            return _device(device)

        # The device is stored before its answer is kept: should that fail, adding it again is harmless.
        async with answers.transaction(limit_s=_ADD_LIMIT_S) as conn:
            return await once.answer(conn, make, headers=lambda _: tag)

    @routes.get("/devices")
    async def many(page: Paging, _: Operator) -> Page[DeviceOut]:
        after = page.after(str)
        found = await devices.list("" if after is None else after[0], page.limit + 1)
        return Page.of([_device(device) for device in found], page, key=lambda item: (item.name,))

    @routes.get("/devices/{name}")
    async def one(name: str, response: Response, _: Operator) -> DeviceOut:
        return _tagged(await devices.get(name), response)

    @routes.post("/devices/{name}/learn")
    async def learn(name: str, response: Response, _: Operator) -> DeviceOut:
        """Ask the device again what it is."""
        device = await devices.learn(name)
        changed()
        return _tagged(device, response)

    @routes.delete("/devices/{name}", status_code=204)
    async def remove(name: str, _: Operator) -> None:
        await devices.remove(name)
        changed()


def _reading_routes(routes: APIRouter, devices: Devices, readings: Readings) -> None:
    @routes.get("/devices/{name}/performance")
    async def performance(name: str, _: Operator) -> SampleOut:
        """The newest sample of the device's performance values."""
        await devices.get(name)
        sample = await readings.performance(name)
        if sample is None:
            raise NotFound(f"nothing was measured on {name!r} yet", where=name)
        return SampleOut.model_validate(sample)

    @routes.get("/alarms")
    async def alarms(
        page: Paging,
        _: Operator,
        state: Literal["active", "all"] = "active",
        element: str | None = None,
    ) -> Page[AlarmOut]:
        after = page.after(int)
        rows = await readings.alarms(
            element=element,
            all_states=state == "all",
            before=2**62 if after is None else after[0],
            limit=page.limit + 1,
        )
        items = [AlarmOut.model_validate(row) for row in rows]
        return Page.of(items, page, key=lambda item: (item.id,))

    @routes.get("/usage")
    async def usage(page: Paging, _: Operator) -> Page[CounterOut]:
        """What every metered counter has given, up to the last reading."""
        after = page.after(str, str, str)
        start = ("", "", "") if after is None else (after[0], after[1], after[2])
        items = [CounterOut.model_validate(row) for row in await readings.usage(start, page.limit + 1)]
        return Page.of(items, page, key=lambda item: (item.element, item.link_id, item.boot_id))


def _tagged(device: ManagedDevice, response: Response) -> DeviceOut:
    response.headers["ETag"] = etag_of(device.version)
    return _device(device)


def _device(device: ManagedDevice) -> DeviceOut:
    profile = device.profile
    return DeviceOut(
        id=device.name,
        name=device.name,
        host=device.address.host,
        port=device.address.port,
        user=device.user,
        host_key=device.address.host_key,
        state=device.state.value,
        problem=device.problem,
        manageable=profile is not None and profile.manageable and profile.all_or_nothing,
        capabilities=sorted(profile.capabilities) if profile else [],
        modules=[ModuleOut(name=m.name, revision=m.revision) for m in profile.modules] if profile else [],
        components=[
            {"name": c.name, "class": c.hardware_class, "serial": c.serial, "model": c.model}
            for c in (profile.components if profile else ())
        ],
        ports=[interface.name for interface in (profile.interfaces if profile else ())],
        traits=device.traits.model_dump(exclude_none=True),
        version=device.version,
    )
