"""What no polite client does: raw sessions by asyncssh against a network served in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from emulator.netconf.server import Access, ServerLimits
from emulator.netconf.session import SessionLimits
from emulator.network import Network, NetworkSettings, serve_network
from qmodel.clock import DomainClock
from qmodel.topology import Topology

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
QN = "urn:bellweave:yang:bellweave-quantum-node"
HELLO = (
    f'<hello xmlns="{BASE}"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability>'
    "</capabilities></hello>]]>]]>"
).encode()
LIMIT_S = 15.0

TOPOLOGY = Topology.model_validate(
    {"bellweave_topology": 1, "operator": "lab",
     "nodes": [
         {"id": "a", "operator": "lab", "element": "ne-a", "ems": "ems.lab",
          "sources": [{"id": "s", "warm_up_s": 0}], "detectors": [{"id": "d"}]},
         {"id": "b", "operator": "lab", "element": "ne-b", "ems": "ems.lab", "detectors": [{"id": "d"}]},
     ],
     "quantum_links": [
         {"id": "f", "a": {"node": "a", "port": "q"}, "b": {"node": "b", "port": "q"}, "length_km": 1}]}
)  # fmt: skip


class Raw:
    """Bytes to and from the subsystem."""

    def __init__(self, connection: asyncssh.SSHClientConnection, writer: Any, reader: Any) -> None:
        self.connection = connection
        self._writer = writer
        self._reader = reader

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def request(self, number: int, body: str) -> None:
        message = f'<rpc xmlns="{BASE}" message-id="{number}">{body}</rpc>'.encode()
        self.send(b"\n#%d\n%b\n##\n" % (len(message), message))

    async def until(self, marker: bytes) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return bytes(await self._reader.readuntil(marker))

    async def ask(self, body: str) -> bytes:
        self.request(1, body)
        return await self.until(b"\n##\n")

    async def is_closed(self) -> bool:
        async with asyncio.timeout(LIMIT_S):
            while await self._reader.read(65536):
                pass
        return True


Open = Callable[..., AbstractAsyncContextManager[Raw]]


@pytest.fixture(scope="module")
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def serve(tmp_path: Path, key: asyncssh.SSHKey) -> Callable[..., AbstractAsyncContextManager[Network]]:
    """Serves the topology; a second time on the same state."""

    def run(scale: float = 1.0, **limits: Any) -> AbstractAsyncContextManager[Network]:
        access = Access("admin", frozenset({key.public_data}))
        settings = NetworkSettings(access, tick_s=0.02, limits=ServerLimits(**limits))
        clock = DomainClock(time.time(), scale, time.time)
        return serve_network([TOPOLOGY], tmp_path / "state", clock, settings)

    return run


@pytest.fixture
def open_raw(key: asyncssh.SSHKey) -> Open:
    @asynccontextmanager
    async def run(network: Network, element: str = "ne-a", *, greet: bool = True) -> AsyncIterator[Raw]:
        connection = await asyncssh.connect(
            "127.0.0.1", network.element(element).port, username="admin", client_keys=[key],
            known_hosts=None, config=None, agent_path=None,
        )  # fmt: skip
        async with connection:
            writer, reader, _ = await connection.open_session(subsystem="netconf", encoding=None)
            raw = Raw(connection, writer, reader)
            await raw.until(b"]]>]]>")
            if greet:
                raw.send(HELLO)
            yield raw

    return run


async def test_requests_sent_together_are_answered_in_order(serve: Any, open_raw: Open) -> None:
    async with serve() as network, open_raw(network) as raw:
        for number in range(1, 301):
            raw.request(number, "<get-config><source><running/></source></get-config>")
        for number in range(1, 301):
            assert f'message-id="{number}"'.encode() in await raw.until(b"\n##\n")


@pytest.mark.parametrize(
    "greeting",
    [b"<hello/>]]>]]>", b"nonsense]]>]]>", HELLO.replace(b"base:1.1", b"base:9.9"),
     HELLO.replace(b"<hello", b"<!DOCTYPE hello><hello")],
)  # fmt: skip
async def test_a_bad_hello_ends_the_session(serve: Any, open_raw: Open, greeting: bytes) -> None:
    async with serve() as network, open_raw(network, greet=False) as raw:
        raw.send(greeting)
        assert await raw.is_closed()
        assert network.element("ne-a").device.statistics.in_bad_hellos == 1


async def test_a_client_that_never_greets_is_shown_out(serve: Any, open_raw: Open) -> None:
    limits = {"session": SessionLimits(hello_s=0.05)}
    async with serve(**limits) as network, open_raw(network, greet=False) as raw:
        assert await raw.is_closed()


async def test_broken_chunks_and_too_much_of_them_end_the_session(serve: Any, open_raw: Open) -> None:
    async with serve() as network:
        async with open_raw(network) as raw:
            raw.send(b"\n#x\n")
            assert await raw.is_closed()
        async with open_raw(network) as raw:
            raw.send(b"\n#4294967295\n")
            assert b"<error-tag>too-big</error-tag>" in await raw.until(b"\n##\n")
            assert await raw.is_closed()


async def test_broken_xml_is_answered_and_the_session_goes_on(serve: Any, open_raw: Open) -> None:
    async with serve() as network, open_raw(network) as raw:
        for message in (b"<rpc", b'<!DOCTYPE a [<!ENTITY b "c">]><rpc>&b;</rpc>', b"<a>" * 400):
            raw.send(b"\n#%d\n%b\n##\n" % (len(message), message))
            assert b"malformed-message" in await raw.until(b"\n##\n")
        assert b"<data" in await raw.ask("<get-config><source><running/></source></get-config>")


async def test_strangers_at_the_door_are_bounded(serve: Any) -> None:
    async with serve(startups=2, login_s=60.0) as network:
        port = network.element("ne-a").port
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        waiting = [asyncio.create_task(_until_hung_up(reader)) for reader, _ in opened]
        async with asyncio.timeout(LIMIT_S):
            for _ in range(2):
                left = [each for each in waiting if not each.done()]
                if len(left) > 2:
                    await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await _until_hung_up(reader)
        assert sum(each.done() for each in waiting) == 2
        for _, each in (*opened, (reader, writer)):
            each.close()
        await asyncio.gather(*waiting)


async def test_nothing_but_netconf_is_served(serve: Any, key: asyncssh.SSHKey) -> None:
    async with serve() as network:
        connection = await asyncssh.connect(
            "127.0.0.1", network.element("ne-a").port, username="admin", client_keys=[key],
            known_hosts=None, config=None, agent_path=None,
        )  # fmt: skip
        async with connection:
            with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ProcessError)):
                await connection.run("id", check=True)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("127.0.0.1", 22)


async def _until_hung_up(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read(-1)


def _edit(circuit: str) -> str:
    return (
        f'<edit-config><target><candidate/></target><config><quantum-node xmlns="{QN}">{circuit}'
        "</quantum-node></config></edit-config>"
    )


async def _released(raw: Raw) -> tuple[str, int]:
    answer = (await raw.ask(f'<get><filter><quantum-node xmlns="{QN}"/></filter></get>')).decode()
    boot_id = answer.partition("<counter-boot-id>")[2].partition("<")[0]
    return boot_id, int(answer.partition("<released>")[2].partition("<")[0])


async def _counts_beyond(raw: Raw, count: int) -> tuple[str, int]:
    async with asyncio.timeout(LIMIT_S):
        while True:
            now = await _released(raw)
            if now[1] > count:
                return now
            await asyncio.sleep(0.02)


async def test_a_link_comes_up_and_its_counter_goes_on_after_a_restart(serve: Any, open_raw: Open) -> None:
    common = "<a-port>q</a-port>{}<detector>d</detector><pair-rate-hz>100000</pair-rate-hz>"
    rate = "<key-rate-bps>1000</key-rate-bps>"
    parts = {
        "ne-a": f"<circuit><link-id>l</link-id><role>source</role>{common.format('<source>s</source>')}{rate}"
                "<metered>true</metered></circuit>",
        "ne-b": f"<circuit><link-id>l</link-id><role>endpoint</role>{common.format('')}{rate}</circuit>",
    }  # fmt: skip
    async with serve(scale=100.0) as network:
        for element, circuit in parts.items():
            async with open_raw(network, element) as raw:
                assert b"<ok/>" in await raw.ask(_edit(circuit))
                assert b"<ok/>" in await raw.ask("<commit/>")
        async with open_raw(network) as raw:
            before = await _counts_beyond(raw, 0)
    async with serve(scale=100.0) as network, open_raw(network) as raw:
        last = await _released(raw)
        assert last[0] == before[0]
        assert last[1] >= before[1]
        now = await _counts_beyond(raw, last[1])
        assert now[0] == before[0]
