"""Debian's `netconfd` (yuma123) behind Debian's `sshd`, with our YANG modules: a server that is not ours.

Each test starts its own pair on a free port in a temporary folder, with keys of its own, and ends both.
Needs the packages `netconfd` and `openssh-server`; without them the tests are skipped and say so, or fail
with BELLWEAVE_WITH_NETCONFD=1.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from ems.adapters.netconf.adapter import NetconfAdapter
from ems.adapters.netconf.device import NetconfDevice
from ems.adapters.netconf.exchange import Limits
from ems.adapters.netconf.session import LoginPacer, NetconfSession, connect
from ems.adapters.schemas import SchemaBook
from ems.domain.device import DeviceAddress, Login, Traits
from qmodel.yang import HARDWARE_NS, INTERFACES_NS, QUANTUM_TYPES_NS, module_dirs

SUBSYSTEM = Path("/usr/sbin/netconf-subsystem")
SSHD = Path("/usr/sbin/sshd")
SYSTEM_MODULES = Path("/usr/share/yuma/modules")
START_LIMIT_S = 20.0
LIMITS = Limits(rpc_s=20.0)
PORTS = ("q1", "q2")
COMPONENTS = {"s1": "entangled-photon-source", "b1": "bsm", "d1": "detector"}


@dataclass(frozen=True)
class Netconfd:
    """Where it listens, and how to log in."""

    address: DeviceAddress
    login: Login


def _programs() -> tuple[str, str]:
    netconfd = shutil.which("netconfd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    missing = [
        name
        for name, found in (
            ("netconfd", netconfd is not None and SUBSYSTEM.exists()),
            ("openssh-server", SSHD.exists()),
        )
        if not found
    ]
    reason = f"not installed: {', '.join(missing)} (`apt-get install netconfd openssh-server`)"
    if missing and os.environ.get("BELLWEAVE_WITH_NETCONFD") == "1":
        pytest.fail(reason, pytrace=False)
    if missing:
        pytest.skip(reason)
    return str(netconfd), str(SSHD)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_keys(home: Path) -> tuple[str, str]:
    """The host's public key and the user's private key."""
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(home / name)
        key.write_public_key(home / f"{name}.pub")
        (home / name).chmod(0o600)
    return (home / "host.pub").read_text().strip(), (home / "user").read_text()


def _write_sshd_config(home: Path, port: int) -> Path:
    config = home / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nPidFile none\n"
        f"AuthorizedKeysFile {home}/user.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f'Subsystem netconf "{SUBSYSTEM} --ncxserver-sockname={port}@{home}/ncx.sock"\n'
    )
    return config


def _wait_until(ready: Path | tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if isinstance(ready, Path):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(ready))
            else:
                socket.create_connection(ready, 1.0).close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise AssertionError(f"it did not start:\n{log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """At once: there is nothing to keep."""
    process.kill()
    process.wait(START_LIMIT_S)


@pytest.fixture
def netconfd(tmp_path: Path) -> Iterator[Netconfd]:
    program, sshd = _programs()
    home = tmp_path
    host_key, user_key = _write_keys(home)
    port, user = _free_port(), getpass.getuser()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on its privilege separation folder
    modules = ":".join(map(str, (*module_dirs(), SYSTEM_MODULES)))
    log = home / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program, "--module=bellweave-quantum-node", "--module=ietf-hardware", "--module=ietf-interfaces",
             f"--modpath={modules}", f"--home={home}", "--no-startup",
             f"--superuser={user}", "--access-control=off",
             f"--ncxserver-sockname={home}/ncx.sock", f"--port={port}"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=home,
        )  # fmt: skip
        front = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(_write_sshd_config(home, port))],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=home,
        )  # fmt: skip
        try:
            _wait_until(home / "ncx.sock", server, log)
            _wait_until(("127.0.0.1", port), front, log)
            yield Netconfd(DeviceAddress("127.0.0.1", port, host_key), Login(user, private_key=user_key))
        finally:
            _stop(front)
            _stop(server)


@pytest.fixture
def adapter(tmp_path: Path) -> NetconfAdapter:
    return NetconfAdapter(SchemaBook(tmp_path / "yang"), LIMITS)


@pytest.fixture
async def bare(netconfd: Netconfd) -> AsyncIterator[NetconfSession]:
    """A session below the adapter, with a device that has its ports and components."""
    session = await connect(netconfd.address, netconfd.login, LIMITS, LoginPacer())
    await session.rpc(b"<lock><target><candidate/></target></lock>")
    await session.rpc(b"<discard-changes/>")
    await session.rpc(_plant())
    await session.rpc(b"<commit/>")
    await session.rpc(b"<unlock><target><candidate/></target></unlock>")
    yield session
    await session.close()


@pytest.fixture
async def open_device(
    netconfd: Netconfd, adapter: NetconfAdapter, bare: NetconfSession
) -> AsyncIterator[Callable[[Traits], Awaitable[NetconfDevice]]]:
    """Opens sessions of the adapter with a device that knows its ports, closed after the test."""
    opened: list[NetconfDevice] = []

    async def run(traits: Traits) -> NetconfDevice:
        opened.append(await adapter.open(netconfd.address, netconfd.login, traits))
        return opened[-1]

    yield run
    for device in opened:
        await device.close()


def _plant() -> bytes:
    ports = "".join(
        f'<interface><name>{name}</name><type xmlns:t="{QUANTUM_TYPES_NS}">t:quantum-port</type></interface>'
        for name in PORTS
    )
    components = "".join(
        f'<component><name>{name}</name><class xmlns:t="{QUANTUM_TYPES_NS}">t:{kind}</class></component>'
        for name, kind in COMPONENTS.items()
    )
    return (
        "<edit-config><target><candidate/></target>"
        f'<config><interfaces xmlns="{INTERFACES_NS}">{ports}</interfaces>'
        f'<hardware xmlns="{HARDWARE_NS}">{components}</hardware></config></edit-config>'
    ).encode()
