"""Puts a transition into a rollout's outbox and its decision history, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autocanary.model.decision import Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import Notification, Progress
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import format_time

__all__ = [
    "DECISIONS_KEPT",
    "DELIVERED_KEPT",
    "INPUTS_KEPT",
    "mark_delivered",
    "record_rule",
    "record_transition",
    "save_channel_message_id",
]

DECISIONS_KEPT = 20
INPUTS_KEPT = 8
"""Of so many decisions all inputs are kept, with which they can be made again; of older ones the numbers."""

DELIVERED_KEPT = 20
_INPUTS_OF_OLD_DECISIONS = frozenset({"now", "metrics"})


def record_transition(
    rollout: Rollout,
    progress: Progress,
    event: Event,
    now: float,
    inputs: Mapping[str, Any] | None = None,
) -> Progress:
    """``progress`` with the transition recorded: one notification, and an entry in the decision history.

    The id is made of what the transition is, so that it is the same whenever it is sent again.
    """
    entry = Notification(
        id=f"{rollout.namespace}/{rollout.name}/{event.value}/{round(now * 1000)}",
        event=event.value,
        at=now,
        phase=progress.phase.value,
        step=progress.step.index + 1,
        weight=progress.step.weight if progress.step.weight is not None else 100,
        reason=progress.reason.value,
        message=progress.message,
    )
    decision: dict[str, Any] = {
        "time": format_time(now),
        "event": event.value,
        "phase": progress.phase.value,
        "reason": progress.reason.value,
        "message": progress.message,
        "weight": entry.weight,
    }
    if inputs:
        decision["inputs"] = dict(inputs)
    return replace(
        progress,
        outbox=replace(progress.outbox, pending=(*progress.outbox.pending, entry)),
        decisions=(*_drop_old_inputs(progress.decisions), decision)[-DECISIONS_KEPT:],
    )


def record_rule(decision: Decision, rule: str) -> Decision:
    """``decision`` with the rule that made it, also in the decision history; a name that is there stays."""
    if decision.rule:
        return decision
    progress = decision.progress
    if decision.event is not None:
        *earlier, newest = progress.decisions
        progress = replace(progress, decisions=(*earlier, {**newest, "rule": rule}))
    return replace(decision, progress=progress, rule=rule)


def _drop_old_inputs(decisions: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The decision whose inputs are not kept any more, but for the metrics; the rest as it is."""
    place = len(decisions) - INPUTS_KEPT
    if place < 0 or "progress" not in decisions[place].get("inputs", {}):
        return decisions
    brief = {key: value for key, value in decisions[place]["inputs"].items() if key in _INPUTS_OF_OLD_DECISIONS}
    return (*decisions[:place], {**decisions[place], "inputs": brief}, *decisions[place + 1 :])


def save_channel_message_id(progress: Progress, channel: str, channel_message_id: str) -> Progress:
    """``progress`` with the channel's newest message id, "" being none."""
    if not channel_message_id or progress.outbox.channel_message_ids.get(channel) == channel_message_id:
        return progress
    return replace(
        progress,
        outbox=replace(
            progress.outbox, channel_message_ids={**progress.outbox.channel_message_ids, channel: channel_message_id}
        ),
    )


def mark_delivered(
    progress: Progress, notification_id: str, channel: str, expected_channels: tuple[str, ...]
) -> Progress:
    """``progress`` after ``channel`` has the notification; delivered once every expected channel has it."""
    pending_notifications: list[Notification] = []
    delivered_notifications = progress.outbox.delivered
    for entry in progress.outbox.pending:
        if entry.id != notification_id:
            pending_notifications.append(entry)
            continue
        delivered_channels = (
            (*entry.delivered_channels, channel)
            if channel and channel not in entry.delivered_channels
            else entry.delivered_channels
        )
        if set(expected_channels) <= set(delivered_channels):
            delivered_notifications = (*delivered_notifications, entry.id)[-DELIVERED_KEPT:]
        else:
            pending_notifications.append(Notification(**{**entry.to_dict(), "delivered_channels": delivered_channels}))
    return replace(
        progress,
        outbox=replace(progress.outbox, pending=tuple(pending_notifications), delivered=delivered_notifications),
    )
