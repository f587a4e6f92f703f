"""The history of a service: its rollouts with their ends, who released and who acted, and the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.model.decision import Event
from autocanary.model.foreign_text import clean_text
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import parse_time
from autocanary.views.model_change import ModelChange, model_change, model_of, released_by_text

__all__ = ["PastRollout", "StableRestore", "UserAct", "restore_text", "service_history"]

_ACTS: Mapping[str, str] = {
    "PromotedByUser": "promote",
    "PausedByUser": "pause",
    "ResumedByUser": "resume",
    "AbortedByUser": "abort",
    "RetriedByUser": "retry",
}


_ENDS = frozenset({Event.ROLLED_BACK.value, Event.ENDED.value})
"""The end of a rollout repeats the reason of the act that led to it."""


@dataclass(frozen=True, slots=True)
class UserAct:
    """What a user did: the verb of the command line, by name ("" unknown), with the reason that the user gave."""

    at: float | None
    verb: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class StableRestore:
    """A restore by autocanary: part of the rollout that made it necessary. ``model`` is what was put back."""

    at: float | None
    model: str
    text: str
    done: bool


@dataclass(frozen=True, slots=True)
class PastRollout:
    """One rollout of the service. ``outcome`` is its phase; while it runs ``finished_at`` is None and ``seconds`` is
    its age. ``number`` counts from 1, the oldest that is kept: ``undo --to`` takes it. ``restorable`` says that the
    record holds the candidate's spec, so that ``undo`` can apply it.
    """

    number: int
    rollout: str
    component: str
    stable: str
    candidate: str
    attempt: int
    outcome: str
    is_final: bool
    reason: str
    message: str
    started_at: float
    finished_at: float | None
    seconds: float
    policy: str
    released_by: str
    models: ModelChange
    acts: tuple[UserAct, ...]
    restore: StableRestore | None
    restorable: bool


def service_history(rollouts: Sequence[Rollout], now: float) -> tuple[PastRollout, ...]:
    """The rollouts of one service, newest first. A restore is inside its rollout, never an entry of its own."""
    ordered = sorted(rollouts, key=lambda each: each.start_order)
    return tuple(_past(number, each, now) for number, each in reversed(list(enumerate(ordered, 1))))


def _past(number: int, rollout: Rollout, now: float) -> PastRollout:
    progress = rollout.progress
    end = progress.finished_at
    return PastRollout(
        number=number,
        rollout=rollout.name,
        component=rollout.component.value,
        stable=rollout.stable,
        candidate=rollout.candidate,
        attempt=rollout.attempt,
        outcome=progress.phase.value,
        is_final=progress.phase.is_final,
        reason=progress.reason.value,
        message=clean_text(progress.message, 500),
        started_at=progress.started_at,
        finished_at=end,
        seconds=max(0.0, (end if end is not None else now) - progress.started_at),
        policy=rollout.policy_name,
        released_by=released_by_text(rollout),
        models=model_change(rollout),
        acts=tuple(_acts(progress.decisions)),
        restore=_restore(rollout),
        restorable=rollout.candidate_spec is not None,
    )


def _acts(decisions: Sequence[Mapping[str, Any]]) -> Iterator[UserAct]:
    for entry in decisions:
        by, reason = entry.get("requestedBy"), entry.get("requestReason")
        verb = None if entry.get("event") in _ENDS else _ACTS.get(str(entry.get("reason", "")))
        if verb is None and not by:
            continue
        yield UserAct(
            _time(entry),
            str(entry.get("requestVerb") or verb or ""),
            clean_text(by, 120) if isinstance(by, str) else "",
            clean_text(reason, 300) if isinstance(reason, str) else "",
        )


def _time(entry: Mapping[str, Any]) -> float | None:
    try:
        return parse_time(str(entry.get("time") or ""))
    except ValueError:
        return None


def restore_text(rollout: Rollout) -> str:
    """What autocanary put back in the spec, and what the manifest still has; "" where nothing was put back."""
    restore = _restore(rollout)
    return restore.text if restore is not None else ""


def _restore(rollout: Rollout) -> StableRestore | None:
    """What the rollback put back. In v1alpha2 stable's spec was never replaced; the candidate is only taken out."""
    progress = rollout.progress
    if not progress.rollback.repairing:
        return None
    old = model_of(rollout.stable_spec, rollout.component)
    new = model_of(rollout.candidate_spec, rollout.component)
    back = f"to {old}" if old else f"to the spec of {rollout.stable}"
    still = f"your manifest still has {new}" if new and new != old else f"your manifest still has {rollout.candidate}'s"
    done = progress.rollback.restored or progress.phase is Phase.ROLLED_BACK
    verb = "was set" if done else "is being set"
    return StableRestore(
        progress.rollback.escalated_at, old, f"spec.{rollout.component.value} {verb} back {back}; {still}", done
    )
