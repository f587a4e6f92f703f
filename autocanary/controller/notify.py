"""Telling people: what the ledger holds and they have not heard, and who has heard what."""

from __future__ import annotations

from dataclasses import replace

from autocanary.analysis.forecast import forecast_text
from autocanary.controller.context import Dependencies
from autocanary.controller.running_rollout import RolloutId, RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.decide.outbox import mark_delivered, save_channel_message_id
from autocanary.model.reason import Reason
from autocanary.ports import Delivery, Message

__all__ = ["Notifications"]

_OPEN_REASONS = frozenset({Reason.INCONCLUSIVE.value, Reason.SUSPICIOUS.value})
"""A comparison that is still open is told with what can be expected of it."""


_MAX_RECENT_DELIVERIES = 40


class Notifications:
    """Messages on their way, by rollout; never before they are recorded."""

    def __init__(self, dependencies: Dependencies, state: ControllerState) -> None:
        self._dependencies, self._state = dependencies, state
        self._deliveries: list[Delivery] = []

    def send_pending(self, running: RunningRollout) -> None:
        """Queue what the ledger holds and people have not heard."""
        if running.stored is None:
            return
        for notification in running.stored.pending_notifications:
            if notification.id in running.queued_notifications:
                continue
            running.queued_notifications.add(notification.id)
            message = _message_for(running, notification.id)
            if message is None:
                continue
            wanted = self._dependencies.notifier.channels(message)
            if set(wanted) <= set(notification.delivered_channels):
                self._deliveries.append(Delivery(running.id[0], running.id[1], notification.id, "", True))
            else:
                self._dependencies.notifier.notify(message)

    def collect_deliveries(self) -> list[RunningRollout]:
        """Note who has been told; the rollouts of which that is now to be recorded.

        One that is being written for is noted at a later tick.
        """
        deliveries = [*self._deliveries, *self._dependencies.notifier.take_deliveries()]
        self._deliveries = []
        changed_rollouts: dict[RolloutId, RunningRollout] = {}
        for delivery in deliveries:
            running = self._state.running_rollouts.get((delivery.namespace, delivery.rollout))
            if running is None:
                continue
            if running.writing:
                self._deliveries.append(delivery)
            elif self._apply_delivery(running, delivery):
                changed_rollouts[running.id] = running
        return list(changed_rollouts.values())

    def replay_deliveries(self, running: RunningRollout) -> None:
        """Somebody else's record is what counts now: who has been told meanwhile is noted in it anew."""
        self._deliveries.extend(running.recent_deliveries)
        running.recent_deliveries = []

    def _apply_delivery(self, running: RunningRollout, delivery: Delivery) -> bool:
        message = _message_for(running, delivery.notification_id)
        if message is None:
            return False
        running.recent_deliveries = [*running.recent_deliveries, delivery][-_MAX_RECENT_DELIVERIES:]
        progress = save_channel_message_id(running.rollout.progress, delivery.channel, delivery.channel_message_id)
        if delivery.finished:
            wanted = self._dependencies.notifier.channels(message)
            progress = mark_delivered(progress, delivery.notification_id, delivery.channel, wanted)
        running.rollout = replace(running.rollout, progress=progress)
        return True


def _message_for(running: RunningRollout, notification_id: str) -> Message | None:
    for notification in running.rollout.progress.pending_notifications:
        if notification.id == notification_id:
            routes = running.policy.notifications if running.policy else ()
            return Message(
                notification,
                running.rollout,
                routes,
                _forecast(running) if notification.reason in _OPEN_REASONS else (),
            )
    return None


def _forecast(running: RunningRollout) -> tuple[tuple[str, str], ...]:
    """Whether waiting is worth while."""
    text = forecast_text(running.policy, running.rollout.progress)
    return (("forecast", text),) if text else ()
