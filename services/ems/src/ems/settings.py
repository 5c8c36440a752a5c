"""What an EMS instance is told from its environment, besides what every service has."""

from __future__ import annotations

from pydantic import Field, SecretStr

from qkit.settings import ServiceSettings


class EmsSettings(ServiceSettings):
    """Times are real time in seconds."""

    service: str = "ems"
    poll_s: float = Field(default=1.0, gt=0.05, le=3600, description="how often an element's state is read")
    login_limit_s: float = Field(default=10.0, gt=0, description="TCP, SSH and hello together")
    rpc_limit_s: float = Field(default=10.0, gt=0, description="one flight of RPCs to one device")
    devices_at_once: int = Field(default=64, ge=1, description="devices worked on at the same time")
    audit_s: float = Field(default=300.0, ge=1, description="a device's configuration is compared as often")
    unreachable_after_s: float = Field(default=10.0, gt=0, description="silence before a heartbeat alarm")
    credentials_key: SecretStr | None = Field(
        default=None, description="Fernet key for device credentials; made in the state directory if absent"
    )
