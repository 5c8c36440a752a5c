"""A device's life at the EMS: added and learned, learned again, looked at, removed.

`api` comes here. Learning asks the device itself; nothing about a product is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ems.domain.device import DeviceAddress, Login, Profile, Traits
from ems.domain.managed import ManagedDevice, state_of
from ems.ports import DeviceAdapter, DeviceFleet, DeviceStore
from qmodel.errors import Invalid


@dataclass(frozen=True)
class NewDevice:
    """What an operator says of a device. `host_key` is an OpenSSH public key; without one, the key that the
    device shows now is pinned only if `trust_on_first_use`."""

    name: str
    host: str
    port: int
    login: Login
    host_key: str | None = None
    trust_on_first_use: bool = False


class Devices:
    """Use cases of one noun; constructed once in `app`."""

    def __init__(self, store: DeviceStore, adapter: DeviceAdapter, fleet: DeviceFleet) -> None:
        self._store = store
        self._adapter = adapter
        self._fleet = fleet

    async def add(self, new: NewDevice) -> ManagedDevice:
        """Log in, learn, store; again with the same address, learn it anew.

        Raises Invalid, Conflict (name or address taken), DeviceError or Unavailable (it cannot be talked
        to); then nothing is stored."""
        host_key = new.host_key
        if host_key is None:
            if not new.trust_on_first_use:
                raise Invalid("give the device's host key, or say trust_on_first_use", where="/host_key")
            host_key = await self._adapter.fetch_host_key(new.host, new.port)
        address = DeviceAddress(new.host, new.port, host_key)
        profile = await self._learn(address, new.login)
        state, problem = state_of(profile)
        device = ManagedDevice(
            name=new.name,
            address=address,
            user=new.login.user,
            state=state,
            profile=profile,
            traits=Traits(),
            problem=problem,
        )
        stored = await self._store.add_device(device, new.login)
        await self._fleet.drop(new.name)
        return stored

    async def learn(self, name: str) -> ManagedDevice:
        """Learn a known device again. Raises NotFound and as `add`."""
        known, access = await self._store.device(name), await self._store.access(name)
        return await self.add(
            NewDevice(name, known.address.host, known.address.port, access.login, known.address.host_key)
        )

    async def get(self, name: str) -> ManagedDevice:
        """Raises NotFound."""
        return await self._store.device(name)

    async def list(self, after: str, limit: int) -> list[ManagedDevice]:
        return await self._store.devices(after, limit)

    async def remove(self, name: str) -> None:
        """Raises NotFound, Conflict."""
        await self._store.remove_device(name)
        await self._fleet.drop(name)

    async def _learn(self, address: DeviceAddress, login: Login) -> Profile:
        session = await self._adapter.open(address, login, Traits())
        try:
            return await session.learn()
        finally:
            await session.close()
