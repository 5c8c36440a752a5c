"""Who is logged in: a token of an OIDC issuer, kept in a file that only its owner can read.

The file is `session.json` in `BELLWEAVE_HOME`, else in `bellweave` below `XDG_CONFIG_HOME` (`~/.config`).
`BELLWEAVE_TOKEN` goes before it. Passwords are never kept.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from bellweave.trouble import Refused, Unreachable

LIMIT_S = 15.0


@dataclass(frozen=True)
class Session:
    """`expires_at_s` is real time, seconds since 1970."""

    issuer: str
    user: str
    token: str
    expires_at_s: float

    @property
    def tenant(self) -> str | None:
        tenant = self._claims().get("tenant")
        return None if tenant is None else str(tenant)

    @property
    def roles(self) -> frozenset[str]:
        """As the token says; only the services' own check of it counts."""
        roles = self._claims().get("roles")
        return frozenset(map(str, roles)) if isinstance(roles, list) else frozenset()

    @property
    def who(self) -> str:
        """Such as "acme-admin (tenant of acme)"."""
        roles = ", ".join(sorted(self.roles)) or "no role"
        return f"{self.user} ({roles} of {self.tenant})" if self.tenant else f"{self.user} ({roles})"

    def _claims(self) -> dict[str, Any]:
        try:
            body = self.token.split(".")[1]
            return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
        except (IndexError, ValueError):
            return {}


class SessionFile:
    """The one session of this user on this machine."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "~"), ".config")
        self._folder = Path(environment.get("BELLWEAVE_HOME") or os.path.join(base, "bellweave")).expanduser()
        self._given = environment.get("BELLWEAVE_TOKEN")
        self.path = self._folder / "session.json"

    def load(self) -> Session | None:
        if self._given:
            return Session("", "BELLWEAVE_TOKEN", self._given, float("inf"))
        try:
            return Session(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise Refused.because(f"{self.path} cannot be read: {error}", "log in again") from error

    def save(self, session: Session) -> None:
        """Replaced at once, and never readable by anybody else."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(session), file)
        fresh.replace(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def log_in(http: httpx.Client, issuer: str, user: str, form: Mapping[str, str], now_s: float) -> Session:
    """Ask the issuer for a token with the grant in `form`.

    Raises Refused with the issuer's reason, Unreachable when it does not answer as an issuer does.
    """
    try:
        found = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", timeout=LIMIT_S)
        endpoint = str(found.raise_for_status().json()["token_endpoint"])
        answer = http.post(endpoint, data=dict(form), timeout=LIMIT_S)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Unreachable.because(
            f"{issuer} does not answer as an OIDC issuer: {error}", "check BELLWEAVE_OIDC_ISSUER or --issuer"
        ) from error
    try:
        said = dict(answer.json())
    except ValueError:
        said = {}
    if answer.is_error or "access_token" not in said:
        reason = said.get("error_description") or said.get("error") or f"status {answer.status_code}"
        raise Refused.because(f"the issuer refused {user}: {reason}", "check the name and the password")
    return Session(issuer, user, str(said["access_token"]), now_s + float(said.get("expires_in", 3600)))
