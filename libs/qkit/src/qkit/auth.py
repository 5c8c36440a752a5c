"""Who is calling: bearer JWTs of an OIDC issuer, verified by every service itself; deny by default.

`Verifier` checks tokens against the issuer's published keys; `require` is the FastAPI dependency by which a
route says who may call it. `qkit.http.make_app` refuses a route that says nothing. Tokens are never logged.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
from fastapi import Request

from qmodel.errors import Forbidden, Invalid, Unauthenticated, Unavailable

ROLES = frozenset({"tenant", "operator", "billing", "auditor"})
_ALGORITHMS = ("ES256", "EdDSA", "RS256")
_LEEWAY_S = 5.0
_FETCH_LIMIT_S = 5.0
_KEYS_AGE_S = 3600.0
_REFRESH_EVERY_S = 10.0
_RETRY_EVERY_S = 1.0
_MAX_TOKEN = 8192
_MAX_DOCUMENT = 256 * 1024


@dataclass(frozen=True)
class Principal:
    """A caller: `tenant` is None for operators and other staff."""

    subject: str
    tenant: str | None
    roles: frozenset[str]

    def has(self, role: str) -> bool:
        return role in self.roles

    def tenant_or_forbidden(self) -> str:
        """The tenant. Raises Forbidden for a caller that has none."""
        if self.tenant is None:
            raise Forbidden("this needs the token of a tenant")
        return self.tenant


class Verifier:
    """Keys are fetched once and kept an hour; a token with an unknown key fetches them again, at most every
    ten seconds. An issuer that does not answer is asked again after a second, whoever knocks meanwhile.

    Raises Invalid for an issuer that is neither https nor on this machine: its keys could be forged.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        http: httpx.AsyncClient | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _is_safe(issuer):
            raise Invalid("the issuer is an https address, or on this machine", where="oidc_issuer")
        self._issuer = issuer
        self._audience = audience
        self._http = http or httpx.AsyncClient(timeout=_FETCH_LIMIT_S)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._now_s = now_s
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        await self._http.aclose()

    async def verify(self, token: str) -> Principal:
        """The caller that the token names.

        Raises Unauthenticated for a token that is malformed, expired, foreign or not signed by the issuer;
        Unavailable when the issuer's keys cannot be had.
        """
        if len(token) > _MAX_TOKEN:
            raise Unauthenticated("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Unauthenticated("the token is not a JWT") from None
        if header.get("alg") not in _ALGORITHMS:
            raise Unauthenticated("the token is not signed by an algorithm that is accepted")
        key = await self._key(str(header.get("kid", "")))
        if key.algorithm_name != header["alg"]:
            raise Unauthenticated("the token is not signed as its key is meant to")
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired: log in again") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid here: {error}") from None
        return _principal(claims)

    async def _key(self, kid: str) -> jwt.PyJWK:
        age_s = self._now_s() - self._fetched
        if kid not in self._keys or age_s > _KEYS_AGE_S:
            async with self._lock:
                age_s = self._now_s() - self._fetched
                if age_s > (_REFRESH_EVERY_S if kid not in self._keys else _KEYS_AGE_S):
                    await self._fetch()
        try:
            return self._keys[kid]
        except KeyError:
            raise Unauthenticated("the token is signed by a key that the issuer does not publish") from None

    async def _fetch(self) -> None:
        try:
            if self._now_s() - self._tried < _RETRY_EVERY_S:
                raise ValueError("it did not answer a moment ago")
            self._tried = self._now_s()
            found = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found["issuer"] != self._issuer:
                raise ValueError("it says it is another issuer")
            if not _is_safe(str(found["jwks_uri"])):
                raise ValueError("its keys are not behind https")
            keys = jwt.PyJWKSet.from_dict(await self._get(str(found["jwks_uri"])))
        except (httpx.HTTPError, KeyError, ValueError, TimeoutError, jwt.PyJWTError) as error:
            if self._keys:
                return  # old keys are better than none; a key that was withdrawn ends with its tokens
            raise Unavailable("the issuer of tokens cannot be reached", retry_after_s=2.0) from error
        self._keys = {key.key_id or "": key for key in keys.keys}
        self._fetched = self._now_s()

    async def _get(self, url: str) -> dict[str, Any]:
        async with asyncio.timeout(_FETCH_LIMIT_S), self._http.stream("GET", url) as answer:
            answer.raise_for_status()
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MAX_DOCUMENT:
                    raise ValueError("its document is too large")
        return dict(json.loads(body))


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can put other keys in place."""
    parsed = httpx.URL(url)
    return parsed.scheme == "https" or parsed.host in ("localhost", "127.0.0.1", "::1")


def _principal(claims: dict[str, Any]) -> Principal:
    roles = claims.get("roles")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise Unauthenticated("the token names no roles")
    tenant = claims.get("tenant")
    if tenant is not None and (not isinstance(tenant, str) or not tenant):
        raise Unauthenticated("the token's tenant is not a name")
    return Principal(str(claims["sub"]), tenant, frozenset(roles) & ROLES)


Dependency = Callable[[Request], Awaitable[Principal]]


def require(*roles: str) -> Dependency:
    """A dependency that lets callers with one of `roles` through. Raises Unauthenticated or Forbidden.

    A caller with the role tenant must have a tenant, so that no rule downstream can forget it.
    """
    unknown = set(roles) - ROLES
    if unknown or not roles:
        raise ValueError(f"unknown roles: {sorted(unknown)}")
    allowed = frozenset(roles)

    async def check(request: Request) -> Principal:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("this needs a bearer token: log in first")
        verifier: Verifier = request.app.state.verifier
        principal = await verifier.verify(token.strip())
        granted = principal.roles & allowed
        if not granted or (granted == {"tenant"} and principal.tenant is None):
            raise Forbidden(f"this needs the role {' or '.join(sorted(allowed))}")
        request.state.principal = principal
        return principal

    check.guards = True  # type: ignore[attr-defined]
    return check


async def public() -> None:
    """Marks a route that needs no token."""


public.guards = True  # type: ignore[attr-defined]
