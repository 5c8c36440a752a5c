"""What the issuer keeps in its directory: the signing key, made once, and its users with hashed passwords."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from bellweave_local.state import write_private

CLIENT_ID = "bellweave"
AUDIENCE = "bellweave"
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}  # 16 MiB for each guess


@dataclass(frozen=True)
class Account:
    """Who a user is to the services."""

    name: str
    roles: tuple[str, ...]
    tenant: str | None = None


LOCAL_ACCOUNTS = (
    Account("acme-admin", ("tenant",), "acme"),
    Account("globex-admin", ("tenant",), "globex"),
    Account("operator", ("operator",)),
    Account("billing", ("billing",)),
    Account("auditor", ("auditor",)),
)


def write_accounts(directory: Path, passwords: Mapping[str, str]) -> None:
    """Store the local accounts with these passwords, hashed."""
    users: dict[str, dict[str, Any]] = {}
    for account in LOCAL_ACCOUNTS:
        salt = os.urandom(16)
        users[account.name] = {
            "roles": account.roles,
            "tenant": account.tenant,
            "salt": salt.hex(),
            "scrypt": _hash(passwords[account.name], salt).hex(),
        }
    write_private(directory / "users.json", json.dumps(users, indent=1))


class Accounts:
    """Checks names and passwords. An unknown name takes as long as a wrong password."""

    def __init__(self, directory: Path) -> None:
        self._users: dict[str, dict[str, Any]] = json.loads((directory / "users.json").read_text())
        self._nobody = {"salt": os.urandom(16).hex(), "scrypt": os.urandom(64).hex()}

    def check(self, name: str, password: str) -> Account | None:
        user = self._users.get(name, self._nobody)
        hashed = _hash(password, bytes.fromhex(user["salt"]))
        if not hmac.compare_digest(hashed, bytes.fromhex(user["scrypt"])):
            return None
        return Account(name, tuple(user["roles"]), user["tenant"])


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **SCRYPT)


class SigningKey:
    """An ES256 key pair (RFC 7518, section 3.4), made at the first use of the directory."""

    def __init__(self, directory: Path) -> None:
        path = directory / "signing-key.pem"
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private(path, pem.decode())
        loaded = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{path} holds no elliptic-curve key")
        self.private = loaded
        numbers = loaded.public_key().public_numbers()
        self._members = {"crv": "P-256", "kty": "EC", "x": _base64url(numbers.x), "y": _base64url(numbers.y)}

    @property
    def key_id(self) -> str:
        """The key's thumbprint (RFC 7638)."""
        canonical = json.dumps(self._members, sort_keys=True, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()

    def jwk(self) -> dict[str, str]:
        return {**self._members, "kid": self.key_id, "use": "sig", "alg": "ES256"}


def _base64url(coordinate: int) -> str:
    return base64.urlsafe_b64encode(coordinate.to_bytes(32, "big")).rstrip(b"=").decode()
