"""A NETCONF session over SSH: pinned host key, key or password login, limits on everything that is awaited.

`connect` gives a `NetconfSession`; `fetch_host_key` is the one way to trust on first use, and only an
operator's explicit act calls it. Nothing is read from `~/.ssh`, no agent is asked, and no secret is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncssh
from lxml import etree

from ems.adapters.netconf import operations
from ems.adapters.netconf.errors import HostKeyChanged, LoginRefused, NoNetconf, ProtocolViolation
from ems.adapters.netconf.exchange import Exchange, Limits, Reply
from ems.domain.device import DeviceAddress, Login
from qmodel.errors import BellweaveError, Invalid, TimedOut, Unavailable

_MOST_HOSTS = 10_000
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""Put first: for asyncssh a packet in AES-GCM is one call of the library, in its default ChaCha20 a dozen."""


@dataclass
class LoginPacer:
    """Lets at most `at_once` logins per SSH server run at a time: a default sshd refuses at random from the
    eleventh unauthenticated connection on (MaxStartups 10:30:100). One per process, made by `app`."""

    at_once: int = 4
    _gates: dict[tuple[str, int], asyncio.Semaphore] = field(default_factory=dict)

    def gate(self, address: DeviceAddress) -> asyncio.Semaphore:
        if len(self._gates) >= _MOST_HOSTS:
            self._gates = {key: gate for key, gate in self._gates.items() if gate.locked()}
        return self._gates.setdefault((address.host, address.port), asyncio.Semaphore(self.at_once))


class _Subsystem(asyncssh.SSHClientSession[bytes]):
    """The SSH channel's callbacks: octets go to the exchange, the end of the channel ends the session."""

    def __init__(self, where: str, limits: Limits, connection: asyncssh.SSHClientConnection) -> None:
        self.exchange = Exchange(self, limits, where=where)
        self._where = where
        self._connection = connection
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None

    def write(self, data: bytes) -> None:
        if self._channel is None or self._channel.is_closing():
            self.exchange.fail(Unavailable("the connection is closed", where=self._where))
            return
        self._channel.write(data)

    def abort(self) -> None:
        self._connection.abort()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is None:  # what a subsystem says on stderr is no NETCONF
            self.exchange.feed(data)

    def eof_received(self) -> bool:
        self.exchange.fail(Unavailable("the device ended the session", where=self._where))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.exchange.fail(Unavailable("the connection to the device was lost", where=self._where))


class NetconfSession:
    """One session; `flight` and `rpc` may be called by several tasks, their RPCs are then pipelined."""

    def __init__(self, connection: asyncssh.SSHClientConnection, exchange: Exchange, limits: Limits) -> None:
        self._connection = connection
        self._exchange = exchange
        self._limits = limits

    @property
    def capabilities(self) -> frozenset[str]:
        return self._exchange.capabilities

    @property
    def session_id(self) -> int:
        return self._exchange.session_id

    @property
    def alive(self) -> bool:
        return self._exchange.broken is None

    @property
    def notifications_lost(self) -> int:
        """How many notifications were dropped because nobody took them from the full queue."""
        return self._exchange.notifications_lost

    async def flight(self, operations: Sequence[bytes], limit_s: float | None = None) -> list[Reply]:
        """All `operations` (the content of each `rpc`) in one write; the answers in order, refusals within.

        Raises `TimedOut` or `Unavailable` if any answer is missing; the session is then over."""
        return await self._exchange.flight(operations, limit_s)

    async def rpc(self, operation: bytes, limit_s: float | None = None) -> Reply:
        """One RPC; raises the device's refusal (`RpcRefused` or a subclass of it)."""
        (reply,) = await self._exchange.flight((operation,), limit_s)
        if reply.refusal is not None:
            raise reply.refusal
        return reply

    async def notification(self) -> etree._Element:
        """The next notification; `Unavailable` once the session is over."""
        return await self._exchange.notification()

    def abandon(self, error: BellweaveError) -> None:
        """Drop the connection at once because of `error`; the device then drops this session's locks."""
        self._exchange.fail(error)

    async def close(self) -> None:
        """End the session politely if the device plays along, within a short limit; never raises."""
        if self.alive:
            with contextlib.suppress(BellweaveError):
                await self._exchange.flight((b"<close-session/>",), self._limits.close_s)
            self._exchange.fail(Unavailable("the session was closed"))
        self._connection.abort()
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(self._limits.close_s):
                await self._connection.wait_closed()


async def connect(address: DeviceAddress, login: Login, limits: Limits, pacer: LoginPacer) -> NetconfSession:
    """Log in, open the subsystem and exchange hellos.

    Raises `HostKeyChanged`, `LoginRefused`, `NoNetconf`, `ProtocolViolation`, or (worth another try)
    `Unavailable` and `TimedOut`.
    """
    where = f"{address.host}:{address.port}"
    pinned = _pinned_key(address.host_key, where)
    async with pacer.gate(address):
        connection = await _log_in(address, login, limits, pinned, where)
    subsystem = _Subsystem(where, limits, connection)
    try:
        async with asyncio.timeout(limits.login_s):
            await connection.create_session(lambda: subsystem, subsystem="netconf", encoding=None)
        await subsystem.exchange.greet()
        await wake(subsystem.exchange, limits)
    except BaseException as error:
        connection.abort()
        raise _translated(error, where) from None
    return NetconfSession(connection, subsystem.exchange, limits)


async def fetch_host_key(host: str, port: int, limit_s: float) -> str:
    """The key that the SSH server at `host` holds now, unverified, as an OpenSSH public key line.

    For an operator who adds a device and compares the fingerprint; a session never trusts on its own."""
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(limit_s):
            key = await asyncssh.get_server_host_key(host, port, config=None)
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise _translated(error, where) from None
    if key is None:
        raise ProtocolViolation("the SSH server showed no host key", where=where)
    return key.export_public_key("openssh").decode("ascii").strip()


async def wake(exchange: Exchange, limits: Limits) -> None:
    """Ask for nothing, and once more if no answer comes soon.

    A server that reads our hello and the first RPC in one go may leave the RPC lying in its buffer until the
    next octets arrive. This way it is never an RPC that matters which lies there.
    """
    first = asyncio.ensure_future(exchange.flight((operations.NOTHING,), limits.hello_s))
    try:
        done, _ = await asyncio.wait((first,), timeout=limits.nudge_s)
        if done:
            await first
        else:
            await asyncio.gather(first, exchange.flight((operations.NOTHING,), limits.hello_s))
    finally:
        first.cancel()


async def _log_in(
    address: DeviceAddress,
    login: Login,
    limits: Limits,
    pinned: asyncssh.SSHKey,
    where: str,
) -> asyncssh.SSHClientConnection:
    try:
        keys = [asyncssh.import_private_key(login.private_key)] if login.private_key else []
    except asyncssh.KeyImportError:
        raise Invalid("the private key for this device cannot be read", where=where) from None
    try:
        async with asyncio.timeout(limits.login_s):
            return await asyncssh.connect(
                address.host,
                address.port,
                username=login.user,
                password=login.password,
                client_keys=keys or None,
                known_hosts=([pinned], [], []),
                config=None,
                agent_path=None,
                gss_host=None,
                x509_trusted_certs=None,
                preferred_auth="publickey" if keys else "password,keyboard-interactive",
                encryption_algs=_CIPHERS,
                compression_algs=["none"],
                keepalive_interval=limits.keepalive_s,
                keepalive_count_max=2,
            )
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise _translated(error, where) from None


def _translated(error: BaseException, where: str) -> BaseException:
    """asyncssh's and the system's errors as ours; anything else as it is."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return HostKeyChanged("the device does not show the pinned host key", where=where)
    if isinstance(error, asyncssh.PermissionDenied):
        return LoginRefused("the device refused the login", where=where)
    if isinstance(error, asyncssh.ChannelOpenError):
        return NoNetconf("the device offers no netconf subsystem", where=where)
    if isinstance(error, TimeoutError):
        return TimedOut("the device did not answer the login in time", where=where)
    if isinstance(error, OSError | asyncssh.Error):
        return Unavailable("the device cannot be reached", where=where, reason=str(error)[:200])
    return error


def _pinned_key(host_key: str, where: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(host_key)
    except asyncssh.KeyImportError:
        raise Invalid("the pinned host key cannot be read", where=where) from None
