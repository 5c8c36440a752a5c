"""The issuer's doors: OIDC discovery, the key set, and the token endpoint (RFC 6749, password grant)."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qs

import jwt
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from bellweave_local.issuer.store import AUDIENCE, CLIENT_ID, Account, Accounts, SigningKey
from qmodel.ids import new_id

TOKEN_LIFE_S = 3600
MAX_FORM_BYTES = 10_000
MAX_CHECKS_AT_ONCE = 2  # each takes 16 MiB
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Refused(Exception):
    """An error of the token endpoint by its name in RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


def make_app(issuer_url: str, accounts: Accounts, key: SigningKey) -> FastAPI:
    app = FastAPI(title="Bellweave local issuer", docs_url=None, redoc_url=None)
    checks = asyncio.Semaphore(MAX_CHECKS_AT_ONCE)

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, Any]:
        return {
            "issuer": issuer_url,
            "token_endpoint": f"{issuer_url}/token",
            "jwks_uri": f"{issuer_url}/jwks.json",
            "grant_types_supported": ["password"],
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["none"],
        }

    @app.get("/jwks.json")
    async def key_set() -> dict[str, Any]:
        return {"keys": [key.jwk()]}

    @app.post("/token")
    async def token(request: Request) -> JSONResponse:
        form = await read_form(request)
        if form.get("grant_type") != "password":
            raise Refused("unsupported_grant_type", "only the grant type 'password' is offered")
        if form.get("client_id") != CLIENT_ID:
            raise Refused("invalid_client", f"client_id must be {CLIENT_ID!r}", status=401)
        async with checks:
            account = await asyncio.to_thread(
                accounts.check, form.get("username", ""), form.get("password", "")
            )
        if account is None:
            raise Refused("invalid_grant", "unknown user or wrong password")
        answer = {
            "access_token": sign(key, claims(issuer_url, account, int(time.time()))),
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFE_S,
        }
        return JSONResponse(answer, headers=NO_STORE)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        body = {"error": error.error, "error_description": error.description}
        return JSONResponse(body, status_code=error.status, headers=NO_STORE)

    return app


def claims(issuer_url: str, account: Account, now_s: int) -> dict[str, Any]:
    """What a token says about an account, from `now_s` (real seconds since 1970) for an hour."""
    said: dict[str, Any] = {
        "iss": issuer_url,
        "aud": AUDIENCE,
        "sub": account.name,
        "roles": list(account.roles),
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + TOKEN_LIFE_S,
        "jti": new_id("tok"),
    }
    if account.tenant is not None:
        said["tenant"] = account.tenant
    return said


def sign(key: SigningKey, said: dict[str, Any]) -> str:
    return jwt.encode(said, key.private, algorithm="ES256", headers={"kid": key.key_id})


async def read_form(request: Request) -> dict[str, str]:
    """The form's fields. Raises Refused when it is too large, no form, or names a field twice."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise Refused("invalid_request", f"the form exceeds {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise Refused("invalid_request", "the body is not a form") from None
    if any(len(values) > 1 for values in fields.values()):
        raise Refused("invalid_request", "a field occurs twice")
    return {name: values[0] for name, values in fields.items()}
