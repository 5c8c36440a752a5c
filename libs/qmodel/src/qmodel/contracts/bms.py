"""What others may see of the BMS: quota answers."""

from __future__ import annotations

from typing import ClassVar

from qmodel.contracts import Body, Done, Request
from qmodel.ids import Id, Name


class QuotaReply(Body):
    links_used: int
    links_limit: int
    key_rate_used_bps: float
    key_rate_limit_bps: float


class ReserveQuota(Request[QuotaReply]):
    """Reserve quota for an order, once per `order_id`. Raises QuotaExceeded (with the limits as facts) or
    Forbidden for a tenant without a contract."""

    service: ClassVar[str] = "bms"
    operation: ClassVar[str] = "reserve-quota"
    reply: ClassVar[type[QuotaReply]] = QuotaReply

    tenant: Name
    order_id: Id
    links: int
    key_rate_bps: float


class ReleaseQuota(Request[Done]):
    service: ClassVar[str] = "bms"
    operation: ClassVar[str] = "release-quota"
    reply: ClassVar[type[Done]] = Done

    tenant: Name
    order_id: Id
