"""A plan's life: it is published once; other prices are another plan."""

from __future__ import annotations

from dataclasses import replace

from bms.domain.terms import Plan
from bms.ports import Unit
from qmodel.errors import Conflict


async def publish(unit: Unit, plan: Plan) -> tuple[Plan, bool]:
    """The plan, and whether it is new.

    Raises Invalid for prices that cannot be billed exactly, Conflict if the name has other prices already.
    """
    plan.check()
    if await unit.add_plan(plan):
        return plan, True
    known = await unit.plan(plan.name)
    if known is None or replace(known, created_at=plan.created_at) != plan:
        raise Conflict(f"plan {plan.name} has other prices: give the new ones a new name", where="/name")
    return known, False
