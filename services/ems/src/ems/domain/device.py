"""What the EMS knows about one device: where it is, how to log in, what it is made of, how it behaves.

Adapters fill in profiles and traits, the store keeps them, use cases pass them back. Nothing here names a
product: a trait is learned only from behaviour that was observed on that very device.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class DeviceAddress:
    """Where a device listens, and the host key it must show (an OpenSSH public key line)."""

    host: str
    port: int
    host_key: str


@dataclass(frozen=True)
class Login:
    """How the EMS logs in: by `private_key` (OpenSSH or PEM text) if there is one, else by `password`."""

    user: str
    private_key: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


class Traits(BaseModel):
    """How a device was found to behave where that differs from what it says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    validate_then_commit: bool | None = None
    """False: a commit after an explicit validate answered ok and did not apply the candidate, and without it
    did, so validate is left out (a commit validates as well). None: nothing of the kind was seen."""


@dataclass(frozen=True, order=True)
class Module:
    """A YANG module of the device: `implemented`, or only there for its types. `revision` is empty if the
    device does not say."""

    name: str
    revision: str = ""
    namespace: str = ""
    features: tuple[str, ...] = ()
    implemented: bool = True


@dataclass(frozen=True)
class Component:
    """A piece of hardware (ietf-hardware, RFC 8348); texts are empty where the device does not say."""

    name: str
    hardware_class: str
    parent: str = ""
    description: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    hardware_revision: str = ""
    firmware_revision: str = ""
    software_revision: str = ""


@dataclass(frozen=True)
class Interface:
    """A port (ietf-interfaces, RFC 8343). `up` is None if the device does not say."""

    name: str
    type: str
    up: bool | None = None


@dataclass(frozen=True)
class Profile:
    """What `learn` found: the protocol's capabilities, modules by name, hardware and ports."""

    capabilities: frozenset[str]
    modules: tuple[Module, ...]
    components: tuple[Component, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    manageable: bool = True
    """Whether the device implements the module that node configurations are written in."""
    all_or_nothing: bool = True
    """Whether it has what a network-wide commit needs (candidate and persistent confirmed commit)."""
