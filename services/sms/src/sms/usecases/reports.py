"""What operators tell about their links: states, alarms and usage, taken in within a consumer's transaction.

The worker calls these, one per event. They only write down what was said and wake the loop that acts on it;
usage goes straight on to the BMS, once per usage id, in the same transaction.
"""

from __future__ import annotations

from datetime import timedelta

from qmodel.contracts.nms import LinkAlarm, LinkStateChanged, LinkUsage
from qmodel.contracts.sms import ServiceUsage
from qmodel.errors import Conflict, NotFound
from sms.domain.link import Disruption, Heard
from sms.ports import HEARD_LOOP, Unit, UsageEntry


async def link_state_changed(unit: Unit, event: LinkStateChanged) -> None:
    """Old news, and links that are not ours (any more), change nothing."""
    expected = event.at + timedelta(seconds=event.expected_in_s) if event.expected_in_s > 0 else None
    heard = Heard(event.state, event.at, event.reason, expected, event.placement)
    if await unit.report_state(event.link_id, event.operator, heard):
        await unit.wake(HEARD_LOOP, event.operator)


async def link_alarm(unit: Unit, event: LinkAlarm) -> None:
    alarm = Disruption(event.severity, event.text, event.root_cause, event.at)
    if await unit.report_alarm(event.link_id, event.operator, alarm):
        await unit.wake(HEARD_LOOP, event.operator)


async def link_usage(unit: Unit, event: LinkUsage) -> None:
    """Pass usage on as the service's. Raises NotFound for a link that never was: that usage must be looked
    at by a person, so it becomes a dead letter and is not lost."""
    entry = UsageEntry(
        usage_id=event.usage_id,
        link_id=event.link_id,
        operator=event.operator,
        unit=event.unit,
        quantity=event.quantity,
        period_start=event.period_start,
        period_end=event.period_end,
    )
    owner = await unit.count_usage(entry)
    if owner is None:
        raise NotFound("usage of a link that is not known", where=event.link_id)
    if owner.fresh:
        await unit.emit(
            ServiceUsage(
                tenant=owner.tenant,
                service_id=owner.service_id,
                link_id=event.link_id,
                usage_id=event.usage_id,
                unit=event.unit,
                quantity=event.quantity,
                period_start=event.period_start,
                period_end=event.period_end,
            )
        )


def check_source(source: str, speaker: str, operator: str) -> None:
    """Only the NMS that speaks for an operator may tell about its links. Raises Conflict."""
    if source != speaker:
        raise Conflict(f"an event about {operator} came from nms.{source}", where=operator)
