"""What comes in over the bus: an NMS in doubt about a commit, and the events of every NMS.

`app` registers it. It decides nothing: each message goes to its use case, within the consumer's transaction.
"""

from __future__ import annotations

import asyncio

import structlog

from qkit.bus import Bus
from qkit.database import Connection
from qkit.events import EventMeta, Handlers
from qmodel.contracts.commit import OutcomeAtSms, OutcomeReply
from qmodel.contracts.nms import LinkAlarm, LinkStateChanged, LinkUsage
from qmodel.errors import BellweaveError
from sms.ports import Binder
from sms.usecases import reports
from sms.usecases.commit import Commits
from sms.usecases.sites import Sites

_TEND_S = 0.5


class Requests:
    """Answers what we are asked."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def serve(self, bus: Bus) -> None:
        bus.serve(OutcomeAtSms, self._outcome)

    async def _outcome(self, ask: OutcomeAtSms) -> OutcomeReply:
        return OutcomeReply(change_id=ask.change_id, outcome=await self._commits.outcome(ask.change_id))


class Events:
    """Handlers for the events of the NMS `instance`."""

    def __init__(self, store: Binder, sites: Sites, instance: str) -> None:
        self._store = store
        self._sites = sites
        self._instance = instance

    def handlers(self) -> Handlers:
        return {LinkStateChanged: self._state, LinkAlarm: self._alarm, LinkUsage: self._usage}

    async def _state(self, conn: Connection, event: LinkStateChanged, meta: EventMeta) -> None:
        self._check(event.operator)
        await reports.link_state_changed(self._store.on(conn), event)

    async def _alarm(self, conn: Connection, event: LinkAlarm, meta: EventMeta) -> None:
        self._check(event.operator)
        await reports.link_alarm(self._store.on(conn), event)

    async def _usage(self, conn: Connection, event: LinkUsage, meta: EventMeta) -> None:
        self._check(event.operator)
        await reports.link_usage(self._store.on(conn), event)

    def _check(self, operator: str) -> None:
        """Raises Unavailable while nobody has spoken for the operator, Conflict if another NMS does."""
        reports.check_source(self._instance, self._sites.instance_of(operator), operator)


async def keep_time(commits: Commits) -> None:
    """Let time work on the changes under way; runs for ever."""
    log = structlog.get_logger("sms.commits")
    while True:
        await asyncio.sleep(_TEND_S)
        try:
            await commits.tend()
        except BellweaveError as error:
            log.warning("changes-not-tended", detail=error.detail)


async def keep_sites(sites: Sites) -> None:
    """Ask the NMSs for their sites now and then, so that no order has to wait for it; runs for ever."""
    while True:
        pause_s = sites.ttl_s / 2 if sites.complete else 1.0
        await sites.refresh(pause_s)
        await asyncio.sleep(pause_s)
