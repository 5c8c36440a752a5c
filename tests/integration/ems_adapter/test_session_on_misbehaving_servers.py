"""The session against SSH servers that break NETCONF's rules: each ends in a typed error, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncssh
import pytest

from ems.adapters.netconf.errors import NoNetconf, ProtocolViolation
from ems.adapters.netconf.exchange import Limits
from ems.adapters.netconf.session import LoginPacer, NetconfSession, connect
from ems.domain.device import DeviceAddress, Login
from qmodel.errors import BellweaveError, Invalid, TimedOut, Unavailable

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
HELLO = (
    f'<hello xmlns="{BASE}"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability>'
    "</capabilities><session-id>1</session-id></hello>]]>]]>"
).encode()
LIMITS = Limits(login_s=20.0, hello_s=0.5, nudge_s=0.05, rpc_s=0.5, message_bytes=10_000, chunk_bytes=5_000)

Behaviour = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]
Serve = Callable[[Behaviour | None], Awaitable[DeviceAddress]]


class _Door(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("lab", "open")


LOGIN = Login("lab", password="open")


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server whose netconf subsystem behaves as told; None: it has none."""
    servers: list[asyncssh.SSHAcceptor] = []
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def run(behaviour: Behaviour | None) -> DeviceAddress:
        async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
            if behaviour is None or process.subsystem != "netconf":
                process.exit(1)
                return
            await behaviour(process)

        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=_Door,
            server_host_keys=[key],
            process_factory=handle if behaviour else None,
            encoding=None,
        )
        servers.append(server)
        return DeviceAddress(
            "127.0.0.1", server.get_port(), key.export_public_key("openssh").decode().strip()
        )

    yield run
    for server in servers:
        server.close()
        await server.wait_closed()


async def opened(address: DeviceAddress) -> NetconfSession:
    return await connect(address, LOGIN, LIMITS, LoginPacer())


async def _answer_first(process: asyncssh.SSHServerProcess[bytes], then: bytes) -> None:
    """Greets, answers the first RPC, and says `then` to the next one."""
    process.stdout.write(HELLO)
    await process.stdin.readuntil(b"]]>]]>")
    await process.stdin.readuntil(b"\n##\n")
    ok = f'<rpc-reply xmlns="{BASE}" message-id="1"><data/></rpc-reply>'.encode()
    process.stdout.write(b"\n#%d\n%b\n##\n" % (len(ok), ok))
    await process.stdin.readuntil(b"\n##\n")
    process.stdout.write(then)


async def _stay(process: asyncssh.SSHServerProcess[bytes]) -> None:
    await process.stdin.read()


async def test_a_server_without_netconf_is_told_apart(serve: Serve) -> None:
    with pytest.raises(NoNetconf):
        await opened(await serve(None))


async def test_a_port_where_nobody_listens_is_unavailable(serve: Serve) -> None:
    address = await serve(None)
    nobody = DeviceAddress("127.0.0.1", 1, address.host_key)
    with pytest.raises(Unavailable):
        await opened(nobody)


async def test_a_host_key_or_private_key_that_is_none_is_invalid_input(serve: Serve) -> None:
    address = await serve(None)
    with pytest.raises(Invalid):
        await opened(DeviceAddress(address.host, address.port, "not a key"))
    with pytest.raises(Invalid):
        await connect(address, Login("lab", private_key="not a key"), LIMITS, LoginPacer())


async def test_a_server_that_never_greets_runs_into_the_limit(serve: Serve) -> None:
    with pytest.raises(TimedOut):
        await opened(await serve(_stay))


async def test_a_server_that_greets_and_falls_silent_is_given_up(serve: Serve) -> None:
    async def behaviour(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(HELLO)
        await _stay(process)

    with pytest.raises(TimedOut):
        await opened(await serve(behaviour))


@pytest.mark.parametrize(
    ("then", "error"),
    [
        (b"", TimedOut),
        (b"\n#9\n<rpc-repl\n##\n", ProtocolViolation),
        (b"no framing at all", ProtocolViolation),
        (b"\n#6000\n", ProtocolViolation),
        (b"".join(b"\n#3000\n" + b" " * 3000 for _ in range(4)), ProtocolViolation),
        (b"\n#17\n<!DOCTYPE a []><a/>\n##\n", ProtocolViolation),
    ],
)
async def test_an_rpc_answered_with_nonsense_ends_in_a_typed_error(
    serve: Serve, then: bytes, error: type[BellweaveError]
) -> None:
    async def behaviour(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await _answer_first(process, then)
        await _stay(process)

    session = await opened(await serve(behaviour))
    with pytest.raises(error):
        await session.rpc(b"<get/>")
    assert not session.alive
    await session.close()


async def test_a_connection_lost_amid_an_rpc_fails_all_that_are_outstanding(serve: Serve) -> None:
    async def behaviour(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await _answer_first(process, b"\n#10\n<rpc-")
        process.close()

    session = await opened(await serve(behaviour))
    outcomes = await asyncio.gather(
        session.flight([b"<get/>"] * 3), session.flight([b"<get/>"]), return_exceptions=True
    )
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    with pytest.raises(Unavailable):
        await session.rpc(b"<get/>")
    await session.close()


async def test_logins_wait_for_their_turn_at_the_same_server(serve: Serve) -> None:
    logged_in: list[str] = []

    async def behaviour(process: asyncssh.SSHServerProcess[bytes]) -> None:
        logged_in.append("once more")
        await _answer_first(process, b"")
        await _stay(process)

    address = await serve(behaviour)
    pacer = LoginPacer(at_once=2)
    held = pacer.gate(address)
    async with held, held:
        waiting = asyncio.ensure_future(connect(address, LOGIN, LIMITS, pacer))
        await asyncio.sleep(0.05)
        assert not logged_in
    sessions = await asyncio.gather(*(connect(address, LOGIN, LIMITS, pacer) for _ in range(6)))
    for session in (await waiting, *sessions):
        await session.close()
    assert len(logged_in) == 7
