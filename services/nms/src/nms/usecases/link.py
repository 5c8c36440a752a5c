"""The state of links in force, from what their elements report.

`worker` calls `reported` for every readiness event and `act` from the link loop, when time may have changed
the answer; `heal` calls `cut` for links that a fault disrupts. Each change of state is told as an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from nms.domain.link import IN_FORCE, Circumstances, Report, Standing, judge, least_fidelity, lit
from nms.domain.network import Network
from nms.domain.rootcause import dark_links, used_links
from nms.ports import ALIGN_LOOP, HEAL_LOOP, LINK_LOOP, NETWORK_KEY, LinkAlarmRow, LinkRow, Store, Unit
from nms.usecases.settle import clear_alarm
from nms.usecases.topology import Networks
from qmodel.clock import DomainClock
from qmodel.contracts.ems import ElementReadiness
from qmodel.contracts.nms import LinkStateChanged
from qmodel.links import LinkState

_LEAST_PATIENCE_S = 60.0
"""Domain time that any link may take to settle, however short the forecast."""


@dataclass(frozen=True)
class Scene:
    """`dark` quantum links, and the active alarm of each link that has one."""

    network: Network
    dark: frozenset[str]
    alarms: Mapping[str, LinkAlarmRow]


class Links:
    """`fresh_within_s` and `hold_off_s` are real time; `acquisition_s` is domain time."""

    def __init__(
        self,
        store: Store,
        networks: Networks,
        clock: DomainClock,
        *,
        fresh_within_s: float,
        hold_off_s: float,
        acquisition_s: float,
        patience: float,
        tolerance: float,
    ) -> None:
        self._store = store
        self._networks = networks
        self._clock = clock
        self._fresh_within_s = fresh_within_s
        self._hold_off_s = hold_off_s
        self._acquisition_s = acquisition_s
        self._patience = patience
        self._tolerance = tolerance

    async def reported(self, unit: Unit, ems: str, event: ElementReadiness, heard_at: datetime) -> None:
        """An element's report: keep it, and judge the links that have circuits there."""
        await self._networks.check_source(unit, ems, event.element)
        affected = {row.link_id for row in await unit.links_at(event.element)}
        if not await unit.take_readiness(ems, event, heard_at):
            return
        affected |= {row.link_id for row in await unit.links_at(event.element)}
        if event.reachable and await unit.stale(event.element):
            await unit.wake(ALIGN_LOOP, event.element)
        if not affected:
            return
        scene = await self.scene(unit)
        for row in await unit.links(sorted(affected), lock=True):
            await self.judge(unit, scene, row)

    async def act(self, link_id: str) -> float | None:
        """The link loop: judge one link again. Returns the real seconds until time may change the answer."""

        async def work(unit: Unit) -> float | None:
            rows = await unit.links([link_id], lock=True)
            if not rows or not rows[0].in_force:
                return None
            await self.judge(unit, await self.scene(unit), rows[0])
            (row,) = await unit.links([link_id])
            return self._next_look_s(row)

        return await self._store.run(work)

    async def scene(self, unit: Unit) -> Scene:
        """What is the same for all links that are judged in one transaction."""
        _, network = await self._networks.current(unit)
        alarms = await unit.active_alarms()
        if not alarms:
            return Scene(network, frozenset(), {})
        dark = dark_links(network.topology, alarms, self._clock.now_s())
        return Scene(network, dark, await unit.link_alarms())

    async def judge(self, unit: Unit, scene: Scene, row: LinkRow) -> None:
        """Bring the state of a locked row up to date."""
        if not row.in_force or row.state not in IN_FORCE:
            return
        now_s = self._clock.now_s()
        around = Circumstances(
            cause=_cause(scene, row),
            lit=lit(row.placement, now_s, self._acquisition_s),
            overdue=row.state is LinkState.STABILIZING and now_s > self._deadline_s(row),
        )
        least = least_fidelity(row.request, _at_border(scene.network, row), self._tolerance)
        standing = judge(row.state, row.parts, await self._reports(unit, row), least, around)
        await self.stand(unit, row, standing)

    async def stand(self, unit: Unit, row: LinkRow, standing: Standing) -> None:
        """Give the link this standing, and tell it if its state is another one."""
        now = self._clock.now()
        if standing.state is LinkState.UP:
            await clear_alarm(unit, self._networks.operator, row.link_id, now, "the link is up again")
        if standing.state is row.state:
            if standing != Standing(row.state, row.reason, row.expected_in_s):
                await unit.set_standing(row.link_id, standing, row.since)
            return
        await unit.set_standing(row.link_id, standing, now)
        await unit.emit(
            LinkStateChanged(
                operator=self._networks.operator,
                link_id=row.link_id,
                state=standing.state,
                at=now,
                reason=standing.reason,
                expected_in_s=standing.expected_in_s,
            )
        )
        if standing.state is LinkState.DOWN:
            await unit.wake(HEAL_LOOP, NETWORK_KEY, self._hold_off_s)
        if standing.state is LinkState.UP:
            await unit.wake(LINK_LOOP, row.link_id)

    async def _reports(self, unit: Unit, row: LinkRow) -> dict[str, Report]:
        committed_s = row.committed_at.timestamp() if row.committed_at is not None else 0.0
        waiting = self._clock.real_now_s() < committed_s + self._fresh_within_s
        return {
            element: Report(said.circuit, stale=waiting and said.heard_at.timestamp() < committed_s)
            for element, said in (await unit.reports(row.link_id)).items()
        }

    def _deadline_s(self, row: LinkRow) -> float:
        """Domain time from which a stabilizing link is overdue; a satellite's next pass is waited for."""
        begin_s = row.since.timestamp()
        patience_s = max(self._patience * row.placement.settle_s, _LEAST_PATIENCE_S)
        visibility = row.placement.visibility
        return begin_s + patience_s + (visibility.period_s if visibility is not None else 0.0)

    def _next_look_s(self, row: LinkRow) -> float | None:
        now_s = self._clock.now_s()
        looks: list[float] = []
        if row.state is LinkState.STABILIZING:
            looks.append(max(self._deadline_s(row) - now_s, 0.0) + 1.0)
        visibility = row.placement.visibility
        if visibility is not None and row.state is LinkState.UP:
            lit_from_s = visibility.next_start_s(now_s) + self._acquisition_s
            looks.append(
                (lit_from_s - now_s) if lit_from_s > now_s else lit_from_s + visibility.period_s - now_s
            )
        real_looks = [self._clock.real_duration_s(look) for look in looks]
        if row.state is LinkState.STABILIZING and row.committed_at is not None:
            # Reports from before the commit count from here on: whoever was early has nothing new to say.
            fresh_s = row.committed_at.timestamp() + self._fresh_within_s - self._clock.real_now_s()
            real_looks += [fresh_s] if fresh_s > 0 else []
        return min(real_looks, default=None)


def _cause(scene: Scene, row: LinkRow) -> str | None:
    """Why no light can come through, in the words of its alarm if that is raised already."""
    cut = scene.dark & used_links(row.placement)
    if not cut:
        return None
    known = scene.alarms.get(row.link_id)
    return known.text if known is not None else f"no light on {', '.join(sorted(cut))}"


def _at_border(network: Network, row: LinkRow) -> bool:
    """Whether the link goes on at another operator."""
    request = row.request
    return request.swap_at_b or request.handover is not None or not network.owns(network.node(request.b))
