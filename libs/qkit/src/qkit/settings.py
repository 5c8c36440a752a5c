"""Settings that every service has, read once from the environment (`BELLWEAVE_*`), validated and frozen.

A service subclasses `ServiceSettings` for what is its own. Nothing here is read again after the start, and
no secret shows in `repr`, logs or validation errors.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from qmodel.clock import DomainClock

Token = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""One token of a subject: no dots, no wildcards."""


class ServiceSettings(BaseSettings):
    """Addresses may be URLs or libpq connection strings; `http_port` 0 lets the system choose."""

    model_config = SettingsConfigDict(
        env_prefix="BELLWEAVE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    service: Token
    instance: Token = "main"
    replica: Token = Field(
        default="0", description="tells replicas of one instance apart; holder of the lease"
    )
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    database_url: SecretStr = Field(description="role owner: migrations only")
    database_api_url: SecretStr
    database_worker_url: SecretStr
    database_pool_size: int = Field(default=4, ge=1, le=100, description="per role")
    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str
    nats_password: SecretStr
    redis_url: SecretStr | None = None
    oidc_issuer: str
    oidc_audience: str = "bellweave"
    clock_origin_s: float = 0.0
    clock_scale: float = Field(default=1.0, gt=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    request_timeout_s: float = Field(default=30.0, gt=0, description="of one HTTP request, until it answers")
    lease_ttl_s: float = Field(default=10.0, gt=0)
    event_keep_days: float = Field(default=7.0, gt=0, description="how long an outbox can be replayed")
    state_dir: Path | None = Field(default=None, description="a directory for this process's own files")

    @property
    def name(self) -> str:
        """Name of this instance on the bus, such as `nms.north`."""
        return f"{self.service}.{self.instance}"

    @property
    def clock(self) -> DomainClock:
        """The scaled clock of devices, usage and passes. Leases, limits and tokens never use it."""
        return DomainClock(origin_s=self.clock_origin_s, scale=self.clock_scale, real_now_s=time.time)
