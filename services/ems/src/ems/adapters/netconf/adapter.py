"""`ems.ports.DeviceAdapter` for NETCONF: opens sessions and subscriptions; `app` makes one per process."""

from __future__ import annotations

from ems.adapters.netconf import operations
from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.exchange import Limits
from ems.adapters.netconf.learning import fetch_sources, learn_library, learn_modules
from ems.adapters.netconf.session import LoginPacer, NetconfSession, connect, fetch_host_key
from ems.adapters.netconf.state import event_of
from ems.adapters.schemas import SchemaBook
from ems.domain.device import DeviceAddress, Login, Traits
from ems.domain.observation import DeviceEvent, EventsLost
from qyang.schema import Schema


class NetconfAdapter:
    def __init__(
        self, schemas: SchemaBook, limits: Limits | None = None, pacer: LoginPacer | None = None
    ) -> None:
        self._schemas = schemas
        self._limits = limits or Limits()
        self._pacer = pacer or LoginPacer()

    async def fetch_host_key(self, host: str, port: int) -> str:
        return await fetch_host_key(host, port, self._limits.login_s)

    async def open(self, address: DeviceAddress, login: Login, traits: Traits) -> NetconfDevice:
        session = await connect(address, login, self._limits, self._pacer)
        try:
            modules = await learn_modules(session)
        except BaseException:
            await session.close()
            raise

        async def schema() -> Schema:
            return await self._schemas.schema_of(
                f"{address.host}_{address.port}",
                await learn_library(session),
                lambda missing: fetch_sources(session, missing),
            )

        return NetconfDevice(session, traits, frozenset(module.name for module in modules), schema)

    async def watch(self, address: DeviceAddress, login: Login) -> NetconfWatch:
        """On a session of its own: without `:interleave` a subscribed session takes no other RPC."""
        session = await connect(address, login, self._limits, self._pacer)
        try:
            await session.rpc(operations.SUBSCRIBE)
        except BaseException:
            await session.close()
            raise
        return NetconfWatch(session)


class NetconfWatch:
    """See `ems.ports.DeviceWatch`."""

    def __init__(self, session: NetconfSession) -> None:
        self._session = session
        self._lost = 0

    async def next_event(self) -> DeviceEvent:
        while True:
            lost = self._session.notifications_lost - self._lost
            if lost:
                self._lost += lost
                return EventsLost(lost)
            event = event_of(await self._session.notification())
            if event is not None:
                return event

    async def close(self) -> None:
        await self._session.close()
