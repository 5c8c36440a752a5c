"""Which sites exist, and which operator's NMS speaks for each.

One directory per process: loaded from the rows at the start, asked anew from every NMS when it is old or when
somebody names a site that it does not know. Orders are checked and split by it. It never guesses: a site is
unknown only after every NMS has been heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from qmodel.contracts.nms import SiteView
from qmodel.errors import BellweaveError, Invalid, Unavailable
from sms.ports import KnownSites, Networks, Place, SiteRows

_log = logging.getLogger(__name__)
_SILENT_PAUSE_S = 0.1
"""An NMS that has not answered yet is asked again this soon: it may have got its topology only now."""


class Sites:
    """`ttl_s` is how long an answer is taken as fresh, `pause_s` the least time between two rounds of asking
    because of an unknown name; both in seconds of `monotonic_s`."""

    def __init__(
        self,
        networks: Networks,
        rows: SiteRows,
        monotonic_s: Callable[[], float],
        *,
        ttl_s: float = 30.0,
        pause_s: float = 2.0,
    ) -> None:
        self._networks = networks
        self._rows = rows
        self._monotonic_s = monotonic_s
        self.ttl_s = ttl_s
        self._pause_s = pause_s
        self._known: dict[str, KnownSites] = {}
        self._heard: set[str] = set()
        self._places: dict[str, Place] = {}
        self._asked_at_s: float | None = None
        self._asking = asyncio.Lock()

    async def load(self) -> None:
        """Take what is in the rows, so that sites are known before the first NMS has answered."""
        for known in await self._rows.load():
            if known.instance in self._networks.instances:
                self._take(known)

    def instance_of(self, operator: str) -> str:
        """The NMS that speaks for `operator`. Raises Unavailable while it has not been heard."""
        for known in self._known.values():
            if known.operator == operator:
                return known.instance
        raise Unavailable(f"no NMS has spoken for operator {operator} yet", where=operator, retry_after_s=1.0)

    @property
    def complete(self) -> bool:
        """Whether every NMS answered when last asked."""
        return self._heard == set(self._networks.instances)

    def all(self) -> list[Place]:
        return sorted(self._places.values(), key=lambda place: place.site.casefold())

    def borders_of(self, operator: str) -> tuple[str, ...]:
        return next((known.borders for known in self._known.values() if known.operator == operator), ())

    async def find(self, names: Sequence[str]) -> list[Place]:
        """The places of these sites, in order; names are matched without regard to case.

        Raises Invalid whose `where` points at the first unknown name; Unavailable if it may only be unknown
        because an NMS did not answer."""
        if self._stale(self.ttl_s):
            await self.refresh(self.ttl_s)
        if any(name.strip().casefold() not in self._places for name in names):
            await self.refresh(self._pause_s if self.complete else _SILENT_PAUSE_S)
        missing = [i for i, name in enumerate(names) if name.strip().casefold() not in self._places]
        if missing:
            self._refuse(names, missing)
        return [self._places[name.strip().casefold()] for name in names]

    async def refresh(self, older_than_s: float = 0.0) -> None:
        """Ask every NMS at once. Those that do not answer keep what they said last."""
        async with self._asking:
            if not self._stale(older_than_s):
                return
            answers = await asyncio.gather(*(self._ask(instance) for instance in self._networks.instances))
            self._heard = {known.instance for known in answers if known is not None}
            self._asked_at_s = self._monotonic_s()
            fresh = [known for known in answers if known and self._known.get(known.instance) != known]
            for known in fresh:  # all of them before anything is awaited: who looks meanwhile sees them all
                self._take(known)
            for known in fresh:
                await self._keep(known)

    async def _ask(self, instance: str) -> KnownSites | None:
        try:
            said = await self._networks.describe(instance)
        except BellweaveError as error:
            _log.warning("nms.%s did not describe itself: %s", instance, error.detail)
            return None
        return KnownSites(said.operator, instance, said.revision, said.sites, said.borders)

    async def _keep(self, known: KnownSites) -> None:
        try:
            await self._rows.save(known)
        except BellweaveError as error:
            _log.warning("the sites of %s could not be kept: %s", known.operator, error.detail)

    def _take(self, known: KnownSites) -> None:
        self._known[known.instance] = known
        self._places = {
            view.site.casefold(): _place(owner, view)
            for owner in self._known.values()
            for view in owner.sites
        }

    def _stale(self, limit_s: float) -> bool:
        return self._asked_at_s is None or self._monotonic_s() - self._asked_at_s >= limit_s

    def _refuse(self, names: Sequence[str], missing: list[int]) -> None:
        silent = [i for i in self._networks.instances if i not in self._heard and i not in self._known]
        if silent:
            raise Unavailable(
                f"cannot tell whether site {names[missing[0]]!r} exists: no answer from {', '.join(silent)}",
                where=f"/sites/{missing[0]}",
                retry_after_s=2.0,
            )
        errors = [{"pointer": f"/sites/{i}", "detail": f"there is no site {names[i]!r}"} for i in missing]
        raise Invalid(errors[0]["detail"], where=errors[0]["pointer"], errors=errors)


def _place(known: KnownSites, view: SiteView) -> Place:
    return Place(view.site, known.operator, known.instance, view.node)
