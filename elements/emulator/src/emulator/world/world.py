"""The world: who does what, which fibres are cut, which lasers have settled, what was released.

Elements call `configure` when their running configuration changes and ask for status; the control door cuts
and splices. Counting is piecewise exact: whatever changes a link's rate first settles what it gave until
then. All methods belong to one event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.world.chain import Broken, Chain, follow
from emulator.world.counters import Counter, Counters
from emulator.world.link import Link, LinkStatus
from emulator.world.performance import LinkPerformance, light_s, link_performance, next_light_s
from emulator.world.plant import Line, Plant
from qmodel.clock import DomainClock
from qmodel.nodeconfig import Circuit, NodeConfig, Purpose, Role
from qmodel.topology import QuantumLink

_MOMENT_S = 0.02
"""Real time for which a status is not computed again: one reading asks many times."""


@dataclass(frozen=True)
class WorldAlarm:
    """Trouble at one node. `severity` as in X.733; `since_s` is domain time."""

    node: str
    resource: str
    alarm_type: str
    severity: str
    text: str
    since_s: float


@dataclass(frozen=True)
class NodeSetup:
    """What a node's configuration means for the world."""

    config: NodeConfig = field(default_factory=NodeConfig)
    disabled_components: frozenset[str] = frozenset()
    disabled_ports: frozenset[str] = frozenset()
    attenuation_db: Mapping[str, float] = field(default_factory=dict)


class World:
    """See the module."""

    def __init__(self, plant: Plant, clock: DomainClock, stored: dict[str, Any] | None = None) -> None:
        """`stored` is what `to_store` gave before the process stopped."""
        self.plant = plant
        self.clock = clock
        self.counters = Counters()
        self.booted_s = clock.now_s()
        self.on_alarm: dict[str, Callable[[WorldAlarm], None]] = {}
        self._setups: dict[str, NodeSetup] = {}
        self._links: dict[str, Link] = {}
        self._cut_since: dict[str, float] = {}
        self._warm_since: dict[tuple[str, str], float] = {}
        self._clicks: dict[tuple[str, str], float] = {}
        self._statuses: dict[str, tuple[float, LinkStatus]] = {}
        self._changed = False
        if stored is not None:
            self._restore(stored)

    # --- what elements tell ------------------------------------------------------------------------------

    def configure(self, node: str, setup: NodeSetup) -> None:
        """The node's running configuration is now `setup`, whole."""
        now_s = self.clock.now_s()
        before = self._setups.get(node, NodeSetup())
        concerned = _link_ids(before.config) | _link_ids(setup.config)
        links = [self._link(link_id, now_s) for link_id in concerned]
        for link in links:
            self._settle(link, now_s)
        self._setups[node] = setup
        for link in links:
            circuits = tuple(c for c in setup.config.circuits if c.link_id == link.link_id)
            timing = tuple(t for t in setup.config.timing if t.link_id == link.link_id)
            self._keep_counter(node, link.link_id, circuits)
            _put(link.circuits, node, circuits)
            _put(link.timing, node, timing)
            link.forget_chain()
            if link.empty:
                del self._links[link.link_id]
        self._statuses.clear()
        self._warm(node, setup, now_s)

    def cut(self, name: str) -> list[Line]:
        """Cuts a line or all lines of a conduit; those that were whole before. Raises as `lines_named`."""
        lines = [line for line in self.plant.lines_named(name) if line.key not in self._cut_since]
        self._change_lines(lines, self.clock.now_s())
        return lines

    def splice(self, name: str) -> list[Line]:
        """Mends a line or all lines of a conduit; the lines that were cut before."""
        lines = [line for line in self.plant.lines_named(name) if line.key in self._cut_since]
        self._change_lines(lines, None)
        return lines

    # --- what elements ask -------------------------------------------------------------------------------

    def status(self, link_id: str) -> LinkStatus:
        """How a link is now; the answer of a moment ago will do if nothing has changed since."""
        link = self._links.get(link_id)
        if link is None:
            return LinkStatus(False, "not configured")
        now_s = self.clock.now_s()
        known = self._statuses.get(link_id)
        if known is not None and 0 <= now_s - known[0] <= _MOMENT_S * self.clock.scale:
            return known[1]
        status = self._status(link, now_s)
        self._statuses[link_id] = (now_s, status)
        return status

    def counter(self, node: str, link_id: str, purpose: Purpose) -> Counter:
        return self.counters.of(node, link_id, purpose)

    def is_cut(self, line: Line) -> bool:
        return line.key in self._cut_since

    def settled_in_s(self, node: str, source: str) -> float:
        """Domain time until a source's laser has settled; infinite while nothing needs it."""
        since_s = self._warm_since.get((node, source))
        if since_s is None:
            return math.inf
        return max(0.0, since_s + self._warm_up_s(node, source) - self.clock.now_s())

    def clicks(self, node: str, component: str) -> float:
        """Photon pairs that a component has made or detected since the process started."""
        return self._clicks.get((node, component), 0.0)

    def alarms(self, node: str) -> list[WorldAlarm]:
        """What is wrong at a node now."""
        return [
            _loss_of_signal(node, port, line, self._cut_since[line.key])
            for port, line in self.plant.ports(node).items()
            if line.key in self._cut_since
        ]

    # --- what the process does ---------------------------------------------------------------------------

    def settle_all(self) -> None:
        """Brings all counters up to now."""
        now_s = self.clock.now_s()
        for link in self._links.values():
            self._settle(link, now_s)

    def to_store(self) -> dict[str, Any] | None:
        """Cuts and warm lasers, to outlive the process; None if unchanged since the last call."""
        if not self._changed:
            return None
        self._changed = False
        warm = [[node, source, since_s] for (node, source), since_s in self._warm_since.items()]
        return {"cuts": dict(self._cut_since), "warm": warm}

    def show(self) -> dict[str, Any]:
        """Links and cuts, for people."""
        links = {}
        for link_id in sorted(self._links):
            status = self.status(link_id)
            links[link_id] = {
                "ready": status.ready,
                "reason": status.reason,
                "pair_rate_hz": status.pair_rate_hz,
                "key_rate_bps": status.key_rate_bps,
                "fidelity": status.fidelity,
            }
        return {"domain_time_s": self.clock.now_s(), "cut": sorted(self._cut_since), "links": links}

    # --- inside ------------------------------------------------------------------------------------------

    def _status(self, link: Link, now_s: float) -> LinkStatus:
        try:
            chain = self._chain(link)
            self._require_timing(link)
        except Broken as reason:
            return LinkStatus(False, str(reason))
        warm_in_s = self._settled_at_s(chain) - now_s
        if warm_in_s > 0:
            return LinkStatus(False, f"{self._slowest(chain)} is warming up", warm_in_s)
        given = link_performance(chain, link.purpose, now_s)
        if given.pair_rate_hz <= 0:
            return LinkStatus(False, "no pairs arrive")
        if link.purpose is Purpose.PAIRS:
            dark_s = next_light_s(chain.passes, now_s)
            if dark_s > 0:
                return LinkStatus(False, "waiting for the satellite's pass", dark_s)
        elif given.key_rate_bps <= 0:
            return LinkStatus(False, "fidelity too low for secret key", 0.0, given.pair_rate_hz, 0.0,
                              given.fidelity)  # fmt: skip
        return LinkStatus(True, "", 0.0, given.pair_rate_hz, given.key_rate_bps, given.fidelity)

    def _restore(self, stored: dict[str, Any]) -> None:
        lines = self.plant.lines
        self._cut_since = {key: float(at) for key, at in stored["cuts"].items() if key in lines}
        self._warm_since = {(node, source): float(at) for node, source, at in stored["warm"]}

    def _link(self, link_id: str, now_s: float) -> Link:
        link = self._links.get(link_id)
        if link is None:
            link = self._links[link_id] = Link(link_id, now_s)
        return link

    def _keep_counter(self, node: str, link_id: str, circuits: tuple[Circuit, ...]) -> None:
        """An end has a counter, which knows whether it is billed; without an end, the counter ended."""
        for circuit in circuits:
            if circuit.detector is not None:
                counter = self.counters.of(node, link_id, circuit.purpose)
                counter.metered, counter.ended = circuit.metered, False
                return
        self.counters.end(node, link_id)

    def _warm(self, node: str, setup: NodeSetup, now_s: float) -> None:
        """A laser starts when a circuit first needs it and stays warm until its source is switched off."""
        for circuit in setup.config.circuits:
            if circuit.role is Role.SOURCE and circuit.source is not None:
                key = (node, circuit.source)
                if circuit.source not in setup.disabled_components and key not in self._warm_since:
                    self._warm_since[key] = now_s
                    self._changed = True
        for component in setup.disabled_components:
            if self._warm_since.pop((node, component), None) is not None:
                self._changed = True

    def _change_lines(self, lines: Iterable[Line], since_s: float | None) -> None:
        """Cut since then, or spliced."""
        lines = list(lines)
        if not lines:
            return
        self.settle_all()
        for line in lines:
            known_s = self._cut_since.get(line.key, 0.0)
            if since_s is None:
                del self._cut_since[line.key]
            else:
                self._cut_since[line.key] = since_s
        for link in self._links.values():
            link.forget_chain()
        self._statuses.clear()
        self._changed = True
        for line in lines:
            for end in (line.link.a, line.link.b):
                tell = self.on_alarm.get(end.node)
                if tell is not None:
                    at_s = since_s if since_s is not None else known_s
                    alarm = _loss_of_signal(end.node, end.port, line, at_s)
                    tell(alarm if since_s is not None else _cleared(alarm, self.clock.now_s()))

    def _whole(self, line: Line) -> bool:
        """Whether light passes: not cut, and the port at each end enabled."""
        return line.key not in self._cut_since and not any(
            end.port in self._setups.get(end.node, _NO_SETUP).disabled_ports
            for end in (line.link.a, line.link.b)
        )

    def _chain(self, link: Link) -> Chain:
        if link.chain is None and link.broken is None:
            try:
                self._require_enabled(link)
                link.chain = follow(self.plant, link.parts(), self._whole, self._attenuation_db)
            except Broken as reason:
                link.broken = str(reason)
        if link.chain is None:
            raise Broken(link.broken)
        return link.chain

    def _require_enabled(self, link: Link) -> None:
        for part in link.parts():
            off = self._setups[part.node].disabled_components
            for name in (part.circuit.source, part.circuit.bsm, part.circuit.detector):
                if name is not None and name in off:
                    raise Broken(f"{part.node}/{name} is switched off")

    def _require_timing(self, link: Link) -> None:
        """Every configured timing route must meet the next one over a whole line."""
        routes = {(node, port) for node, route in link.timing_parts() for port in route.ports}
        for node, port in routes:
            line = self.plant.at_port.get((node, port))
            if line is None or line.quantum:
                raise Broken(f"no timing line at {node}/{port}")
            if not self._whole(line):
                raise Broken(f"no timing signal over {line.link.id} at {node}/{port}")
            far = line.far_end(node, port)
            if (far.node, far.port) not in routes:
                raise Broken(f"timing is not configured at {far.node}/{far.port}")

    def _attenuation_db(self, node: str, component: str) -> float:
        return self._setups.get(node, _NO_SETUP).attenuation_db.get(component, 0.0)

    def _warm_up_s(self, node: str, source: str) -> float:
        declared = self.plant.nodes[node].sources
        return next((each.warm_up_s for each in declared if each.id == source), 0.0)

    def _settled_at_s(self, chain: Chain) -> float:
        """When the last of the chain's lasers has settled or will have."""
        return max(self._warm_since.get(key, math.inf) + self._warm_up_s(*key) for key in chain.sources)

    def _slowest(self, chain: Chain) -> str:
        slowest = max(chain.sources, key=lambda key: self.settled_in_s(*key))
        return "/".join(slowest)

    def _settle(self, link: Link, now_s: float) -> None:
        """Counts what the ends released since they were last settled."""
        since_s, link.settled_s = link.settled_s, now_s
        try:
            chain = self._chain(link)
            self._require_timing(link)
        except Broken:
            return
        from_s = max(since_s, self._settled_at_s(chain))
        if from_s >= now_s:
            return
        purpose = link.purpose
        lit_s = now_s - from_s if purpose is Purpose.KEYS else light_s(chain.passes, from_s, now_s)
        given = link_performance(chain, purpose, now_s)
        for node, source in chain.sources:
            self._click(node, source, given.pair_rate_hz * lit_s)
        for part in link.parts():
            if not part.is_end:
                continue
            self.counters.add(
                part.node, link.link_id, purpose, _released_hz(given, part.circuit, chain) * lit_s
            )
            if part.circuit.detector is not None:
                self._click(part.node, part.circuit.detector, given.pair_rate_hz * lit_s)

    def _click(self, node: str, component: str, photons: float) -> None:
        self._clicks[node, component] = self._clicks.get((node, component), 0.0) + photons


_NO_SETUP = NodeSetup()


def _link_ids(config: NodeConfig) -> set[str]:
    return {part.link_id for part in config.circuits} | {part.link_id for part in config.timing}


def _released_hz(given: LinkPerformance, circuit: Any, chain: Chain) -> float:
    """What an end may release per second: the least of what the link gives and what was ordered."""
    if circuit.purpose is Purpose.KEYS:
        return float(min(given.key_rate_bps, circuit.key_rate_bps))
    duty = min((window.duty for window in chain.passes), default=1.0)
    return float(min(given.pair_rate_hz, circuit.pair_rate_hz / duty))


def _put(where: dict[str, Any], node: str, parts: tuple[Any, ...]) -> None:
    if parts:
        where[node] = parts
    else:
        where.pop(node, None)


def _loss_of_signal(node: str, port: str, line: Line, since_s: float) -> WorldAlarm:
    quantum = isinstance(line.link, QuantumLink)
    what = "no reference light" if quantum else "no timing signal"
    severity = "critical" if quantum else "major"
    return WorldAlarm(node, f"port/{port}", "loss-of-signal", severity, f"{what} at {port}", since_s)


def _cleared(alarm: WorldAlarm, now_s: float) -> WorldAlarm:
    return WorldAlarm(alarm.node, alarm.resource, alarm.alarm_type, "cleared", f"signal is back at "
                      f"{alarm.resource.removeprefix('port/')}", now_s)  # fmt: skip
