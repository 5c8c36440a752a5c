"""What the BMS is told from its environment, besides what every service has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from qkit.settings import ServiceSettings, Token


class BmsSettings(ServiceSettings):
    """`sms_instances` are those whose usage is billed here and who may ask for quota."""

    service: Token = "bms"
    sms_instances: Annotated[tuple[Token, ...], NoDecode] = Field(
        default=("main",), description="separated by commas: main"
    )

    @field_validator("sms_instances", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("sms_instances")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name each SMS instance once, at least one")
        return value
