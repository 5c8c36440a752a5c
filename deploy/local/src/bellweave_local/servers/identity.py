"""Who PostgreSQL runs as, since it refuses root, and which directories that user can reach."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from bellweave_local.process import Identity

UNPRIVILEGED_USER = "nobody"


def unprivileged() -> Identity | None:
    """The user that stands in for root; None when this process is not root and runs children as itself."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise RuntimeError(
            f"PostgreSQL refuses to run as root and there is no user {UNPRIVILEGED_USER!r}; "
            "run as another user or set BELLWEAVE_DATABASE_ADMIN_URL"
        ) from None
    return Identity(user.pw_uid, user.pw_gid)


def is_reachable(directory: Path, identity: Identity | None) -> bool:
    """Whether `identity` may enter `directory` and everything above it; None stands for this process."""
    if identity is None:
        return os.access(directory, os.X_OK)
    resolved = directory.resolve()
    return all(_may_enter(step, identity) for step in (resolved, *resolved.parents) if step.exists())


def _may_enter(directory: Path, identity: Identity) -> bool:
    found = directory.stat()
    if found.st_uid == identity.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == identity.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
