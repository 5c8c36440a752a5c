"""A device in the EMS's care: its address, how it is doing, what it turned out to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ems.domain.device import DeviceAddress, Login, Profile, Traits


class ManagedState(StrEnum):
    MANAGED = "managed"
    """Reachable; takes part in changes."""
    OBSERVED = "observed"
    """Reachable, but without the means for network-wide changes: watched only."""
    UNREACHABLE = "unreachable"
    QUARANTINED = "quarantined"
    """Its configuration is not known after a change: left alone until it was read back."""


@dataclass(frozen=True)
class ManagedDevice:
    """`version` grows with every change of this record. The login is kept apart (see `Access`)."""

    name: str
    address: DeviceAddress
    user: str
    state: ManagedState
    profile: Profile | None
    traits: Traits
    problem: str | None = None
    version: int = 1
    created_at: datetime | None = None


@dataclass(frozen=True)
class Access:
    """What it takes to log in at a device and to drive it as it wants to be driven."""

    address: DeviceAddress
    login: Login
    traits: Traits


def state_of(profile: Profile) -> tuple[ManagedState, str | None]:
    """How a device that was just learned is managed, with the reason when it is not."""
    if not profile.manageable:
        return ManagedState.OBSERVED, "it lacks the module bellweave-quantum-node"
    if not profile.all_or_nothing:
        return ManagedState.OBSERVED, "it lacks a candidate datastore with persistent confirmed commit"
    return ManagedState.MANAGED, None
