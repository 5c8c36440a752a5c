"""The state machine of one change at one level: pure, told the time.

`runner.Runner` calls `step` with what happened and carries out the effects in order; a `Save` precedes every
message that relies on it. Simulators and model checkers run this very function. It never does I/O.

What must be durable, and when (nothing else is):
    root    the plan (by whoever creates the change), COMMIT before the first confirm, the end
    middle  the plan, the yes vote before it is given, the end before it is reported
    leaf    the intent (persist-id, time of sending) before a device is touched, the vote, the end
    every   after a takeover of what is not decided, the new epoch before anything else is done: from then
            on the process before can save nothing
No row, or a row before CONFIRMING at the root, means abort.
"""

from __future__ import annotations

from dataclasses import replace

from qcommit.machine import (
    Answer,
    AskParent,
    Change,
    Effect,
    Heard,
    Input,
    Learned,
    Level,
    Limits,
    Member,
    Phase,
    Resumed,
    Save,
    Send,
    Tick,
    Told,
)
from qmodel.contracts.commit import Outcome, Verb, Vote

Step = tuple[Change, tuple[Effect, ...]]

_VERB_OF_PHASE: dict[Phase, Verb] = {
    Phase.VALIDATING: Verb.VALIDATE,
    Phase.PROVISIONING: Verb.PROVISION,
    Phase.CONFIRMING: Verb.CONFIRM,
    Phase.ABORTING: Verb.ABORT,
}
_PHASE_OF_VERB: dict[Verb, Phase] = {verb: phase for phase, verb in _VERB_OF_PHASE.items()}
_BEGINS_FROM: dict[Verb, tuple[Phase, ...]] = {
    Verb.VALIDATE: (Phase.PLANNED, Phase.IN_DOUBT),
    Verb.PROVISION: (Phase.VALIDATED, Phase.IN_DOUBT),
    Verb.CONFIRM: (Phase.PROVISIONED, Phase.IN_DOUBT),
}
_YES: dict[Verb, Vote] = {
    Verb.VALIDATE: Vote.VALIDATED,
    Verb.PROVISION: Vote.PROVISIONED,
    Verb.CONFIRM: Vote.CONFIRMED,
    Verb.ABORT: Vote.ABORTED,
}
_AFTER: dict[Phase, Phase] = {
    Phase.VALIDATING: Phase.VALIDATED,
    Phase.PROVISIONING: Phase.PROVISIONED,
    Phase.CONFIRMING: Phase.COMMITTED,
    Phase.ABORTING: Phase.ABORTED,
}


def step(change: Change, happened: Input, now_s: float, limits: Limits) -> Step:
    """The change after `happened` at `now_s`, and what to do, in order.

    Total: an input that no longer matters (a late answer, a repeated verb) changes nothing, and a verb that
    was already carried out is answered again."""
    match happened:
        case Told(verb):
            return _told(change, verb, now_s, limits)
        case Heard():
            return _heard(change, happened, now_s, limits)
        case Learned(outcome):
            return _learned(change, outcome, now_s, limits)
        case Tick():
            return _tick(change, now_s, limits)
        case Resumed(epoch):
            return _resumed(replace(change, epoch=epoch), now_s, limits)


def _told(change: Change, verb: Verb, now_s: float, limits: Limits) -> Step:
    phase = change.phase
    if change.voted and phase is Phase.IN_DOUBT and verb is Verb.VALIDATE:
        return change, ()  # out of date: the yes was given long after
    if phase in _BEGINS_FROM.get(verb, ()):
        return _enter(change, _PHASE_OF_VERB[verb], now_s, limits)
    if verb is Verb.ABORT and change.outcome is Outcome.UNDECIDED:
        return _abort(change, None, None, now_s, limits)
    if change.unknown and (verb, phase) in (
        (Verb.CONFIRM, Phase.COMMITTED),
        (Verb.ABORT, Phase.ABORTED),
    ):
        return _again(change, _PHASE_OF_VERB[verb], now_s, limits)
    answer = _standing(change, verb)
    return change, (() if answer is None else (Answer(answer),))


def _standing(change: Change, verb: Verb) -> Vote | None:
    """The answer to a verb that starts nothing new; None while the answer is still being worked for."""
    if change.phase is Phase.ABORTED:
        return Vote.UNKNOWN if change.unknown else Vote.ABORTED if verb is Verb.ABORT else Vote.REFUSED
    if change.phase is Phase.COMMITTED:
        return Vote.UNKNOWN if change.unknown else Vote.CONFIRMED
    if change.phase in _VERB_OF_PHASE:
        return None
    done = {Phase.VALIDATED: Vote.VALIDATED, Phase.PROVISIONED: Vote.PROVISIONED}.get(change.phase)
    return done if done is _YES[verb] else Vote.REFUSED


def _heard(change: Change, heard: Heard, now_s: float, limits: Limits) -> Step:
    verb = _VERB_OF_PHASE.get(change.phase)
    member = next((m for m in change.members if m.name == heard.member), None)
    if verb is not heard.verb or member is None or member.vote is not None:
        return change, ()
    if heard.vote is _YES[verb]:
        expires_at_s = heard.expires_at_s if verb is Verb.PROVISION else None
        return _settled(
            _with(change, replace(member, vote=heard.vote, expires_at_s=expires_at_s, detail=None)),
            now_s,
            limits,
        )
    before_decision = verb in (Verb.VALIDATE, Verb.PROVISION)
    if before_decision and heard.vote not in (None, Vote.BUSY) and not change.voted:
        reason = heard.detail or f"{member.name} refused to {verb.value}"
        change = _with(change, replace(member, detail=reason, where=heard.where))
        return _abort(change, reason, heard.where or member.name, now_s, limits)
    if heard.vote is Vote.UNKNOWN and change.level is not Level.LEAF:
        lost = replace(member, vote=Vote.UNKNOWN, detail=heard.detail, where=heard.where)
        return _settled(_with(change, lost), now_s, limits)
    if now_s >= change.deadline_s:
        return _out_of_time(change, now_s, limits)
    tries = member.tries + 1
    wait_s = min(limits.last_retry_s, limits.first_retry_s * 2 ** min(tries - 1, 10))
    change = _with(change, replace(member, tries=tries, detail=heard.detail))
    return change, (Send(member.name, verb, now_s + wait_s),)


def _settled(change: Change, now_s: float, limits: Limits) -> Step:
    """Go on when nobody owes an answer any more."""
    if any(m.vote is None for m in change.members):
        return change, ()
    change = replace(change, phase=_AFTER[change.phase])
    root = change.level is Level.ROOT
    match change.phase:
        case Phase.VALIDATED if root:
            return _enter(change, Phase.PROVISIONING, now_s, limits)
        case Phase.VALIDATED:
            return replace(change, deadline_s=now_s + limits.doubt_s), (Answer(Vote.VALIDATED),)
        case Phase.PROVISIONED if root:
            expires_at_s = change.expires_at_s
            if expires_at_s is not None and now_s + limits.margin_s >= expires_at_s:
                return _abort(change, "too little of the confirm window is left", None, now_s, limits)
            return _enter(change, Phase.CONFIRMING, now_s, limits)
        case Phase.PROVISIONED:
            change = replace(change, voted=True, deadline_s=now_s + limits.doubt_s)
            return change, (Save(), Answer(Vote.PROVISIONED))
        case Phase.COMMITTED:
            return change, (Save(), Answer(Vote.UNKNOWN if change.unknown else Vote.CONFIRMED))
        case _:
            refused = change.refusal is not None and change.level is not Level.ROOT
            vote = Vote.UNKNOWN if change.unknown else Vote.REFUSED if refused else Vote.ABORTED
            return change, (Save(), Answer(vote))


def _learned(change: Change, outcome: Outcome, now_s: float, limits: Limits) -> Step:
    if change.level is Level.ROOT or change.phase.final:
        return change, ()
    if outcome is Outcome.UNDECIDED:
        return replace(change, deadline_s=now_s + limits.last_retry_s), ()
    if outcome is Outcome.COMMIT and change.phase is not Phase.CONFIRMING:
        return _enter(change, Phase.CONFIRMING, now_s, limits)
    if outcome is Outcome.ABORT and change.outcome is Outcome.UNDECIDED:
        return _abort(change, "the coordinator decided to abort", None, now_s, limits)
    return change, ()


def _tick(change: Change, now_s: float, limits: Limits) -> Step:
    if change.phase.final or now_s < change.deadline_s:
        return change, ()
    if change.phase in _VERB_OF_PHASE:
        return _out_of_time(change, now_s, limits)
    if change.phase is Phase.VALIDATED and change.level is not Level.ROOT:
        return _abort(change, "nobody asked to provision in time", None, now_s, limits)
    if change.phase in (Phase.PROVISIONED, Phase.IN_DOUBT) and change.level is not Level.ROOT:
        return replace(change, deadline_s=now_s + limits.last_retry_s), (AskParent(),)
    return change, ()


def _out_of_time(change: Change, now_s: float, limits: Limits) -> Step:
    late = [m.name for m in change.members if m.vote is None]
    if change.phase is Phase.PROVISIONING and change.voted:
        doubting = replace(change, phase=Phase.IN_DOUBT, deadline_s=now_s + limits.last_retry_s)
        return doubting, (AskParent(),)  # a yes was given: only the parent may abort
    if change.phase in (Phase.VALIDATING, Phase.PROVISIONING):
        reasons = "; ".join(f"{m.name}: {m.detail}" for m in change.members if m.vote is None and m.detail)
        what = f"no answer in time from {', '.join(late)}" + (f" ({reasons})" if reasons else "")
        return _abort(change, what, late[0] if late else None, now_s, limits)
    members = tuple(
        replace(m, vote=Vote.UNKNOWN, detail=m.detail or "could not be reached") if m.vote is None else m
        for m in change.members
    )
    return _settled(replace(change, members=members), now_s, limits)


def _resumed(change: Change, now_s: float, limits: Limits) -> Step:
    """Only what is durable is known: decided changes go forward, the rest aborts or asks."""
    if change.phase.final:
        return change, ()
    if change.phase is Phase.CONFIRMING:
        return _enter(change, Phase.CONFIRMING, now_s, limits)
    if change.level is Level.ROOT or change.phase is Phase.ABORTING:
        reason = change.refusal or "its coordinator stopped before deciding"
        change, sends = _abort(change, reason, None, now_s, limits)
        return change, (Save(), *sends)  # fences whoever ran it before: that one can no longer decide
    change = replace(change, phase=Phase.IN_DOUBT, deadline_s=now_s + limits.last_retry_s)
    return change, (Save(), AskParent())


def _abort(change: Change, reason: str | None, where: str | None, now_s: float, limits: Limits) -> Step:
    return _enter(
        replace(change, refusal=change.refusal or reason, refused_where=change.refused_where or where),
        Phase.ABORTING,
        now_s,
        limits,
    )


def _again(change: Change, phase: Phase, now_s: float, limits: Limits) -> Step:
    """Try the UNKNOWN members once more, in the phase in which they were lost."""
    members = tuple(replace(m, vote=None, tries=0) if m.vote is Vote.UNKNOWN else m for m in change.members)
    change = replace(change, phase=phase, members=members, deadline_s=now_s + limits.settle_s)
    return change, tuple(Send(m.name, _VERB_OF_PHASE[phase]) for m in members if m.vote is None)


def _enter(change: Change, phase: Phase, now_s: float, limits: Limits) -> Step:
    """Enter a phase in which every member owes an answer."""
    patience_s = {Phase.VALIDATING: limits.validate_s, Phase.PROVISIONING: limits.provision_s}
    sending = phase is Phase.PROVISIONING
    members = tuple(
        replace(
            m,
            vote=None,
            tries=0,
            sent_at_s=now_s if sending and m.sent_at_s is None else m.sent_at_s,
            expires_at_s=None if phase is Phase.ABORTING else m.expires_at_s,
        )
        for m in change.members
    )
    change = replace(
        change,
        phase=phase,
        members=members,
        deadline_s=now_s + patience_s.get(phase, limits.settle_s),
        provision_epoch=(change.provision_epoch or change.epoch) if sending else change.provision_epoch,
        decided_at_s=now_s
        if phase is Phase.CONFIRMING and change.decided_at_s is None
        else change.decided_at_s,
    )
    durable = (phase is Phase.CONFIRMING and change.level is Level.ROOT) or (
        phase is Phase.PROVISIONING and change.level is Level.LEAF
    )
    effects: tuple[Effect, ...] = tuple(Send(m.name, _VERB_OF_PHASE[phase]) for m in members)
    if durable:
        effects = (Save(), *effects)
    if members:
        return change, effects
    change, after = _settled(change, now_s, limits)
    return change, effects + after


def _with(change: Change, member: Member) -> Change:
    return replace(change, members=tuple(member if m.name == member.name else m for m in change.members))
