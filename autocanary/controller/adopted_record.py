"""What is checked and corrected in a record before its rollout is adopted: another client may have edited it."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from autocanary.controller import metric_queries
from autocanary.controller.context import log_failure
from autocanary.controller.policy_snapshots import PolicySnapshots, policy_for_unreadable_snapshot
from autocanary.logs import logger
from autocanary.model.frozen_copy import replace
from autocanary.model.policy import Policy
from autocanary.model.progress import Notification, Progress
from autocanary.model.progress_json import FIELD_PLACES, with_stored_fields
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import to_document

__all__ = ["check_record", "read_record", "without_future_times"]

_log = logger("autocanary.controller")

_TOLERATED_SECONDS = 1.0  # clocks of machines that are synchronised differ by less
_TIMES = {name: attrgetter(place) for name, place in FIELD_PLACES.items() if name.endswith(("_at", "_since"))}
_NOTIFICATION_TEXTS = ("id", "event", "phase", "reason", "message")
_NOTIFICATION_NUMBERS = ("at", "step", "weight")


def read_record(rollout: Rollout, snapshots: PolicySnapshots, now: float) -> tuple[Rollout, Policy]:
    """The rollout without times of the future, and its policy: the whole record is read before it is used.

    Whatever its fields hold is raised here; a policy that cannot be read is replaced by one that only holds.
    """
    check_record(rollout)
    policy: Policy | None = None
    try:
        policy = snapshots.restore(rollout)
        for step in range(len(policy.steps)):
            metric_queries.metric_queries_for(rollout, policy, step)
    except Exception as error:  # noqa: BLE001 - a snapshot of another version, or one that was edited
        log_failure("rollout_unreadable", rollout.key, error, rollout=rollout.name)
        policy = policy if policy is not None else policy_for_unreadable_snapshot(rollout)
    progress, future = without_future_times(rollout.progress, now)
    if future:
        _log.warning(
            "recorded_times_in_future",
            namespace=rollout.namespace,
            rollout=rollout.name,
            fields=sorted(future),
            seconds=round(max(future.values())),
        )
    return replace(rollout, progress=progress), policy


def check_record(rollout: Rollout) -> None:
    """Raises ValueError, TypeError or RecursionError for a record with a field of the wrong type."""
    for notification in rollout.progress.outbox.pending:
        _check_notification(notification)
    for channel, message_id in rollout.progress.outbox.channel_message_ids.items():
        if not isinstance(message_id, str):
            raise ValueError(f"channel_message_ids.{channel} must be a string, not {type(message_id).__name__}")
    for name, state in rollout.progress.analysis.metrics.items():
        if not _is_number(state.violations) or not _is_number(state.passes):
            raise ValueError(f"metrics.{name}: violations and passes must be numbers")
    to_document(rollout)


def _check_notification(notification: Notification) -> None:
    for name in _NOTIFICATION_TEXTS:
        if not isinstance(getattr(notification, name), str):
            raise ValueError(f"pending_notifications.{name} must be a string")
    for name in _NOTIFICATION_NUMBERS:
        if not _is_number(getattr(notification, name)):
            raise ValueError(f"pending_notifications.{name} must be a number")
    if not all(isinstance(channel, str) for channel in notification.delivered_channels):
        raise ValueError("pending_notifications.delivered_channels must be strings")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def without_future_times(progress: Progress, now: float) -> tuple[Progress, Mapping[str, float]]:
    """The progress with each time that is later than ``now`` replaced by ``now``; by how many seconds each was.

    They were recorded by a machine whose clock is ahead: until then no warm-up, hold or deadline would end.
    Differences below a second are corrected and not returned.
    """
    times = {name: read(progress) for name, read in _TIMES.items()}
    ahead = {name: at - now for name, at in times.items() if at is not None and at > now}
    corrected = with_stored_fields(progress, dict.fromkeys(ahead, now)) if ahead else progress
    return corrected, {name: seconds for name, seconds in ahead.items() if seconds > _TOLERATED_SECONDS}
