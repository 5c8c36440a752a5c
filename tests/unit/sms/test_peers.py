"""How long the SMS waits for its peers."""

from __future__ import annotations

from typing import Any

import pytest

from qcommit.machine import LIMITS, Change, Level, Limits
from qmodel.contracts.commit import CommitReply, Verb, Vote
from sms.adapters.peers import BusNetworks


class Listening:
    """A bus that only notes how long it would have waited."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def request(self, instance: str, request: Any, *, timeout_s: float) -> CommitReply:
        self.waits_s.append(timeout_s)
        return CommitReply(change_id=request.change_id, vote=Vote.VALIDATED)


def of(limits: Limits, verb: Verb) -> float:
    return {Verb.VALIDATE: limits.validate_s, Verb.PROVISION: limits.provision_s}.get(verb, limits.settle_s)


@pytest.mark.parametrize("verb", list(Verb))
async def test_an_nms_is_waited_for_longer_than_it_may_work_and_within_our_own_limit(verb: Verb) -> None:
    bus = Listening()
    change = Change("chg_1", Level.ROOT, epoch=1, members=(), confirm_timeout_s=60.0)
    await BusNetworks(bus, ["north"], "sms.main").commit("north", change, verb)  # type: ignore[arg-type]
    assert of(LIMITS[Level.MIDDLE], verb) < bus.waits_s[0] < of(LIMITS[Level.ROOT], verb)
