"""EMSs and the SMS over the bus, with a time limit for each verb. Implements `nms.ports.Peers`."""

from __future__ import annotations

from collections.abc import Mapping

from qcommit.machine import Change
from qkit.bus import Bus
from qmodel.contracts.commit import CommitAtEms, CommitReply, Outcome, OutcomeAtNms, OutcomeAtSms, Verb
from qmodel.errors import Invalid
from qmodel.nodeconfig import NodeConfig

_ASK_S = 5.0


class BusPeers:
    """`limits_s` is how long one answer is waited for, by verb, on real time."""

    def __init__(self, bus: Bus, limits_s: Mapping[Verb, float]) -> None:
        self._bus = bus
        self._limits_s = dict(limits_s)

    async def tell_ems(
        self, ems: str, change: Change, verb: Verb, targets: Mapping[str, NodeConfig]
    ) -> CommitReply:
        request = CommitAtEms(
            request_id=f"{change.change_id}.{change.epoch}.{verb.value}"[:80],
            change_id=change.change_id,
            epoch=change.epoch,
            verb=verb,
            coordinator=self._bus.name,
            confirm_timeout_s=change.confirm_timeout_s,
            targets=dict(targets),
        )
        return await self._bus.request(_instance(ems, "ems"), request, timeout_s=self._limits_s[verb])

    async def ask_outcome(self, parent: str, change_id: str) -> Outcome:
        service, _, instance = parent.partition(".")
        request_id = f"{change_id}.outcome"[:80]
        if service == "sms":
            ask = OutcomeAtSms(request_id=request_id, change_id=change_id)
            return (await self._bus.request(instance, ask, timeout_s=_ASK_S)).outcome
        if service == "nms":
            above = OutcomeAtNms(request_id=request_id, change_id=change_id)
            return (await self._bus.request(instance, above, timeout_s=_ASK_S)).outcome
        raise Invalid(f"{parent} coordinates no commit", where=parent)


def _instance(name: str, service: str) -> str:
    kind, _, instance = name.partition(".")
    if kind != service or not instance:
        raise Invalid(f"{name} is no {service}", where=name)
    return instance
