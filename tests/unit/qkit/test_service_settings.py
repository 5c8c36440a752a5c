"""Settings: from the environment, checked, frozen, and mute about secrets."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from qkit.settings import ServiceSettings

GIVEN = {
    "service": "nms",
    "instance": "north",
    "database_url": "postgresql://owner:s3same@h/d",
    "database_api_url": "postgresql://api:s3same@h/d",
    "database_worker_url": "postgresql://worker:s3same@h/d",
    "nats_user": "nms.north",
    "nats_password": "s3same",
    "redis_url": "redis://:s3same@h",
    "oidc_issuer": "https://issuer.test",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GIVEN.items():
        monkeypatch.setenv(f"BELLWEAVE_{name.upper()}", value)
    return monkeypatch


def test_the_environment_gives_name_and_limits(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("BELLWEAVE_CLOCK_SCALE", "60")
    environment.setenv("BELLWEAVE_SOMETHING_ELSE", "ignored")
    settings = ServiceSettings()
    assert settings.name == "nms.north"
    assert settings.max_body_bytes == 1_000_000
    assert settings.clock.scale == 60


def test_no_secret_shows(environment: pytest.MonkeyPatch) -> None:
    settings = ServiceSettings()
    assert "s3same" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.nats_password.get_secret_value() == "s3same"
    environment.setenv("BELLWEAVE_HTTP_PORT", "s3same")
    environment.setenv("BELLWEAVE_REPLICA", "S3SAME")
    with pytest.raises(ValidationError) as refused:
        ServiceSettings()
    assert "s3same" not in str(refused.value).lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INSTANCE", "north.*"),
        ("INSTANCE", "a.b"),
        ("SERVICE", ">"),
        ("SERVICE", ""),
        ("REPLICA", "0/1"),
        ("HTTP_PORT", "70000"),
        ("CLOCK_SCALE", "0"),
        ("LEASE_TTL_S", "-1"),
        ("MAX_BODY_BYTES", "10"),
        ("DATABASE_POOL_SIZE", "0"),
        ("LOG_LEVEL", "verbose"),
    ],
)
def test_what_makes_no_sense_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"BELLWEAVE_{name}", value)
    with pytest.raises(ValidationError):
        ServiceSettings()


@pytest.mark.parametrize("name", sorted(set(GIVEN) - {"instance", "redis_url"}))
def test_what_has_no_default_must_be_given(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(f"BELLWEAVE_{name.upper()}")
    with pytest.raises(ValidationError, match=name):
        ServiceSettings()


def test_settings_do_not_change(environment: pytest.MonkeyPatch) -> None:
    settings = ServiceSettings()
    with pytest.raises(ValidationError):
        settings.http_port = 1  # type: ignore[misc]
