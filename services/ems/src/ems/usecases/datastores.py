"""What a device should run against what it runs: compared, driven back, or taken over.

`worker` looks after every change that a device tells and once in a while; operators ask through `api`. A
device that a network-wide change works on is left in peace, and one that is being synchronized takes no
change meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from ems.domain.configuration import Configuration, Content, differences
from ems.domain.drift import Cause, Comparison, Policy, Revision
from ems.ports import CommitStore, DeviceFleet, RevisionStore
from ems.usecases.busy import Busy
from qmodel.contracts.ems import DriftState
from qmodel.errors import Conflict, DeviceError, Invalid
from qmodel.ids import new_id
from qyang.errors import RpcError
from qyang.validation import Validator

_log = structlog.get_logger(__name__)


class NotAsIntended(DeviceError):
    """The device accepted a configuration and runs another one."""


class Datastores:
    """`now` is the domain clock; `moved` is told of an element whose configuration was changed here."""

    def __init__(
        self,
        store: RevisionStore,
        changes: CommitStore,
        fleet: DeviceFleet,
        busy: Busy,
        *,
        now: Callable[[], datetime],
        moved: Callable[[str, bool], None] = lambda element, ended: None,
    ) -> None:
        self._store = store
        self._changes = changes
        self._fleet = fleet
        self._busy = busy
        self._now = now
        self._moved = moved

    async def follow(self, element: str) -> Comparison:
        """Compare, and do about a difference what the device's policy says. Raises as `compare` does."""
        found = await self.compare(element)
        if found.difference and found.policy is Policy.OVERWRITE:
            return await self.sync_to(element, "policy")
        if found.difference and found.policy is Policy.IMPORT:
            return await self.sync_from(element, "policy")
        return found

    async def compare(self, element: str) -> Comparison:
        """Read what runs, keep it, and tell of drift when it begins, changes and ends.

        Raises NotFound, DeviceError, Unavailable, TimedOut, and Conflict while a change works on it."""
        mark = await self._at_rest(element)
        running = await self._fleet.configuration(element)
        found, _ = await self._against(element, running)
        if self._busy.mark(element) != mark:
            raise Conflict(f"{element} was changed while it was read", where=element, retry_after_s=1.0)
        await self._store.record(element, running.content, found, DriftState.GONE, "nobody", self._now())
        return found

    async def sync_to(self, element: str, who: str, *, dry_run: bool = False) -> Comparison:
        """Make the device run what is intended; with `dry_run` only say what would change there.

        Raises as `compare` does, and NotAsIntended."""
        if dry_run:
            await self._at_rest(element)
            found, _ = await self._against(element, await self._fleet.configuration(element))
            return found
        async with self._alone(element):
            running = await self._fleet.configuration(element)
            found, intended = await self._against(element, running)
            if found.difference:
                target = _configured(running, intended)
                running = await self._fleet.replace(element, target)
                left, _ = await self._against(element, running)
                if left.difference:
                    raise NotAsIntended(
                        f"{element} said ok and does not run it: {left.difference[0].lines[0]}", where=element
                    )
            at_rest = Comparison(element, found.revision, found.policy, ())
            state = DriftState.OVERWRITTEN
            await self._store.record(element, running.content, at_rest, state, who, self._now())
        return found

    async def sync_from(self, element: str, who: str, *, dry_run: bool = False) -> Comparison:
        """Take over as intended what runs, circuits excepted: they are the NMS's to change. The difference of
        what is returned is what remains; with `dry_run` it is what would be taken over.

        Raises as `compare` does, and Invalid if what runs is not a valid configuration."""
        mark = await self._at_rest(element)
        running = await self._fleet.configuration(element)
        found, intended = await self._against(element, running)
        taken = intended.with_base_of(running.content)
        _validate(_configured(running, taken))
        if dry_run:
            return Comparison(element, found.revision, found.policy, differences(intended, taken))
        if self._busy.mark(element) != mark:
            raise Conflict(f"{element} was changed while it was read", where=element, retry_after_s=1.0)
        revision = found.revision
        if taken != intended:
            revision = await self._store.intend(element, taken, Cause.SYNC_FROM, who, found.revision)
        now = Comparison(element, revision, found.policy, differences(taken, running.content))
        await self._store.record(element, running.content, now, DriftState.IMPORTED, who, self._now())
        return now

    async def _against(self, element: str, running: Configuration) -> tuple[Comparison, Content]:
        """What is intended, and how what runs differs."""
        intended, policy = await self._store.newest_intended(element)
        if intended is None or intended.content is None:  # looked at for the first time
            revision, content = await self._store.adopt(element, running.content)
        else:
            revision, content = intended.revision, intended.content
        return Comparison(element, revision, policy, differences(content, running.content)), content

    async def _at_rest(self, element: str) -> int:
        """Raises Conflict while somebody works on the element."""
        mark = self._busy.mark(element)
        holder = self._busy.holder(element) or (await self._changes.claimed("", [element])).get(element)
        if holder is not None:
            raise Conflict(f"{element} is busy with {holder}", where=element, retry_after_s=1.0)
        return mark

    @asynccontextmanager
    async def _alone(self, element: str) -> AsyncIterator[None]:
        """Holds the element against changes while it is written."""
        holder = self._busy.holder(element)
        if holder is not None:
            raise Conflict(f"{element} is busy with {holder}", where=element, retry_after_s=1.0)
        mine = new_id("sync")
        self._busy.take([element], mine)
        try:
            claimed = (await self._changes.claimed("", [element])).get(element)
            if claimed is not None:
                raise Conflict(f"{element} is busy with {claimed}", where=element, retry_after_s=1.0)
            yield
        finally:
            self._busy.give_back(mine)
            self._moved(element, True)

    async def revision(self, element: str, name: str) -> Revision:
        """`name` is a datastore, or one of its revisions as in `intended@3`. Raises NotFound, Invalid."""
        datastore, _, number = name.partition("@")
        if datastore not in ("intended", "running") or (number and not number.isdecimal()):
            raise Invalid("name a datastore or a revision of it, such as running or intended@3", where=name)
        return await self._store.revision(element, datastore, int(number) if number else None)


def _configured(running: Configuration, content: Content) -> Configuration:
    """`content` in the schema that the device has now."""
    try:
        return Configuration.kept(running.schema, content)
    except RpcError as error:
        where = None if error.path is None else error.path.text
        raise Invalid(f"not in the device's schema any more: {error.message}", where=where) from None


def _validate(configuration: Configuration) -> None:
    """YANG's rules for what may be intended (RFC 8342, 5.1.4)."""
    try:
        Validator(configuration.schema).validate(configuration.tree)
    except RpcError as error:
        where = None if error.path is None else error.path.text
        raise Invalid(f"what runs is no valid configuration: {error.message}", where=where) from None
