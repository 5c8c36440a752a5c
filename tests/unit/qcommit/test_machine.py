"""The commit's state machine alone: what it saves, when it decides, and how it gets out of trouble."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qcommit.machine import (
    Answer,
    AskParent,
    Change,
    Effect,
    Heard,
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
from qcommit.transitions import step
from qmodel.contracts.commit import Outcome, Verb, Vote

LIMITS = Limits()


def planned(level: Level, *names: str) -> Change:
    parent = None if level is Level.ROOT else "sms.main"
    return Change("chg_1", level, 1, tuple(Member(n) for n in names or ("a", "b")), parent=parent)


def run(change: Change, *inputs: object, now_s: float = 0.0) -> tuple[Change, list[Effect]]:
    effects: list[Effect] = []
    for happened in inputs:
        change, more = step(change, happened, now_s, LIMITS)  # type: ignore[arg-type]
        effects += more
    return change, effects


def yes(verb: Verb, *names: str, expires_at_s: float = 60.0) -> list[Heard]:
    vote = {
        Verb.VALIDATE: Vote.VALIDATED,
        Verb.PROVISION: Vote.PROVISIONED,
        Verb.CONFIRM: Vote.CONFIRMED,
        Verb.ABORT: Vote.ABORTED,
    }[verb]
    return [Heard(name, verb, vote, expires_at_s=expires_at_s) for name in names]


def test_the_root_decides_durably_before_the_first_confirm_is_sent() -> None:
    change, effects = run(
        planned(Level.ROOT),
        Told(Verb.VALIDATE),
        *yes(Verb.VALIDATE, "a", "b"),
        *yes(Verb.PROVISION, "a", "b"),
    )
    assert change.phase is Phase.CONFIRMING
    assert effects[-3:] == [Save(), Send("a", Verb.CONFIRM), Send("b", Verb.CONFIRM)]


def test_the_root_answers_only_after_the_end_is_durable() -> None:
    change, effects = run(
        planned(Level.ROOT),
        Told(Verb.VALIDATE),
        *yes(Verb.VALIDATE, "a", "b"),
        *yes(Verb.PROVISION, "a", "b"),
        *yes(Verb.CONFIRM, "a", "b"),
    )
    assert change.phase is Phase.COMMITTED
    assert effects[-2:] == [Save(), Answer(Vote.CONFIRMED)]


def test_a_leaf_writes_its_intent_before_it_touches_a_device() -> None:
    _, effects = run(
        planned(Level.LEAF), Told(Verb.VALIDATE), *yes(Verb.VALIDATE, "a", "b"), Told(Verb.PROVISION)
    )
    assert effects[-3:] == [Save(), Send("a", Verb.PROVISION), Send("b", Verb.PROVISION)]


@pytest.mark.parametrize("level", [Level.MIDDLE, Level.LEAF])
def test_below_the_root_a_yes_is_durable_before_it_is_given(level: Level) -> None:
    change, effects = run(
        planned(level),
        Told(Verb.VALIDATE),
        *yes(Verb.VALIDATE, "a", "b"),
        Told(Verb.PROVISION),
        *yes(Verb.PROVISION, "a", expires_at_s=70.0),
        *yes(Verb.PROVISION, "b", expires_at_s=50.0),
    )
    assert effects[-2:] == [Save(), Answer(Vote.PROVISIONED)]
    assert change.expires_at_s == 50.0, "a vote carries the earliest expiry"


@pytest.mark.parametrize("verb", [Verb.VALIDATE, Verb.PROVISION])
def test_one_refusal_before_the_decision_aborts_every_member(verb: Verb) -> None:
    before = [*yes(Verb.VALIDATE, "a", "b")] if verb is Verb.PROVISION else []
    change, effects = run(
        planned(Level.ROOT),
        Told(Verb.VALIDATE),
        *before,
        Heard("b", verb, Vote.REFUSED, detail="no such port", where="bob-qn/q9"),
    )
    assert change.phase is Phase.ABORTING
    assert (change.refusal, change.refused_where) == ("no such port", "bob-qn/q9")
    assert effects[-2:] == [Send("a", Verb.ABORT), Send("b", Verb.ABORT)]


def test_a_refused_middle_answers_only_when_everything_below_is_clean() -> None:
    change, effects = run(
        planned(Level.MIDDLE),
        Told(Verb.VALIDATE),
        Heard("a", Verb.VALIDATE, Vote.REFUSED, detail="x"),
        *yes(Verb.ABORT, "a"),
    )
    assert not any(isinstance(e, Answer) for e in effects)
    change, effects = run(change, *yes(Verb.ABORT, "b"))
    assert change.phase is Phase.ABORTED
    assert effects == [Save(), Answer(Vote.REFUSED)]


def test_too_little_time_left_in_the_confirm_window_aborts_instead_of_deciding() -> None:
    change, _ = run(planned(Level.ROOT), Told(Verb.VALIDATE), *yes(Verb.VALIDATE, "a", "b"))
    change, effects = run(change, *yes(Verb.PROVISION, "a", "b", expires_at_s=64.0), now_s=59.0)
    assert change.phase is Phase.ABORTING
    assert Save() not in effects


def test_a_lost_answer_is_asked_again_and_given_up_at_the_deadline() -> None:
    change, effects = run(planned(Level.ROOT), Told(Verb.VALIDATE), Heard("a", Verb.VALIDATE, None))
    assert isinstance(effects[-1], Send)
    assert effects[-1].not_before_s > 0
    change, _ = run(change, Tick(), now_s=LIMITS.validate_s)
    assert change.phase is Phase.ABORTING
    assert change.refused_where == "a"


def test_a_busy_member_is_asked_again() -> None:
    change, effects = run(planned(Level.ROOT), Told(Verb.VALIDATE), Heard("a", Verb.VALIDATE, Vote.BUSY))
    assert change.phase is Phase.VALIDATING
    assert isinstance(effects[-1], Send)


def test_after_the_decision_an_unreachable_member_is_unknown_and_the_rest_committed() -> None:
    change, _ = run(
        planned(Level.ROOT),
        Told(Verb.VALIDATE),
        *yes(Verb.VALIDATE, "a", "b"),
        *yes(Verb.PROVISION, "a", "b"),
        *yes(Verb.CONFIRM, "a"),
        Heard("b", Verb.CONFIRM, None, detail="connection refused"),
    )
    change, effects = run(change, Tick(), now_s=LIMITS.settle_s)
    assert change.phase is Phase.COMMITTED
    assert [m.name for m in change.unknown] == ["b"]
    assert effects == [Save(), Answer(Vote.UNKNOWN)]
    change, effects = run(change, Told(Verb.CONFIRM), *yes(Verb.CONFIRM, "b"))
    assert change.phase is Phase.COMMITTED
    assert not change.unknown, "reconciliation carries it forward"
    assert Send("a", Verb.CONFIRM) not in effects


def test_a_root_that_stopped_before_deciding_aborts_and_one_that_decided_goes_on() -> None:
    change, effects = run(replace(planned(Level.ROOT), phase=Phase.PLANNED), Resumed(2))
    assert change.phase is Phase.ABORTING
    assert change.epoch == 2
    change, effects = run(replace(planned(Level.ROOT), phase=Phase.CONFIRMING), Resumed(2))
    assert change.phase is Phase.CONFIRMING
    assert Send("a", Verb.CONFIRM) in effects


def test_a_participant_in_doubt_asks_and_does_what_it_learns() -> None:
    provisioned = replace(planned(Level.LEAF), phase=Phase.PROVISIONED)
    doubting, effects = run(provisioned, Resumed(2))
    assert effects[-1] == AskParent()
    assert run(doubting, Learned(Outcome.COMMIT))[0].phase is Phase.CONFIRMING
    assert run(doubting, Learned(Outcome.ABORT))[0].phase is Phase.ABORTING
    assert run(doubting, Learned(Outcome.UNDECIDED))[0].phase is Phase.IN_DOUBT


def test_a_participant_in_doubt_does_not_repeat_a_yes_that_it_has_not_read_back() -> None:
    doubting, _ = run(replace(planned(Level.LEAF), phase=Phase.PROVISIONED), Resumed(2))
    change, effects = run(doubting, Told(Verb.PROVISION))
    assert change.phase is Phase.PROVISIONING
    assert not any(isinstance(e, Answer) for e in effects)


def test_a_provisioned_participant_left_alone_asks_for_the_outcome() -> None:
    change, _ = run(
        planned(Level.LEAF),
        Told(Verb.VALIDATE),
        *yes(Verb.VALIDATE, "a", "b"),
        Told(Verb.PROVISION),
        *yes(Verb.PROVISION, "a", "b"),
    )
    _, effects = run(change, Tick(), now_s=LIMITS.doubt_s)
    assert effects == [AskParent()]


def test_a_validated_participant_left_alone_lets_go() -> None:
    change, _ = run(planned(Level.LEAF), Told(Verb.VALIDATE), *yes(Verb.VALIDATE, "a", "b"))
    change, _ = run(change, Tick(), now_s=LIMITS.doubt_s)
    assert change.phase is Phase.ABORTING


@pytest.mark.parametrize("verb", list(Verb))
def test_a_repeated_verb_is_answered_again_and_starts_nothing(verb: Verb) -> None:
    change = replace(planned(Level.LEAF), phase=Phase.COMMITTED)
    after, effects = run(change, Told(verb))
    assert after == change
    assert effects == [Answer(Vote.CONFIRMED)]


def test_the_decision_cannot_be_called_off() -> None:
    change = replace(planned(Level.LEAF), phase=Phase.CONFIRMING)
    after, effects = run(change, Told(Verb.ABORT))
    assert after == change
    assert effects == []


def test_a_change_without_members_commits_at_once() -> None:
    change = Change("chg_0", Level.ROOT, 1, ())
    after, _ = run(change, Told(Verb.VALIDATE))
    assert after.phase is Phase.COMMITTED


def test_a_root_that_takes_over_writes_its_abort_before_it_sends_it() -> None:
    """The row then has the new epoch: the old root, if it still runs, can no longer decide."""
    _, effects = run(planned(Level.ROOT), Resumed(2))
    assert effects[:2] == [Save(), Send("a", Verb.ABORT)]


def provisioned_leaf() -> Change:
    change, _ = run(
        planned(Level.LEAF),
        Told(Verb.VALIDATE),
        *yes(Verb.VALIDATE, "a", "b"),
        Told(Verb.PROVISION),
        *yes(Verb.PROVISION, "a", "b"),
    )
    return change


@pytest.mark.parametrize("late", [Verb.VALIDATE, Verb.PROVISION])
def test_a_yes_is_not_taken_back_over_a_restart_whatever_comes_late(late: Verb) -> None:
    change, _ = run(provisioned_leaf(), Resumed(2), Told(late), Heard("a", late, Vote.REFUSED))
    change, _ = run(change, Tick(), now_s=10 * LIMITS.provision_s)
    assert change.outcome is Outcome.UNDECIDED
    change, _ = run(change, Learned(Outcome.COMMIT))
    assert change.phase is Phase.CONFIRMING


def test_a_decided_participant_does_not_abort_whatever_it_hears() -> None:
    confirming, _ = run(provisioned_leaf(), Told(Verb.CONFIRM))
    assert run(confirming, Learned(Outcome.ABORT))[0].phase is Phase.CONFIRMING
