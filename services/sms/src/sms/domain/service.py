"""A service's life, and how its state follows from its links.

Use cases ask `follow` after anything about a link changed; the store writes the answer. The order's life is
elsewhere: a service outlives its order.

    provisioning ─▶ stabilizing ─▶ active ◀─▶ degraded
         │               │            │           │
         └───────────────┴────────────┴───────────┴─▶ terminating ─▶ terminated | failed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from qmodel.contracts.sms import ServiceState
from qmodel.errors import Conflict
from qmodel.links import LinkState
from sms.domain.ask import OrderKind
from sms.domain.link import Link

_LIVING = frozenset({ServiceState.STABILIZING, ServiceState.ACTIVE, ServiceState.DEGRADED})
ENDED = frozenset({ServiceState.TERMINATED, ServiceState.FAILED})


@dataclass(frozen=True)
class Health:
    """How a service's links stand: whether all are up and undisturbed, else why not and, if known, the domain
    time at which the last one should be up."""

    well: bool
    cause: str = ""
    expected_at: datetime | None = None


@dataclass(frozen=True)
class Service:
    """One service. `removal` counts attempts to take it down, 0 while nobody has asked for that; `ends_as`
    is the state it then ends in. Times are domain time."""

    service_id: str
    order_id: str
    tenant: str
    kind: OrderKind
    sites: tuple[str, ...]
    security_level: str
    created_at: datetime
    name: str | None = None
    state: ServiceState = ServiceState.PROVISIONING
    reason: str = ""
    removal: int = 0
    ends_as: ServiceState = ServiceState.TERMINATED
    active_since: datetime | None = None
    expected_active_at: datetime | None = None
    version: int = 1

    @property
    def removal_change_id(self) -> str:
        """The change of the present attempt to take it down."""
        return f"chg_{self.service_id.partition('_')[2]}-r{self.removal}"

    @property
    def living(self) -> bool:
        """Whether its links' states decide its own."""
        return self.state in _LIVING


def stabilize(service: Service) -> Service:
    """The network-wide commit went through. No effect once the service is further."""
    if service.state is not ServiceState.PROVISIONING:
        return service
    return _changed(service, state=ServiceState.STABILIZING)


def follow(service: Service, health: Health, now: datetime) -> Service:
    """The service as its links have it: active when all are up and undisturbed, from then on degraded
    whenever one is not. Unchanged (the same object) if nothing is new."""
    if not service.living:
        return service
    if health.well:
        state, reason = ServiceState.ACTIVE, ""
    elif service.state is ServiceState.STABILIZING:
        state, reason = ServiceState.STABILIZING, health.cause
    else:
        state, reason = ServiceState.DEGRADED, health.cause
    expected_at = None if health.well else health.expected_at
    if (state, reason, expected_at) == (service.state, service.reason, service.expected_active_at):
        return service
    since = now if state is ServiceState.ACTIVE and service.active_since is None else service.active_since
    return _changed(service, state=state, reason=reason, active_since=since, expected_active_at=expected_at)


def terminate(service: Service, reason: str, *, ends_as: ServiceState = ServiceState.TERMINATED) -> Service:
    """Begin to take the service down; asked again, nothing changes. Raises Conflict for one that was never
    provisioned: its order is what can be cancelled."""
    if service.state is ServiceState.TERMINATING or service.state in ENDED:
        return service
    if service.state is ServiceState.PROVISIONING:
        raise Conflict("the service is still being provisioned: cancel its order", where=service.order_id)
    return _changed(service, state=ServiceState.TERMINATING, reason=reason, removal=1, ends_as=ends_as)


def try_removal_again(service: Service) -> Service:
    """Another attempt, under a new change, after one that aborted."""
    if service.state is not ServiceState.TERMINATING:
        raise Conflict(f"a service that is {service.state.value} is not being removed")
    return _changed(service, removal=service.removal + 1)


def terminated(service: Service) -> Service:
    """Nothing of the service is left in the network."""
    if service.state is not ServiceState.TERMINATING:
        raise Conflict(f"a service that is {service.state.value} is not being removed")
    return _changed(service, state=service.ends_as, expected_active_at=None)


def health_of(links: Sequence[Link]) -> Health:
    """A service is well when every link is up and none has an alarm that affects service."""
    ill = [link for link in links if link.state is not LinkState.UP or link.disrupted]
    causes = [f"{link.a} – {link.b}: {link.cause}" for link in ill if link.cause]
    if len(causes) > 1:
        causes[1:] = [f"and {len(causes) - 1} more"]
    times = [link.expected_up_at for link in ill if link.expected_up_at is not None]
    return Health(not ill and len(links) > 0, " ".join(causes), max(times, default=None))


def _changed(service: Service, **fields: Any) -> Service:
    return replace(service, version=service.version + 1, **fields)
