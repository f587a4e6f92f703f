"""Notify: queue the recorded notifications that are undelivered, and note which channel has which."""

from __future__ import annotations

from autocanary.analysis.forecast import forecast_text
from autocanary.controller.context import Dependencies, isolated
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.decide.outbox import mark_delivered, save_channel_message_id
from autocanary.model.progress import Notification
from autocanary.model.reason import Reason
from autocanary.model.rollout import RolloutId
from autocanary.ports import Delivery, Message
from autocanary.views import page_link, runbook_link

__all__ = ["Notifications"]

_OPEN_REASONS = frozenset({Reason.INCONCLUSIVE.value, Reason.SUSPICIOUS.value})
"""The message about a comparison that is still open has a forecast."""


class Notifications:
    """Notifications are sent only after they are recorded. Not thread-safe: called on the tick's thread only."""

    def __init__(self, dependencies: Dependencies, state: ControllerState) -> None:
        self._dependencies, self._state = dependencies, state
        self._deliveries: list[Delivery] = []

    def send_pending(self, running: RunningRollout) -> None:
        """Queue the recorded notifications that are undelivered, each once."""
        if running.stored is None:
            return
        for notification in running.stored.outbox.pending:
            with isolated("notification_not_queued", namespace=running.id[0], rollout=running.id[1]):
                if running.queue_notification(notification.id):
                    self._send(running, notification)

    def _send(self, running: RunningRollout, notification: Notification) -> None:
        message = self._message_for(running, notification.id)
        if message is None:
            return
        channels = self._dependencies.notifier.channels(message)
        if set(channels) <= set(notification.delivered_channels):
            self._deliveries.append(Delivery(*running.id, notification.id, "", True))
        else:
            self._dependencies.notifier.notify(message)

    def collect_deliveries(self) -> list[RunningRollout]:
        """Note what was delivered; the rollouts of which that is now to be recorded.

        Deliveries of a rollout that a worker writes for are noted in a later tick.
        """
        deliveries = [*self._deliveries, *self._dependencies.notifier.take_deliveries()]
        self._deliveries = []
        changed: dict[RolloutId, RunningRollout] = {}
        for delivery in deliveries:
            running = self._state.find((delivery.namespace, delivery.rollout))
            if running is None:
                continue
            if running.writing:
                self._deliveries.append(delivery)
                continue
            with isolated("delivery_not_noted", namespace=delivery.namespace, rollout=delivery.rollout):
                if self._apply_delivery(running, delivery):
                    changed[running.id] = running
        return list(changed.values())

    def replay_deliveries(self, running: RunningRollout) -> None:
        """Another client has replaced the status: note the latest deliveries in it again."""
        self._deliveries.extend(running.take_recent_deliveries())

    def _apply_delivery(self, running: RunningRollout, delivery: Delivery) -> bool:
        message = self._message_for(running, delivery.notification_id)
        if message is None:
            return False
        progress = save_channel_message_id(running.rollout.progress, delivery.channel, delivery.channel_message_id)
        if delivery.finished:
            channels = self._dependencies.notifier.channels(message)
            progress = mark_delivered(progress, delivery.notification_id, delivery.channel, channels)
        running.apply_delivery(delivery, progress)
        return True

    def _message_for(self, running: RunningRollout, notification_id: str) -> Message | None:
        rollout = running.rollout
        for notification in rollout.progress.outbox.pending:
            if notification.id == notification_id:
                place = (rollout.namespace, rollout.service, rollout.name, notification.reason)
                return Message(
                    notification,
                    rollout,
                    running.policy.notifications if running.policy else (),
                    _forecast(running) if notification.reason in _OPEN_REASONS else (),
                    page_link(self._dependencies.external_url, *place),
                    runbook_link(self._dependencies.runbook_url, *place),
                    self._dependencies.dry_run,
                )
        return None


def _forecast(running: RunningRollout) -> tuple[tuple[str, str], ...]:
    """When a comparison that is still open can be expected to end."""
    text = forecast_text(running.policy, running.rollout.progress)
    return (("forecast", text),) if text else ()
