"""What the SMS is told from its environment, besides what every service has.

Which NMS speaks for which operator it learns from them: the setting only names the instances to ask.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from qkit.settings import ServiceSettings, Token


class SmsSettings(ServiceSettings):
    """Times are real time in seconds."""

    service: Token = "sms"
    nms_instances: Annotated[tuple[Token, ...], NoDecode] = Field(
        description="one per operator, separated by commas: north,south"
    )
    bms_instance: Token = "main"
    order_limit_s: float = Field(default=120.0, gt=0, description="until an order must be committed")
    order_attempts: int = Field(default=5, ge=1, le=100, description="commits that may fail in passing")
    order_concurrency: int = Field(default=16, ge=1, le=256, description="orders carried on at once")
    confirm_timeout_s: float = Field(default=60.0, ge=10, description="confirm window of devices")
    sites_ttl_s: float = Field(default=30.0, gt=0, description="how long an NMS's sites count as fresh")
    max_streams: int = Field(default=200, ge=1, description="event streams open at once")

    @field_validator("nms_instances", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("nms_instances")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name each NMS instance once, at least one")
        return value
