"""Puts a transition into a rollout's outbox and its decision history, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.core.decision import Event
from autocanary.core.progress import Progress, Telling
from autocanary.core.rollout import Rollout, iso

__all__ = ["DECISIONS_KEPT", "TOLD_KEPT", "delivered", "telling"]

DECISIONS_KEPT = 20
TOLD_KEPT = 20


def telling(
    rollout: Rollout,
    progress: Progress,
    event: Event,
    now: float,
    inputs: Mapping[str, Any] | None = None,
    rule: str = "",
) -> Progress:
    """``progress`` with the transition noted: people hear of it once, and the ledger keeps why.

    The id is made of what the transition is, so that it is the same whenever it is told again.
    """
    entry = Telling(
        id=f"{rollout.namespace}/{rollout.name}/{event.value}/{round(now * 1000)}",
        event=event.value,
        at=now,
        phase=progress.phase.value,
        step=progress.step + 1,
        weight=progress.weight if progress.weight is not None else 100,
        reason=progress.reason.value,
        message=progress.message,
    )
    decision: dict[str, Any] = {
        "time": iso(now),
        "event": event.value,
        "phase": progress.phase.value,
        "reason": progress.reason.value,
        "message": progress.message,
        "weight": entry.weight,
    }
    if rule:
        decision["rule"] = rule
    if inputs:
        decision["inputs"] = dict(inputs)
    return progress.but(
        untold=(*progress.untold, entry),
        decisions=(*progress.decisions, decision)[-DECISIONS_KEPT:],
    )


def delivered(progress: Progress, telling_id: str, channel: str, wanted: tuple[str, ...]) -> Progress:
    """``progress`` after ``channel`` has got the telling; told once every wanted channel has it."""
    untold: list[Telling] = []
    told = progress.told
    for entry in progress.untold:
        if entry.id != telling_id:
            untold.append(entry)
            continue
        done = (*entry.done, channel) if channel and channel not in entry.done else entry.done
        if set(wanted) <= set(done):
            told = (*told, entry.id)[-TOLD_KEPT:]
        else:
            untold.append(Telling(**{**entry.to_dict(), "done": done}))
    return progress.but(untold=tuple(untold), told=told)
