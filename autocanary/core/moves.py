"""The few things that can be decided, each as one function: stay, hold, go, roll back, end.

Rules say *when*; these say *what that means* for the progress, the outbox and the one write that may
follow. Nothing else builds a Decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autocanary.core.decision import Decision, Event, Move
from autocanary.core.policy import OnFailure
from autocanary.core.progress import Phase, Progress
from autocanary.core.reason import Reason
from autocanary.core.record import inputs_of
from autocanary.core.situation import BY_FAILURE, Situation
from autocanary.core.telling import telling

__all__ = [
    "UNSEEN",
    "answer",
    "because",
    "end",
    "go",
    "hold",
    "overruled",
    "pause",
    "phase_of",
    "restore",
    "roll_back",
    "serve",
    "set_aside",
    "stay",
    "warn",
]

COUNTED = frozenset(
    {
        Reason.TOO_FEW_REQUESTS,
        Reason.BREACH_SEEN,
        Reason.WEBHOOK_PENDING,
        Reason.WAITING_FOR_EFFECT,
    }
)
"""Reasons to hold that the progress deadline limits; the others have limits of their own, or a person's."""


NO_DATA = frozenset({Reason.NO_DATA, Reason.METRICS_NOT_A_NUMBER})
OUTAGE = frozenset({Reason.METRICS_OUTAGE, Reason.METRICS_STALE, Reason.METRICS_PARTIAL})
UNSEEN: Mapping[str, Any] = {"verified_at": None, "strayed_since": None}
"""Another weight begins: nothing has shown it yet, and nothing can have strayed from it."""

HOLD_TOLD_EVERY = 600.0
"""Seconds between two messages about one hold, when its cause changes."""


def phase_of(situation: Situation, step: int) -> Phase:
    """The phase in which a rollout stands at a step when nothing stops it."""
    if step < 0:
        return Phase.STAGING
    return Phase.BAKING if step >= len(situation.policy.steps) - 1 else Phase.PROGRESSING


def _decide(
    situation: Situation,
    progress: Progress,
    *,
    rule: str,
    event: Event | None = None,
    move: Move = Move.NONE,
    weight: int | None = None,
    urgent: bool = False,
) -> Decision:
    inputs = inputs_of(situation) if event is not None or move is not Move.NONE else None
    if event is not None:
        progress = telling(situation.rollout, progress, event, situation.now, inputs, rule)
    return Decision(progress, progress.reason, rule, move, weight, event, urgent, inputs)


def _enter(situation: Situation, phase: Phase, reason: Reason, message: str, **changes: Any) -> Progress:
    progress = situation.progress
    since = progress.phase_since if progress.phase is phase else situation.now
    return progress.but(phase=phase, phase_since=since, reason=reason, message=message, **changes)


def stay(situation: Situation, rule: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Go on in the phase that the step belongs to; leaving a hold is told once."""
    progress = situation.progress
    phase = phase_of(situation, progress.step)
    released = progress.phase is Phase.HOLDING
    after = _enter(situation, phase, reason, message, **{"held_since": None, "held_told_at": None, **changes})
    return _decide(situation, after, rule=rule, event=Event.RESUMED if released else None)


def unchanged(situation: Situation, rule: str) -> Decision:
    """Nothing to do and nothing to say."""
    return Decision(situation.progress, situation.progress.reason, rule)


def hold(situation: Situation, rule: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Wants to move and may not; told when the hold begins and when it changes to another kind.

    A candidate that is not serving yet stays in Staging while it is held.
    """
    progress = situation.progress
    phase = Phase.HOLDING if progress.step >= 0 else Phase.STAGING
    entered = progress.phase is not phase or progress.held_told_at is None
    other = _kind(progress.reason) != _kind(reason)
    lately = progress.held_told_at is not None and situation.now - progress.held_told_at < HOLD_TOLD_EVERY
    told = entered or (other and not lately)
    since = None
    if reason in COUNTED or reason in NO_DATA:
        since = progress.held_since if progress.held_since is not None else situation.now
    at = situation.now if told else progress.held_told_at
    after = _enter(situation, phase, reason, message, held_since=since, held_told_at=at, **changes)
    return _decide(situation, after, rule=rule, event=Event.HELD if told else None)


def _kind(reason: Reason) -> str:
    """Reasons that mean the same to people: going from one to another of a kind is no news."""
    kinds = (("counted", COUNTED), ("no-data", NO_DATA), ("outage", OUTAGE))
    return next((name for name, reasons in kinds if reason in reasons), reason.value)


def go(situation: Situation, rule: str, step: int, reason: Reason, message: str, **changes: Any) -> Decision:
    """Take a step: everything counted for the step before it starts anew."""
    seen, policy = situation.seen, situation.policy
    weight = policy.steps[step].weight
    after = _enter(
        situation,
        phase_of(situation, step),
        reason,
        message,
        **_fresh(situation),
        **{
            "step": step,
            "weight": weight,
            "from_weight": seen.weight if seen else situation.progress.weight,
            **changes,
        },
    ).but(phase_since=situation.now)
    return _decide(situation, after, rule=rule, event=Event.STEP, move=Move.WEIGHT, weight=weight)


def serve(situation: Situation, rule: str, step: int, message: str) -> Decision:
    """Begin to judge at the weight that is in the field already: nothing is written."""
    after = _enter(
        situation,
        phase_of(situation, step),
        Reason.WAITING_FOR_EFFECT,
        message,
        **_fresh(situation),
        step=step,
    )
    return _decide(situation, after, rule=rule, event=Event.STEP)


def _fresh(situation: Situation) -> dict[str, Any]:
    return {
        "step_started_at": situation.now,
        **UNSEEN,
        "metrics": {},
        "no_data_since": None,
        "outage_since": None,
        "undecided_since": None,
        "held_since": None,
        "held_told_at": None,
        "paused_by": "",
        **overruled(situation),
    }


def overruled(situation: Situation) -> dict[str, Any]:
    """A person who lets a failed candidate go on has weighed the evidence: it starts anew."""
    return {"evidence": {}} if situation.progress.paused_by == BY_FAILURE else {}


def write_again(situation: Situation, rule: str) -> Decision:
    """The recorded weight has not reached the field (a crash, a conflict, an API server away): write it."""
    weight = situation.progress.weight
    urgent = situation.progress.phase is Phase.ROLLING_BACK
    return _decide(
        situation,
        situation.progress,
        rule=rule,
        move=Move.WEIGHT,
        weight=weight if weight is not None else 0,
        urgent=urgent,
    )


def put_weight(
    situation: Situation, rule: str, weight: int, reason: Reason, message: str, event: Event | None = None
) -> Decision:
    """Write a weight without taking a step."""
    seen = situation.seen
    after = _enter(
        situation,
        situation.progress.phase,
        reason,
        message,
        weight=weight,
        from_weight=seen.weight if seen else None,
        step_started_at=situation.now,
        **UNSEEN,
    )
    if event is Event.EXTERNAL_CHANGE:
        after = after.but(warned=(*after.warned, reason.value))
    return _decide(situation, after, rule=rule, event=event, move=Move.WEIGHT, weight=weight, urgent=True)


def pause(situation: Situation, rule: str, by: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Stopped until a person says otherwise."""
    event = Event.EXTERNAL_CHANGE if reason is Reason.EXTERNAL_CHANGE else Event.PAUSED
    again = situation.progress.phase is Phase.PAUSED and situation.progress.paused_by == by
    after = _enter(
        situation, Phase.PAUSED, reason, message, **{"paused_by": by, "held_since": None, **changes}
    )
    return _decide(situation, after, rule=rule, event=None if again and event is Event.PAUSED else event)


def set_aside(situation: Situation, rule: str, reason: Reason, message: str) -> Decision:
    """Paused without traffic, as if no step had been taken, until a person says otherwise; once only."""
    seen, progress = situation.seen, situation.progress
    there = seen is not None and seen.weight == 0
    after = _enter(
        situation,
        Phase.PAUSED,
        reason,
        message,
        **_fresh(situation),
    ).but(
        step=-1,
        weight=0,
        from_weight=seen.weight if seen else progress.weight,
        paused_by=BY_FAILURE,
        warned=(*progress.warned, reason.value),
    )
    return _decide(
        situation,
        after,
        rule=rule,
        event=Event.PAUSED,
        move=Move.NONE if there else Move.WEIGHT,
        weight=0,
        urgent=not there,
    )


def resume(situation: Situation, rule: str, step: int, message: str, **changes: Any) -> Decision:
    """Go on after a pause; a weight that a person set meanwhile is where it goes on from."""
    after = _enter(
        situation,
        phase_of(situation, step),
        Reason.RESUMED_BY_USER,
        message,
        **{
            "step": step,
            "paused_by": "",
            "held_since": None,
            "no_data_since": None,
            "outage_since": None,
            "undecided_since": None,
            **changes,
        },
    )
    return _decide(situation, after, rule=rule, event=Event.RESUMED)


def roll_back(
    situation: Situation, rule: str, reason: Reason, message: str, *, asked: bool = False, **changes: Any
) -> Decision:
    """Take all traffic from the candidate, or only pause where the policy says so (never when ``asked``)."""
    if situation.policy.on_failure is OnFailure.PAUSE and not asked:
        text = f"{message}; paused, as the policy says"
        return pause(situation, rule, BY_FAILURE, Reason.FAILURE_PAUSED, text, **changes)
    seen = situation.seen
    after = _enter(
        situation,
        Phase.ROLLING_BACK,
        reason,
        message,
        **{
            "weight": 0,
            "from_weight": seen.weight if seen else situation.progress.weight,
            "step_started_at": situation.now,
            **UNSEEN,
            "held_since": None,
            "paused_by": "",
            **changes,
        },
    )
    there = seen is not None and seen.weight == 0
    return _decide(
        situation,
        after,
        rule=rule,
        event=Event.ROLLBACK,
        move=Move.NONE if there else Move.WEIGHT,
        weight=0,
        urgent=True,
    )


def restore(
    situation: Situation, rule: str, weight: int | None, reason: Reason, message: str, event: Event
) -> Decision:
    """Put the recorded stable spec back: the only way out when the weight alone cannot move the traffic."""
    seen = situation.seen
    after = _enter(
        situation,
        Phase.ROLLING_BACK,
        reason,
        message,
        weight=weight,
        from_weight=seen.weight if seen else None,
        repairing=True,
        escalated_at=situation.now,
        held_since=None,
        **UNSEEN,
    )
    return _decide(situation, after, rule=rule, event=event, move=Move.RESTORE, weight=weight, urgent=True)


def warn(situation: Situation, rule: str, reason: Reason, message: str) -> Decision:
    """Say once that a person should look; nothing else changes."""
    progress = situation.progress
    if reason.value in progress.warned:
        return unchanged(situation, rule)
    warned = progress.but(reason=reason, message=message, warned=(*progress.warned, reason.value))
    decision = _decide(situation, warned, rule=rule, event=Event.WARNING)
    # The warning is told; why the rollout is where it is stays the reason of its state.
    return replace(decision, progress=decision.progress.but(reason=progress.reason, message=progress.message))


def because(decision: Decision, reason: Reason, message: str) -> Decision:
    """The decision, with that as what the rollout's state is due to."""
    return replace(decision, progress=decision.progress.but(reason=reason, message=message))


def end(
    situation: Situation,
    rule: str,
    phase: Phase,
    reason: Reason,
    message: str,
    *,
    weight: int | None = None,
    write: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Decision:
    """The rollout is over. ``write``: with a last weight, for a candidate that is superseded."""
    after = _enter(
        situation,
        phase,
        reason,
        message,
        **{"finished_at": situation.now, "held_since": None, "paused_by": "", **(changes or {})},
    )
    if write:
        after = after.but(weight=weight, from_weight=situation.seen.weight if situation.seen else None)
    event = {Phase.PROMOTED: Event.PROMOTED, Phase.ROLLED_BACK: Event.ROLLED_BACK}.get(phase, Event.ENDED)
    return _decide(
        situation,
        after,
        rule=rule,
        event=event,
        move=Move.WEIGHT if write else Move.NONE,
        weight=weight,
        urgent=write,
    )


def promote(situation: Situation, rule: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """The candidate has won: it is over, unless the service's spec must still say so (Settling)."""
    seen = situation.seen
    if seen is None or seen.unsettled is None:
        return end(situation, rule, Phase.PROMOTED, reason, message, changes=changes)
    after = _enter(
        situation,
        Phase.SETTLING,
        Reason.SETTLING,
        f"{message}; it is made stable",
        **{"held_since": None, "held_told_at": None, "paused_by": "", "promote_all": False, **changes},
    )
    return _decide(situation, after, rule=rule)


def withdraw(situation: Situation, rule: str) -> Decision:
    """Take the candidate out of its place in the spec, now that it has no traffic."""
    return _decide(situation, situation.progress, rule=rule, move=Move.RESTORE, weight=None)


def settle(situation: Situation, rule: str) -> Decision:
    """The next write of settling; a repetition of one that has arrived is another one, or none."""
    return _decide(situation, situation.progress, rule=rule, move=Move.SETTLE)


def answer(decision: Decision, request_id: str, text: str) -> Decision:
    """The decision with a person's request noted as answered."""
    progress = decision.progress.but(answered=request_id, answer=text)
    return Decision(
        progress,
        decision.reason,
        decision.rule,
        decision.move,
        decision.weight,
        decision.event,
        decision.urgent,
        decision.inputs,
    )


def restore_again(situation: Situation, rule: str) -> Decision:
    """Repeat a restoring patch that has not arrived."""
    return _decide(
        situation,
        situation.progress,
        rule=rule,
        move=Move.RESTORE,
        weight=situation.progress.weight,
        urgent=True,
    )


def restore_blocked(situation: Situation, rule: str, *, whole: bool = False) -> Decision:
    """The escalation of a blocked rollback: the stable spec back, said when it was warned about.

    With weight 0, unless KServe takes the candidate for stable already, or ``whole``, when the old stable
    is gone: then only a new revision that gets everything can replace it.
    """
    seen = situation.seen
    promoted = seen is not None and seen.rolled_out == situation.rollout.candidate
    weight = None if promoted or whole else 0
    after = situation.progress.but(
        weight=weight,
        from_weight=seen.weight if seen else None,
        repairing=True,
        escalated_at=situation.now,
        **UNSEEN,
    )
    return _decide(situation, after, rule=rule, move=Move.RESTORE, weight=weight, urgent=True)
