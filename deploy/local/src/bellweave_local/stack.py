"""Turns a deployment and a state directory into the parts of a running stack. Called by the supervisor only.

Every address, port and secret is decided here, and nothing is started. Here also a server elsewhere replaces
an embedded one: an address in BELLWEAVE_DATABASE_ADMIN_URL, BELLWEAVE_NATS_URL, BELLWEAVE_REDIS_URL or
BELLWEAVE_OIDC_ISSUER is used as it is.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bellweave_local.deployment import Deployment, Instance
from bellweave_local.issuer.store import AUDIENCE, CLIENT_ID, LOCAL_ACCOUNTS, write_accounts
from bellweave_local.parts import Elsewhere, EmulatorPart, HttpPart, Part, ServerPart
from bellweave_local.servers import NatsServer, NatsUser, PostgresServer, RedisServer
from bellweave_local.servers.base import script
from bellweave_local.servers.postgres import postgres_home
from bellweave_local.state import (
    BusUser,
    ClockStatus,
    DatabaseStatus,
    IssuerStatus,
    StateDir,
    UserStatus,
    write_private,
)
from qkit.migrations import ROLES, prepare_database
from qkit.streams import ensure_streams
from qkit.wiring import nats_permissions, peers_of
from qmodel.errors import Invalid, Unavailable

BUS_ADMIN = "admin"
FOUNDATION = ("postgres", "nats")
"""What must have settled before a service's first start; everything else a service waits for by itself."""


@dataclass
class Stack:
    """The parts in the order in which people read them, and what the status document tells beside them.
    `databases` fills once PostgreSQL has settled."""

    clock: ClockStatus
    parts: list[Part | Elsewhere] = field(default_factory=list)
    databases: dict[str, DatabaseStatus] = field(default_factory=dict)
    bus_users: dict[str, BusUser] = field(default_factory=dict)
    issuer: IssuerStatus | None = None

    @property
    def apis(self) -> dict[str, str]:
        return {part.name: f"{part.address}/api/v1" for part in self.parts if part.kind == "service"}

    @property
    def emulator(self) -> EmulatorPart | None:
        return next((part for part in self.parts if isinstance(part, EmulatorPart)), None)


def build_stack(deployment: Deployment, state: StateDir, environment: Mapping[str, str]) -> Stack:
    """`environment` is read for the addresses of servers elsewhere. Raises Invalid for one that is no URL."""
    clock = ClockStatus(origin_s=state.clock_origin_s(time.time()), scale=deployment.clock_scale)
    builder = _Builder(deployment, state, Stack(clock))
    builder.add_postgres(environment.get("BELLWEAVE_DATABASE_ADMIN_URL"))
    builder.add_bus(environment.get("BELLWEAVE_NATS_URL"))
    builder.add_cache(environment.get("BELLWEAVE_REDIS_URL"))
    builder.add_issuer(environment.get("BELLWEAVE_OIDC_ISSUER"))
    if deployment.emulator:
        builder.add_emulator()
    for instance in deployment.instances:
        builder.add_service(instance)
    return builder.stack


class _Builder:
    def __init__(self, deployment: Deployment, state: StateDir, stack: Stack) -> None:
        self.deployment = deployment
        self.state = state
        self.stack = stack
        self._shared = {
            "BELLWEAVE_HTTP_HOST": "127.0.0.1",
            "BELLWEAVE_OIDC_AUDIENCE": AUDIENCE,
            "BELLWEAVE_CLOCK_ORIGIN_S": repr(stack.clock.origin_s),
            "BELLWEAVE_CLOCK_SCALE": repr(stack.clock.scale),
        }

    def add_postgres(self, elsewhere: str | None) -> None:
        if elsewhere is None:
            server = PostgresServer(postgres_home(self.state.root, self.state.secret("postgres-home")))

        async def settle() -> None:
            admin_url = elsewhere or server.url()
            await asyncio.gather(*(self._prepare(admin_url, one) for one in self.deployment.instances))

        if elsewhere is None:
            self.stack.parts.append(ServerPart("postgres", server, server.address, settle))
        else:
            self.stack.parts.append(Elsewhere("postgres", _without_login(elsewhere), settle=settle))

    async def _prepare(self, admin_url: str, instance: Instance) -> None:
        passwords = {role: self.state.secret(f"database/{instance.name}/{role}") for role in ROLES}
        try:
            urls = await prepare_database(admin_url, instance.database, passwords)
        except psycopg.Error as error:
            raise Unavailable(f"PostgreSQL would not make {instance.database}: {error}") from error
        self.stack.databases[instance.name] = DatabaseStatus(
            owner=urls.owner, api=urls.api, worker=urls.worker
        )

    def add_bus(self, elsewhere: str | None) -> None:
        """A bus elsewhere brings its own users: the one in its URL must be allowed everything."""
        wiring = self.deployment.wiring
        names = [instance.name for instance in self.deployment.instances]
        if elsewhere is None:
            admin = BusUser(name=BUS_ADMIN, password=self.state.secret(f"bus/{BUS_ADMIN}"))
            users = {name: BusUser(name=name, password=self.state.secret(f"bus/{name}")) for name in names}
        else:
            login = urlsplit(elsewhere)
            admin = BusUser(name=unquote(login.username or ""), password=unquote(login.password or ""))
            users = dict.fromkeys(names, admin)
        self.stack.bus_users = {BUS_ADMIN: admin, **users}
        permitted = [NatsUser(admin.name, admin.password, publish=(">",), subscribe=(">",))]
        for name, user in users.items():
            rights = nats_permissions(wiring, name)
            permitted.append(
                NatsUser(user.name, user.password, rights.publish, rights.subscribe, rights.allow_responses)
            )
        server = NatsServer(
            self.state.root / "nats", users=permitted, port=self.state.port("nats"), durable=True
        )
        url = _without_login(elsewhere) if elsewhere else server.url

        async def settle() -> None:
            await ensure_streams(url, admin.name, admin.password, wiring)

        self._shared["BELLWEAVE_NATS_URL"] = url
        if elsewhere is None:
            self.stack.parts.append(ServerPart("nats", server, lambda: url, settle))
        else:
            self.stack.parts.append(Elsewhere("nats", url, settle=settle))

    def add_cache(self, elsewhere: str | None) -> None:
        server = RedisServer(self.state.root / "redis")
        self._shared["BELLWEAVE_REDIS_URL"] = elsewhere or server.url
        if elsewhere is None:
            self.stack.parts.append(ServerPart("redis", server, lambda: server.url))
        else:
            self.stack.parts.append(Elsewhere("redis", _without_login(elsewhere)))

    def add_issuer(self, elsewhere: str | None) -> None:
        if elsewhere is not None:
            self._shared["BELLWEAVE_OIDC_ISSUER"] = elsewhere
            self.stack.parts.append(Elsewhere("issuer", elsewhere, kind="issuer"))
            return
        home = self.state.private("issuer")
        passwords = {account.name: self.state.secret(f"user/{account.name}") for account in LOCAL_ACCOUNTS}
        if not (home / "users.json").exists():
            write_accounts(home, passwords)
        port = self.state.port("issuer")
        part = HttpPart(
            name="issuer",
            kind="issuer",
            argv=(sys.executable, "-m", "bellweave_local.issuer", str(home), str(port)),
            log=self.state.log("issuer"),
            home=home,
            port_number=port,
            ready_path="/.well-known/openid-configuration",
        )
        self._shared["BELLWEAVE_OIDC_ISSUER"] = part.address
        self.stack.parts.append(part)
        self.stack.issuer = IssuerStatus(
            url=part.address,
            token_endpoint=f"{part.address}/token",
            audience=AUDIENCE,
            client_id=CLIENT_ID,
            users=[
                UserStatus(
                    name=one.name, password=passwords[one.name], tenant=one.tenant, roles=list(one.roles)
                )
                for one in LOCAL_ACCOUNTS
            ],
        )

    def add_emulator(self) -> None:
        home = self.state.private("emulator")
        private_key = element_login(self.state.private("element-login"))
        topologies = [part for path in self.deployment.topologies for part in ("--topology", str(path))]
        clock = (
            "--clock-origin",
            repr(self.stack.clock.origin_s),
            "--clock-scale",
            repr(self.stack.clock.scale),
        )
        authorized = ("--authorized-key", str(private_key.with_suffix(".pub")))
        self.stack.parts.append(
            EmulatorPart(
                home=home,
                argv=(
                    str(script("bellweave-element")),
                    "network",
                    *topologies,
                    "--state",
                    str(home),
                    *clock,
                    *authorized,
                ),
                log=self.state.log("emulator"),
                private_key=private_key,
            )
        )

    def add_service(self, instance: Instance) -> None:
        home = self.state.private("services", instance.name)
        user = self.stack.bus_users[instance.name]
        port = self.state.port(instance.name)
        settings = {
            **self._shared,
            "BELLWEAVE_SERVICE": instance.service,
            "BELLWEAVE_INSTANCE": instance.instance,
            "BELLWEAVE_HTTP_PORT": str(port),
            "BELLWEAVE_NATS_USER": user.name,
            "BELLWEAVE_NATS_PASSWORD": user.password,
            **neighbours(peers_of(self.deployment.wiring, instance.name)),
            "BELLWEAVE_STATE_DIR": str(home),
            **instance.settings,
        }

        def environment() -> dict[str, str]:
            database = self.stack.databases[instance.name]
            return {
                **settings,
                "BELLWEAVE_DATABASE_URL": database.owner,
                "BELLWEAVE_DATABASE_API_URL": database.api,
                "BELLWEAVE_DATABASE_WORKER_URL": database.worker,
            }

        command = instance.command or ("{python}", "-m", instance.service)
        self.stack.parts.append(
            HttpPart(
                name=instance.name,
                kind="service",
                argv=tuple(sys.executable if part == "{python}" else part for part in command),
                log=self.state.log(instance.name),
                home=home,
                port_number=port,
                ready_path="/readyz",
                environment=environment,
                needs=FOUNDATION,
            )
        )


def neighbours(peers: Sequence[str]) -> dict[str, str]:
    """How a service is told whom it works with: `BELLWEAVE_NMS_INSTANCES=north,south`, and for those who
    have but one such neighbour `BELLWEAVE_BMS_INSTANCE=main`."""
    told: dict[str, str] = {}
    for service in sorted({peer.partition(".")[0] for peer in peers}):
        names = [peer.partition(".")[2] for peer in peers if peer.startswith(f"{service}.")]
        told[f"BELLWEAVE_{service.upper()}_INSTANCES"] = ",".join(names)
        if len(names) == 1:
            told[f"BELLWEAVE_{service.upper()}_INSTANCE"] = names[0]
    return told


def element_login(directory: Path) -> Path:
    """The key with which the EMSs log in to the emulated devices, made once; beside it the public half."""
    path = directory / "id_ed25519"
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        write_private(path.with_suffix(".pub"), f"{public} bellweave\n")
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    return path


def _without_login(url: str) -> str:
    """The URL without user and password, fit to be shown. Raises Invalid when it is no URL."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise Invalid("an address in the settings must be a URL, such as nats://host:4222")
    authority = rest.partition("/")[0]
    return f"{scheme}://{rest[authority.rfind('@') + 1 :]}"
