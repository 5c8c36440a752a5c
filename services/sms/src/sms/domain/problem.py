"""Why an order ended, as an RFC 9457 problem document in its row.

The use cases make it from the error that stopped the order; the API shows it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qmodel.errors import BellweaveError, Infeasible, Kind

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


def no_placement(refused: Sequence[Infeasible], sites: Mapping[str, tuple[str, str]]) -> Infeasible:
    """One error for the refusals of all operators, with links named by the tenant's sites, not by nodes.

    `sites` has the two sites of every link of the order."""
    refusals = []
    for refusal in (refusal for error in refused for refusal in error.facts.get("refusals", ())):
        a, b = sites.get(str(refusal.get("link_id")), (refusal.get("a"), refusal.get("b")))
        refusals.append({**refusal, "a": a, "b": b})
    if not refusals:
        return refused[0]
    binding = sorted({str(refusal.get("constraint", "path")) for refusal in refusals})
    count = len({refusal.get("link_id") for refusal in refusals})
    detail = f"{count} of {len(sites)} links cannot be placed: {', '.join(binding)}"
    return Infeasible(detail, where=refusals[0].get("where"), refusals=refusals)


def cancelled() -> dict[str, Any]:
    return {
        "type": "urn:bellweave:problem:cancelled",
        "title": "Cancelled",
        "detail": "the tenant cancelled the order",
    }
