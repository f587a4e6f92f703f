"""Puts a transition into a rollout's outbox and its decision history, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.model.decision import Event
from autocanary.model.progress import Progress, Telling
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import iso

__all__ = ["DECISIONS_KEPT", "INPUTS_KEPT", "TOLD_KEPT", "delivered", "received", "telling"]

DECISIONS_KEPT = 20
INPUTS_KEPT = 8
"""Of so many decisions all inputs are kept, with which they can be made again; of older ones the numbers."""

TOLD_KEPT = 20
_BRIEF = frozenset({"now", "metrics"})


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
        decisions=(*_older(progress.decisions), decision)[-DECISIONS_KEPT:],
    )


def _older(decisions: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    """The decision whose inputs are not kept any more, but for the metrics; the rest as it is."""
    place = len(decisions) - INPUTS_KEPT
    if place < 0 or "progress" not in decisions[place].get("inputs", {}):
        return decisions
    brief = {key: value for key, value in decisions[place]["inputs"].items() if key in _BRIEF}
    return (*decisions[:place], {**decisions[place], "inputs": brief}, *decisions[place + 1 :])


def received(progress: Progress, channel: str, receipt: str) -> Progress:
    """``progress`` with the channel's newest receipt, "" being none."""
    if not receipt or progress.receipts.get(channel) == receipt:
        return progress
    return progress.but(receipts={**progress.receipts, channel: receipt})


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
