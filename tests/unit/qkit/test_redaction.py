"""What a log line may hold: the event, never a secret, in whatever shape it comes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from qkit.telemetry import redact

SECRET = "hunter2-hunter2-hunter2"
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def written(**entry: Any) -> str:
    return str(redact(None, "info", entry))


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "nats_password",
        "passwords",
        "password_hash",
        "token",
        "access_token",
        "Authorization",
        "client_secret",
        "private_key",
        "cookie",
        "api_key",
        "apikey",
        "passphrase",
        "credentials",
    ],
)
def test_a_value_under_a_telling_name_is_not_written(name: str) -> None:
    assert SECRET not in written(**{name: SECRET})
    assert SECRET not in written(detail={"inner": [{name: SECRET}]})


@pytest.mark.parametrize(
    "text",
    [
        f"connect failed: password={SECRET} host=x",
        f"password: {SECRET}",
        f"{{'password': '{SECRET}', 'user': 'x'}}",
        f'{{"nats_password": "{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f"authorization=Basic {SECRET}",
        f"sent bearer {SECRET} to it",
        f"GET /x?token={SECRET}&y=1",
        f"postgresql://sms:{SECRET}@host/db",
        f"redis://:{SECRET}@host:6379",
        f"nats://user:{SECRET}@with-an-at@host",
    ],
)
def test_a_secret_inside_a_text_is_not_written(text: str) -> None:
    for shape in (text, [text], {"a": (text,)}, {text}, OSError(text), text.encode()):
        assert SECRET not in written(event=shape)


def test_a_token_is_not_written_even_where_nothing_announces_it() -> None:
    assert TOKEN not in written(event=f"bad token ({TOKEN})")
    assert TOKEN not in written(event=TOKEN)


def test_what_is_no_secret_is_written_as_it_is() -> None:
    entry = {
        "event": "order ord_1 is at http://127.0.0.1:8001/api/v1/orders",
        "key": "ord_1",
        "ms": 1.5,
        "ok": True,
        "nothing": None,
        "places": ["alice", "bob"],
        "note": "a token of thanks",
        "basic": "a bearer of news",
    }
    assert redact(None, "info", dict(entry)) == entry


def test_a_settings_secret_shows_stars() -> None:
    assert SECRET not in written(event=SecretStr(SECRET), settings={"url": SecretStr(SECRET)})
