"""A contract's life: it is signed, and from then on the tenant may order and is billed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bms.domain.terms import Contract
from bms.ports import RATING_LOOP, Unit
from qmodel.errors import Conflict, Invalid
from qmodel.ids import new_id

_LONGEST_PAST = timedelta(days=3653)
"""A contract can be signed for up to ten years back: each month of it is billed."""


@dataclass(frozen=True)
class Offer:
    """What is to be signed; without `starts_at` (domain time) it starts now."""

    tenant: str
    plan: str
    links_limit: int
    key_rate_limit_bps: int
    starts_at: datetime | None = None

    def says(self, contract: Contract) -> bool:
        return (
            (self.plan, self.links_limit, self.key_rate_limit_bps)
            == (contract.plan, contract.links_limit, contract.key_rate_limit_bps)
        ) and self.starts_at in (None, contract.starts_at)


async def sign(unit: Unit, offer: Offer, now: datetime) -> tuple[Contract, bool]:
    """The contract, and whether it is new; usage that waited for it is rated soon.

    Raises Invalid for an unknown customer or plan or a start long ago, Conflict if the tenant has another
    contract.
    """
    if offer.starts_at is not None and offer.starts_at < now - _LONGEST_PAST:
        raise Invalid("a contract starts at most ten years ago", where="/starts_at")
    if await unit.customer(offer.tenant) is None:
        raise Invalid(f"there is no customer {offer.tenant}: enter it first", where="/tenant")
    if await unit.plan(offer.plan) is None:
        raise Invalid(f"there is no plan {offer.plan}: publish it first", where="/plan")
    contract = Contract(
        contract_id=new_id("con"),
        tenant=offer.tenant,
        plan=offer.plan,
        starts_at=offer.starts_at or now,
        links_limit=offer.links_limit,
        key_rate_limit_bps=offer.key_rate_limit_bps,
        created_at=now,
    )
    if await unit.add_contract(contract):
        await unit.wake(RATING_LOOP, offer.tenant)
        return contract, True
    terms = await unit.terms(offer.tenant)
    if terms is None or not offer.says(terms.contract):
        raise Conflict(f"{offer.tenant} has another contract", where="/tenant")
    return terms.contract, False
