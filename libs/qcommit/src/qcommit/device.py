"""What a leaf does to one device for each verb, and how what it then sees becomes a vote.

The EMS's device driver asks `next_action`, carries the action out through an adapter, reports what it saw
(never what the device claimed: every action ends with a read-back) and asks again until it gets a vote.
Pure: the same table is used by simulations.
"""

from __future__ import annotations

from enum import StrEnum

from qmodel.contracts.commit import Verb, Vote


class Action(StrEnum):
    """One flight of device operations, always ending in a read-back where a configuration may have moved."""

    READ = "read"
    """Read the running configuration."""
    STAGE = "stage"
    """Lock the candidate, make it equal to running, edit it to the target, validate."""
    PROVISION = "provision"
    """Confirmed commit with persist, read back."""
    CONFIRM = "confirm"
    """Confirm by persist-id, read back, unlock, copy to startup where there is one."""
    CANCEL = "cancel"
    """Cancel by persist-id, read back, discard, unlock."""
    DISCARD = "discard"
    """Discard the candidate and unlock; nothing was ever committed."""
    APPLY = "apply"
    """After the decision: commit the target plainly, read back; for a device that reverted."""
    RESTORE = "restore"
    """After a refused cancel: commit the configuration before, plainly, read back."""


class Seen(StrEnum):
    """What was observed after an action."""

    STAGED = "staged"
    TARGET = "target"
    BEFORE = "before"
    OTHER = "other"
    REFUSED = "refused"
    """The device answered with an error; nothing is known to have changed."""
    UNREACHABLE = "unreachable"


def next_action(
    verb: Verb, done: tuple[tuple[Action, Seen], ...], *, staged: bool, sent: bool
) -> Action | Vote | None:
    """What to do next for `verb` after the actions `done`, or the vote that ends it.

    `staged` tells that this very session holds the edited candidate and has not committed it; `sent` that
    provisioning may have been sent, by this process or one before it (the durable intent says so).
    None: could not be reached, nothing is known; whoever asked tries again or gives up.
    """
    if done and done[-1][1] is Seen.UNREACHABLE:
        return None
    table = {
        Verb.VALIDATE: _validate,
        Verb.PROVISION: _provision,
        Verb.CONFIRM: _confirm,
        Verb.ABORT: _abort,
    }
    return table[verb](done, staged, sent)


def _validate(done: tuple[tuple[Action, Seen], ...], staged: bool, sent: bool) -> Action | Vote:
    if not done:
        return Action.STAGE
    if done[-1] == (Action.STAGE, Seen.STAGED):
        return Vote.VALIDATED
    return Action.DISCARD if done[-1][0] is Action.STAGE else Vote.REFUSED


def _provision(done: tuple[tuple[Action, Seen], ...], staged: bool, sent: bool) -> Action | Vote:
    if not done:
        return Action.PROVISION if staged else Action.READ
    action, seen = done[-1]
    if seen is Seen.TARGET and action in (Action.READ, Action.PROVISION):
        return Vote.PROVISIONED
    if action is Action.READ:
        return Action.STAGE
    if (action, seen) == (Action.STAGE, Seen.STAGED):
        return Action.PROVISION
    if action is Action.PROVISION:
        return Action.CANCEL
    if action is Action.CANCEL and seen is not Seen.BEFORE:
        return Action.RESTORE
    return Action.DISCARD if action is Action.STAGE else Vote.REFUSED


def _confirm(done: tuple[tuple[Action, Seen], ...], staged: bool, sent: bool) -> Action | Vote:
    if not done:
        return Action.CONFIRM
    action, seen = done[-1]
    if seen is Seen.TARGET:
        return Vote.CONFIRMED
    return Action.APPLY if action is Action.CONFIRM else Vote.UNKNOWN


def _abort(done: tuple[tuple[Action, Seen], ...], staged: bool, sent: bool) -> Action | Vote:
    if not done:
        return Action.CANCEL if sent else Action.DISCARD
    action, seen = done[-1]
    if action is Action.DISCARD or seen is Seen.BEFORE:
        return Vote.ABORTED
    return Action.RESTORE if action is Action.CANCEL else Vote.UNKNOWN
