"""An invoice's life: it is issued, and never changes."""

from __future__ import annotations

from datetime import datetime

from bms.domain.invoice import Invoice, fees_due, make_lines
from bms.ports import Unit
from qmodel.errors import Conflict, Invalid, NotFound
from qmodel.ids import new_id


async def issue(unit: Unit, tenant: str, until: datetime | None, now: datetime) -> Invoice:
    """Bill every open charge due at or before `until` (domain time; now if None), late usage included.

    One invoice of a tenant at a time. Raises NotFound for a tenant without a contract, Invalid for a time to
    come, Conflict when an invoice reaches as far already or there is nothing to bill.
    """
    until = until or now
    if until > now:
        raise Invalid("an invoice cannot reach into the future", where="/until", now=now.isoformat())
    await unit.customer(tenant, lock=True)
    terms = await unit.terms(tenant)
    if terms is None:
        raise NotFound(f"{tenant} has no contract", where="/tenant")
    last = await unit.last_invoice(tenant)
    period_start = last.period_end if last else min(terms.contract.starts_at, until)
    if last is not None and until <= last.period_end:
        raise Conflict(f"invoice {last.number} reaches to {last.period_end.isoformat()}", where="/until")
    invoice_id = new_id("inv")
    await unit.add_fees(terms.contract, fees_due(terms, until))
    buckets = await unit.close_charges(tenant, until, invoice_id)
    if not buckets:
        raise Conflict(f"there is nothing to bill to {tenant} yet", where="/tenant")
    lines, total = make_lines(buckets, terms.plan.currency)
    invoice = Invoice(
        invoice_id=invoice_id,
        number=f"BW-{await unit.next_number():06d}",
        tenant=tenant,
        contract_id=terms.contract.contract_id,
        currency=terms.plan.currency,
        period_start=period_start,
        period_end=until,
        issued_at=now,
        lines=lines,
        total=total,
    )
    await unit.add_invoice(invoice)
    return invoice
