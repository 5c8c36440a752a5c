"""Where the services and the issuer are: from the environment, or from the status file of a local stack.

`BELLWEAVE_SMS_URL`, `BELLWEAVE_BMS_URL`, `BELLWEAVE_NMS_<OPERATOR>_URL`, `BELLWEAVE_EMS_<NAME>_URL` and
`BELLWEAVE_OIDC_ISSUER` come first. The status file is `status.json` in `--state`, `BELLWEAVE_STATE`, or a
directory `.bellweave` here or above. It is only read.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bellweave.trouble import Unreachable

PREFIX = "/api/v1"
_VARIABLE = re.compile(r"^BELLWEAVE_(SMS|BMS|NMS|EMS)(?:_([A-Z0-9_]+))?_URL$")
_NO_STACK = "start a local stack with: make up, or name one with BELLWEAVE_STATE or --state"


class LocalStack:
    """A stack on this machine, as its supervisor last wrote it down."""

    def __init__(self, root: Path, document: dict[str, Any]) -> None:
        self.root = root
        self.document = document

    @classmethod
    def find(cls, environment: Mapping[str, str], directory: Path, chosen: Path | None) -> LocalStack | None:
        """None if there is none. Raises Unreachable for a file that cannot be read."""
        named = chosen or environment.get("BELLWEAVE_STATE")
        roots = [Path(named)] if named else [up / ".bellweave" for up in (directory, *directory.parents)]
        for root in roots:
            path = root / "status.json"
            try:
                return cls(root, dict(json.loads(path.read_text())))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                raise Unreachable.because(f"{path} cannot be read: {error}", _NO_STACK) from error
        return None

    @property
    def is_supervised(self) -> bool:
        """Whether its supervisor is alive: it holds a lock on a file beside the status."""
        try:
            with (self.root / "supervisor.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @property
    def clock_scale(self) -> float:
        """Seconds of domain time in one real second."""
        return float(self.document.get("clock", {}).get("scale", 1.0))

    def password_of(self, user: str) -> str | None:
        users = (self.document.get("issuer") or {}).get("users", [])
        return next((str(one["password"]) for one in users if one["name"] == user), None)


class Places:
    """Base URLs by instance name, such as `nms.north`."""

    def __init__(self, environment: Mapping[str, str], stack: LocalStack | None) -> None:
        self.stack = stack
        known = dict(stack.document.get("apis", {})) if stack else {}
        for name, value in environment.items():
            match = _VARIABLE.match(name)
            if match and value:
                instance = (match[2] or "main").lower().replace("_", "-")
                known[f"{match[1].lower()}.{instance}"] = _with_prefix(value)
        self._urls: dict[str, str] = known
        issuer = (stack.document.get("issuer") or {}) if stack else {}
        self.issuer = environment.get("BELLWEAVE_OIDC_ISSUER") or issuer.get("url")
        self.client_id = environment.get("BELLWEAVE_CLIENT_ID") or issuer.get("client_id") or "bellweave"

    def all(self) -> dict[str, str]:
        return dict(sorted(self._urls.items()))

    def instances(self, service: str) -> list[str]:
        """Names of that service's instances, such as `nms.north`, sorted. Raises Unreachable if there are
        none known."""
        found = sorted(name for name in self._urls if name.partition(".")[0] == service)
        if not found:
            raise Unreachable.because(f"no {service.upper()} is known", self._hint(service))
        return found

    def instance(self, service: str, chosen: str | None = None) -> str:
        """The instance `chosen` (`north` or `nms.north`), or the only one there is.

        Raises Unreachable when it is not known, or several are and none was chosen."""
        found = self.instances(service)
        if chosen is None:
            if len(found) == 1:
                return found[0]
            names = ", ".join(name.partition(".")[2] for name in found)
            raise Unreachable.because(f"there are several {service.upper()}s: {names}", "say which one")
        name = chosen if "." in chosen else f"{service}.{chosen}"
        if name not in found:
            raise Unreachable.because(f"{name} is not known", f"known are {', '.join(found)}")
        return name

    def url(self, instance: str) -> str:
        return self._urls[instance]

    def _hint(self, service: str) -> str:
        name = (
            f"BELLWEAVE_{service.upper()}_URL"
            if service in ("sms", "bms")
            else f"BELLWEAVE_{service.upper()}_<NAME>_URL"
        )
        return f"{_NO_STACK}; for one elsewhere set {name}"


def _with_prefix(url: str) -> str:
    bare = url.rstrip("/")
    return bare if bare.endswith(PREFIX) else bare + PREFIX
