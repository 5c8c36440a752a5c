"""How a network-wide change went, by operator, EMS and element: what people are shown of it.

`Ballot` collects the answers that one process hears; its lists are JSON, for the change's report and for
notes. It decides nothing: that is `qcommit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from qmodel.contracts.commit import CommitReply, MemberReport, Verb, Vote

_PAST = {
    Verb.VALIDATE: "validated",
    Verb.PROVISION: "provisioned",
    Verb.CONFIRM: "confirmed",
    Verb.ABORT: "aborted",
}


@dataclass
class Ballot:
    """Answers to the verbs of one change; of each operator and verb the last one counts."""

    votes: dict[tuple[Verb, str], dict[str, Any]] = field(default_factory=dict)
    told: set[Verb] = field(default_factory=set)

    def hear(self, verb: Verb, operator: str, reply: CommitReply, elapsed_s: float) -> None:
        self.votes[verb, operator] = {
            "verb": verb.value,
            "member": f"nms.{operator}",
            "vote": reply.vote.value,
            "elapsed_s": round(elapsed_s, 6),
            "detail": reply.detail,
            "where": reply.where,
            "members": tree(reply.members),
        }

    def all(self) -> list[dict[str, Any]]:
        return list(self.votes.values())

    def untold(self) -> list[tuple[Verb, list[dict[str, Any]]]]:
        """Votes by verb that no note has told yet; from now on they count as told."""
        news = []
        for verb in Verb:
            heard = [vote for (of, _), vote in self.votes.items() if of is verb]
            if heard and verb not in self.told:
                self.told.add(verb)
                news.append((verb, heard))
        return news


def tree(members: Sequence[MemberReport]) -> list[dict[str, Any]]:
    """EMSs with their elements below them, from a flat list of `ems.north` and `ems.north/alice-qn`."""
    roots: dict[str, dict[str, Any]] = {}
    for member in members:
        ems, _, element = member.member.partition("/")
        if not element:
            below = roots.get(ems, {}).get("members", [])
            roots[ems] = {**_entry(ems, member), "members": below}
        else:
            parent = roots.setdefault(ems, {"member": ems, "members": []})
            parent["members"].append(_entry(element, member))
    return list(roots.values())


def counts_against(vote: dict[str, Any]) -> bool:
    """Whether it is a no before the decision. To an abort, REFUSED only says why the member had aborted."""
    return vote["vote"] == Vote.REFUSED.value and vote["verb"] in (Verb.VALIDATE.value, Verb.PROVISION.value)


def sentence(verb: Verb, votes: Sequence[dict[str, Any]]) -> str:
    """Such as "nms.north provisioned 5 elements of 2 EMSs in 0.31 s; nms.south refused: ... (bob-qn)"."""
    return "; ".join(_said(verb, vote) for vote in votes)


def _said(verb: Verb, vote: dict[str, Any]) -> str:
    elements = sum(len(ems.get("members", ())) for ems in vote["members"])
    what = f" {_count(elements, 'element')} of {_count(len(vote['members']), 'EMS')}" if elements else ""
    if vote["vote"] in (Vote.REFUSED.value, Vote.BUSY.value, Vote.UNKNOWN.value):
        where = f" ({vote['where']})" if vote["where"] else ""
        said = {"refused": "refused", "busy": "was busy", "unknown": "cannot say"}[vote["vote"]]
        return f"{vote['member']} {said}: {vote['detail'] or 'no reason given'}{where}"
    return f"{vote['member']} {_PAST[verb]}{what} in {vote['elapsed_s']:.2f} s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _entry(name: str, member: MemberReport) -> dict[str, Any]:
    return {
        "member": name,
        "vote": member.vote.value,
        "elapsed_s": member.elapsed_s,
        "detail": member.detail,
        "where": member.where,
    }
