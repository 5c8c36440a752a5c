"""Two emulated quantum nodes over a fibre, in this process, and our adapter to drive them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest

from ems.adapters.netconf.adapter import NetconfAdapter
from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.exchange import Limits
from ems.adapters.schemas import SchemaBook
from ems.domain.device import DeviceAddress, Login, Traits
from emulator.netconf.server import Access
from emulator.network import Network, NetworkSettings, serve_network
from qmodel.clock import DomainClock
from qmodel.topology import Detector, Node, PortRef, QuantumLink, Source, TimingLink, Topology

SCALE = 600.0


def _node(name: str) -> Node:
    return Node(
        id=name,
        operator="lab",
        element=f"ne-{name}",
        ems="ems.lab",
        sources=(Source(id="s1"),),
        detectors=(Detector(id="d1"),),
    )


def _topology() -> Topology:
    ends = PortRef(node="a", port="q1"), PortRef(node="b", port="q1")
    timing = PortRef(node="a", port="t1"), PortRef(node="b", port="t1")
    return Topology(
        bellweave_topology=1,
        operator="lab",
        nodes=(_node("a"), _node("b")),
        quantum_links=(QuantumLink(id="f1", a=ends[0], b=ends[1], length_km=10),),
        timing_links=(TimingLink(id="c1", a=timing[0], b=timing[1], length_km=10),),
    )


@pytest.fixture
def user_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def login(user_key: asyncssh.SSHKey) -> Login:
    return Login("bellweave", private_key=user_key.export_private_key("openssh").decode())


@pytest.fixture
async def network(tmp_path: Path, user_key: asyncssh.SSHKey) -> AsyncIterator[Network]:
    clock = DomainClock(origin_s=time.time(), scale=SCALE, real_now_s=time.time)
    settings = NetworkSettings(Access("bellweave", frozenset({user_key.public_data})), tick_s=0.1)
    async with serve_network([_topology()], tmp_path / "network", clock, settings) as made:
        yield made


@pytest.fixture
def address_of(network: Network) -> Callable[[str], DeviceAddress]:
    def run(element: str) -> DeviceAddress:
        (entry,) = (each for each in network.listing()["elements"] if each["element"] == element)
        return DeviceAddress(entry["host"], entry["port"], entry["host_key"])

    return run


@pytest.fixture
def adapter(tmp_path: Path) -> NetconfAdapter:
    return NetconfAdapter(SchemaBook(tmp_path / "yang"), Limits(rpc_s=20.0))


@pytest.fixture
async def open_device(
    adapter: NetconfAdapter, address_of: Callable[[str], DeviceAddress], login: Login
) -> AsyncIterator[Callable[[str], Awaitable[NetconfDevice]]]:
    """Opens sessions with an element, closed after the test."""
    opened: list[NetconfDevice] = []

    async def run(element: str) -> NetconfDevice:
        opened.append(await adapter.open(address_of(element), login, Traits()))
        return opened[-1]

    yield run
    for device in opened:
        await device.close()
