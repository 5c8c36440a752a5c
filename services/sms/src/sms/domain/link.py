"""An end-to-end link between two sites, and its segments, one per operator that carries a part of it.

A segment is what was asked of an operator's NMS and what that NMS last said about it; a link is what the
tenant sees, derived from its segments by `derived`. Nothing here is sent or stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from qmodel.contracts.ems import PerceivedSeverity
from qmodel.contracts.sms import ServiceState
from qmodel.links import LinkRequest, LinkState, Placement
from qmodel.topology import Pass
from qmodel.windows import joint_pass

SERVICE_AFFECTING = frozenset({PerceivedSeverity.MAJOR, PerceivedSeverity.CRITICAL})
"""X.733: a minor alarm is a fault that does not affect service."""

_WORST_FIRST = (
    LinkState.DOWN,
    LinkState.HELD,
    LinkState.COMMITTING,
    LinkState.STABILIZING,
    LinkState.UP,
    LinkState.RELEASED,
)
_BEFORE_COMMIT = (None, LinkState.HELD, LinkState.COMMITTING)


@dataclass(frozen=True)
class Heard:
    """What an NMS said last about its segment. Times are domain time."""

    state: LinkState
    at: datetime
    reason: str = ""
    expected_up_at: datetime | None = None
    placement: Placement | None = None


@dataclass(frozen=True)
class Disruption:
    """An alarm of one operator on a link. `at` is domain time."""

    severity: PerceivedSeverity
    text: str
    root_cause: str
    at: datetime

    @property
    def affects_service(self) -> bool:
        return self.severity in SERVICE_AFFECTING


@dataclass(frozen=True)
class Segment:
    """One operator's part of a link. `placed` is the placement that was committed first, `heard` what the
    NMS reported since, `alarm` the last alarm that it reported, cleared or not."""

    operator: str
    request: LinkRequest
    placed: Placement | None = None
    heard: Heard | None = None
    alarm: Disruption | None = None

    @property
    def placement(self) -> Placement | None:
        """Where it runs now: healing places it anew."""
        return self.heard.placement if self.heard and self.heard.placement else self.placed

    @property
    def disruption(self) -> Disruption | None:
        """The alarm that stands. A segment that came up since is no longer disrupted, whatever became of
        the cause."""
        alarm, heard = self.alarm, self.heard
        if alarm is None or alarm.severity is PerceivedSeverity.CLEARED:
            return None
        if heard is not None and heard.state is LinkState.UP and alarm.at < heard.at:
            return None
        return alarm

    def state(self, service: ServiceState) -> LinkState:
        """Its state within a service of this state: once committed it is at least stabilizing."""
        said = self.heard.state if self.heard else None
        if service is ServiceState.PROVISIONING:
            return said or LinkState.HELD
        if service in (ServiceState.TERMINATED, ServiceState.FAILED):
            return LinkState.RELEASED
        if said is None or (service is ServiceState.STABILIZING and said in _BEFORE_COMMIT):
            return LinkState.STABILIZING
        return said


@dataclass(frozen=True)
class Figures:
    """What a link gives end to end: fidelity in [0, 1], sustained rates, one-way classical delay."""

    fidelity: float
    pair_rate_hz: float
    key_rate_bps: float
    latency_s: float


@dataclass(frozen=True)
class Link:
    """One link of a service, between sites `a` and `b`. `joint` is how its segments are joined at a border
    (None within one operator). `usage` is the total of `usage_unit` released so far."""

    link_id: str
    service_id: str
    tenant: str
    a: str
    b: str
    segments: tuple[Segment, ...]
    joint: dict[str, Any] | None = None
    figures: Figures | None = None
    why: str = ""
    state: LinkState = LinkState.HELD
    cause: str = ""
    usage_unit: str | None = None
    usage: int = 0
    version: int = 1

    @property
    def disruption(self) -> Disruption | None:
        """The standing alarm of its segments, one that affects service before others."""
        alarms = [s.disruption for s in self.segments if s.disruption is not None]
        return min(alarms, key=lambda alarm: not alarm.affects_service, default=None)

    @property
    def disrupted(self) -> bool:
        disruption = self.disruption
        return disruption is not None and disruption.affects_service

    @property
    def placements(self) -> tuple[Placement, ...]:
        return tuple(s.placement for s in self.segments if s.placement is not None)

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Those of its segments by satellite."""
        return tuple(p.visibility for p in self.placements if p.visibility is not None)

    @property
    def visibility(self) -> Pass | None:
        """When all its segments have light; None if they always do, or never together."""
        return joint_pass(self.passes) if self.passes else None

    @property
    def expected_up_at(self) -> datetime | None:
        """When the last of its segments should be up, as far as the NMSs have said."""
        times = [s.heard.expected_up_at for s in self.segments if s.heard and s.heard.expected_up_at]
        return max(times, default=None)


def derived(link: Link, service: ServiceState, figures: Figures | None, why: str) -> Link:
    """The link as its segments have it now: as far as the one that is furthest behind. The same object if
    nothing changed."""
    states = {segment.state(service) for segment in link.segments}
    state = next(state for state in _WORST_FIRST if state in states)
    now = replace(link, state=state, cause=_cause(link, state), figures=figures, why=why)
    return link if now == link else replace(now, version=link.version + 1)


def _cause(link: Link, state: LinkState) -> str:
    """Why the link is not well, in a few words; empty if it is."""
    disruption = link.disruption
    if disruption is not None:
        return disruption.root_cause or disruption.text
    if state is LinkState.UP:
        return ""
    reasons = [s.heard.reason for s in link.segments if s.heard and s.heard.state is state and s.heard.reason]
    return next(iter(reasons), "")
