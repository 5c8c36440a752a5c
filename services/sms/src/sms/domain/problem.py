"""Why an order ended, as an RFC 9457 problem document in its row.

The use cases make it from the error that stopped the order; the API shows it as it is.
"""

from __future__ import annotations

from typing import Any

from qmodel.errors import BellweaveError, Kind

_TITLES: dict[Kind, str] = {
    Kind.INVALID: "Invalid request",
    Kind.NOT_FOUND: "Not found",
    Kind.CONFLICT: "Conflict",
    Kind.FORBIDDEN: "Forbidden",
    Kind.QUOTA_EXCEEDED: "Quota exceeded",
    Kind.INFEASIBLE: "No feasible placement",
    Kind.DEVICE: "A network element refused",
    Kind.TIMEOUT: "Not in time",
    Kind.UNAVAILABLE: "Not available",
}


def problem_of(error: BellweaveError) -> dict[str, Any]:
    """`type`, `title`, `detail`, `where` and the error's facts (such as `refusals`), JSON-serializable."""
    problem: dict[str, Any] = {
        **error.facts,
        "type": f"urn:bellweave:problem:{error.kind.value}",
        "title": _TITLES.get(error.kind, "It did not work"),
        "detail": error.detail,
    }
    if error.where is not None:
        problem["where"] = error.where
    return problem


def cancelled() -> dict[str, Any]:
    return {
        "type": "urn:bellweave:problem:cancelled",
        "title": "Cancelled",
        "detail": "the tenant cancelled the order",
    }
