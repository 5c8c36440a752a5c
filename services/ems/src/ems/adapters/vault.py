"""Device credentials at rest: encrypted by this process, so that the database and its backups hold none.

`app` makes one; the store passes ciphertext through it. The key comes from the settings, or is made
once in the state directory with mode 0600.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from pydantic import BaseModel, SecretStr

from ems.domain.device import Login
from qmodel.errors import Internal, Invalid


class _Sealed(BaseModel):
    user: str
    private_key: str | None = None
    password: str | None = None


class FernetVault:
    """`ems.ports.Vault`: seals and opens logins with one Fernet key (AES-128-CBC with HMAC-SHA-256)."""

    def __init__(self, key: bytes) -> None:
        """Raises Invalid when `key` is not 32 bytes in URL-safe base64."""
        try:
            self._fernet = Fernet(key)
        except ValueError:
            raise Invalid("not a Fernet key", where="BELLWEAVE_CREDENTIALS_KEY") from None

    @classmethod
    def from_settings(cls, key: SecretStr | None, state_dir: Path | None) -> FernetVault:
        """The key of the settings, or the one in `state_dir/credentials.key`, made at the first start."""
        if key is not None:
            return cls(key.get_secret_value().encode())
        if state_dir is None:
            raise Invalid(
                "device credentials need a key: set it or a state directory",
                where="BELLWEAVE_CREDENTIALS_KEY",
            )
        path = state_dir / "credentials.key"
        if not path.exists():
            state_dir.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        return cls(path.read_bytes())

    def seal(self, login: Login) -> bytes:
        sealed = _Sealed(user=login.user, private_key=login.private_key, password=login.password)
        return self._fernet.encrypt(sealed.model_dump_json().encode())

    def open(self, token: bytes) -> Login:
        """Raises Internal when the key is not the one it was sealed with."""
        try:
            sealed = _Sealed.model_validate_json(self._fernet.decrypt(token))
        except InvalidToken:
            raise Internal("a device's login was sealed with another key") from None
        return Login(sealed.user, sealed.private_key, sealed.password)
