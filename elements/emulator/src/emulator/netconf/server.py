"""The SSH server of one element: who may come in, how many at a time, and where it listens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import asyncssh

from emulator.netconf.device import Device
from emulator.netconf.session import NetconfSession, SessionLimits


@dataclass(frozen=True)
class Access:
    """Key authentication only: `user` with one of `keys`. Everybody else is refused."""

    user: str
    keys: frozenset[bytes]
    """Public keys as SSH encodes them (`SSHKey.public_data`)."""

    def allows(self, user: str, key: asyncssh.SSHKey) -> bool:
        return user == self.user and key.public_data in self.keys


@dataclass(frozen=True)
class ServerLimits:
    """Connections that have not authenticated yet, connections, and sessions of one element."""

    startups: int = 10
    connections: int = 64
    login_s: float = 10.0
    session: SessionLimits = field(default_factory=SessionLimits)


class NetconfServer:
    """Listens for one device."""

    def __init__(
        self, device: Device, host_key: asyncssh.SSHKey, access: Access, limits: ServerLimits
    ) -> None:
        self.device = device
        self.access = access
        self.limits = limits
        self.starting = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._host_key = host_key
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens at `host`; port 0 takes a free one. Returns the port. Raises OSError if it is taken."""
        options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: _Gate(self),
            server_host_keys=[self._host_key],
            public_key_auth=True,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            compression_algs=["none"],
            login_timeout=self.limits.login_s,
            server_version="bellweave",
        )
        self._acceptor = await asyncssh.listen(host, port, options=options, encoding=None, reuse_address=True)
        return int(self._acceptor.get_port())

    async def close(self) -> None:
        """Stops listening and ends all sessions; returns when they have ended."""
        if self._acceptor is not None:
            self._acceptor.close()
        for session in list(self.device.sessions.values()):
            await session.end("other")
        for connection in list(self.connections):
            connection.abort()
        if self._acceptor is not None:
            await self._acceptor.wait_closed()
        await asyncio.sleep(0)


class _Gate(asyncssh.SSHServer):
    """One connection: authenticates it and lets it open NETCONF sessions, nothing else."""

    def __init__(self, server: NetconfServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._starting = False
        self._user = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        server = self._server
        self._connection = conn
        if server.starting >= server.limits.startups or len(server.connections) >= server.limits.connections:
            conn.abort()
            return
        self._starting = True
        server.starting += 1
        server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._started()
        if self._connection is not None:
            self._server.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._user = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._server.access.allows(username, key)

    def auth_completed(self) -> None:
        self._started()

    def session_requested(self) -> NetconfSession:
        assert self._connection is not None
        peer = self._connection.get_extra_info("peername") or ("127.0.0.1",)
        return NetconfSession(
            self._server.device,
            self._user,
            str(peer[0]),
            self._server.limits.session,
            self._connection.close,
        )

    def _started(self) -> None:
        if self._starting:
            self._starting = False
            self._server.starting -= 1
