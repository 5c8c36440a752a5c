"""Logging in: where the password comes from, where the token goes, and what is refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

ENDPOINT = {"token_endpoint": "http://127.0.0.1:1000/token"}


@pytest.fixture
def issuing(bench: Any, make_token: Any) -> Any:
    bench.answers["GET issuer/.well-known/openid-configuration"] = ENDPOINT
    bench.answers["POST issuer/token"] = {
        "access_token": make_token("tenant", tenant="acme"),
        "expires_in": 3600,
    }
    return bench


def session_file(bench: Any) -> Path:
    return Path(bench.home) / "home" / "session.json"


def form_of(request: httpx.Request) -> dict[str, list[str]]:
    return parse_qs(request.content.decode())


def test_a_local_stacks_user_needs_no_password(issuing: Any) -> None:
    assert issuing.run("login", "acme-admin") == 0
    assert "acme-admin (tenant of acme)" in issuing.out
    form = form_of(issuing.requests[-1])
    assert (form["grant_type"], form["username"], form["password"]) == (
        ["password"],
        ["acme-admin"],
        ["s3cret"],
    )


def test_the_token_is_kept_for_its_owner_only_and_the_password_not_at_all(issuing: Any) -> None:
    issuing.run("login", "acme-admin")
    assert stat.S_IMODE(session_file(issuing).stat().st_mode) == 0o600
    assert stat.S_IMODE(session_file(issuing).parent.stat().st_mode) == 0o700
    assert "s3cret" not in session_file(issuing).read_text()


def test_neither_token_nor_password_is_shown(issuing: Any) -> None:
    shown = issuing.json("login", "acme-admin")
    assert shown["roles"] == ["tenant"]
    assert "s3cret" not in issuing.out
    assert issuing.answers["POST issuer/token"]["access_token"] not in issuing.out


def test_a_local_stacks_password_is_not_sent_to_another_issuer(issuing: Any) -> None:
    status = issuing.run("login", "acme-admin", "--issuer", "https://elsewhere.test", "--json")
    assert status == 1
    assert json.loads(issuing.err)["detail"] == "no password for acme-admin"
    assert issuing.requests == []


def test_a_client_logs_in_as_itself(issuing: Any) -> None:
    issuing.environment["BELLWEAVE_CLIENT_SECRET"] = "cs"
    assert issuing.run("login", "--client-secret", "cs", "--client-id", "robot") == 0
    assert form_of(issuing.requests[-1]) == {
        "grant_type": ["client_credentials"],
        "client_id": ["robot"],
        "client_secret": ["cs"],
    }


def test_passwords_do_not_travel_in_the_clear(issuing: Any) -> None:
    assert issuing.run("login", "x", "--password", "p", "--issuer", "http://192.0.2.1") == 1
    assert "unencrypted" in issuing.err
    assert issuing.requests == []


def test_a_refused_login_says_why_and_keeps_nothing(issuing: Any) -> None:
    refused = {"error": "invalid_grant", "error_description": "wrong name or password"}
    issuing.answers["POST issuer/token"] = httpx.Response(400, json=refused)
    assert issuing.run("login", "acme-admin", "--password", "no") == 1
    assert "wrong name or password" in issuing.err
    assert not session_file(issuing).exists()


def test_without_a_name_the_command_line_is_wrong(issuing: Any) -> None:
    assert issuing.run("login") == 2


def test_an_issuer_that_does_not_answer_is_unreachable(issuing: Any) -> None:
    issuing.answers["GET issuer/.well-known/openid-configuration"] = httpx.ConnectError("refused")
    assert issuing.run("login", "acme-admin") == 3


def test_nobody_is_logged_in_before_the_first_login_or_after_logging_out(issuing: Any) -> None:
    assert issuing.run("orders") == 1
    assert "bellweave login" in issuing.err
    issuing.run("login", "acme-admin")
    assert issuing.json("whoami")["user"] == "acme-admin"
    assert issuing.json("logout") == {"logged_in": False}
    assert issuing.run("whoami") == 1


def test_an_expired_login_says_so_before_asking_anybody(issuing: Any) -> None:
    issuing.run("login", "acme-admin")
    kept = json.loads(session_file(issuing).read_text())
    session_file(issuing).write_text(json.dumps({**kept, "expires_at_s": 999.0}))
    issuing.requests.clear()
    assert issuing.run("orders") == 1
    assert "expired" in issuing.err
    assert issuing.requests == []
