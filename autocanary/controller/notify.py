"""Notify: queue the recorded notifications that are undelivered, and note which channel has which."""

from __future__ import annotations

from autocanary.analysis.forecast import forecast_text
from autocanary.controller.context import Dependencies, isolated
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.decide.outbox import mark_delivered, save_channel_message_id
from autocanary.model.decision import Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import Notification
from autocanary.model.reason import Reason
from autocanary.model.rollout import RolloutId
from autocanary.ports import Delivery, Message
from autocanary.views import page_link, runbook_link

__all__ = ["Notifications"]

_OPEN_REASONS = frozenset({Reason.INCONCLUSIVE.value, Reason.SUSPICIOUS.value})
"""The message about a comparison that is still open has a forecast."""


_FOLDABLE_EVENTS = frozenset(each.value for each in (Event.STARTED, Event.STEP, Event.HELD, Event.RESUMED))
_OLD_SECONDS = 600.0
"""What could not be delivered for so long is dropped without a restart as well."""
_BACKLOG_PER_TICK = 10


class Notifications:
    """Notifications are sent only after they are recorded. Not thread-safe: called on the tick's thread only.

    The backlog is what was recorded before this process led. Rollouts with a message that may be urgent come first,
    the others a few in each tick, after the evaluations.
    """

    def __init__(self, dependencies: Dependencies, state: ControllerState) -> None:
        self._dependencies, self._state = dependencies, state
        self._deliveries: list[Delivery] = []
        self._unrecorded_since: dict[RolloutId, float] = {}
        self._backlog: dict[RolloutId, None] = {}

    def send_later(self, running: RunningRollout, now: float) -> None:
        """Queue the notifications of an adopted rollout; old ones of its steps are folded into the newest."""
        pending = running.stored.outbox.pending if running.stored is not None else ()
        with isolated("notifications_not_folded", namespace=running.id[0], rollout=running.id[1]):
            self._fold(running, pending, now)
        if any(each.event not in _FOLDABLE_EVENTS for each in pending):
            self.send_pending(running)
        elif pending:
            self._backlog[running.id] = None

    def send_backlog(self) -> None:
        """Queue the notifications of a few rollouts of the backlog."""
        for id_ in list(self._backlog)[:_BACKLOG_PER_TICK]:
            del self._backlog[id_]
            running = self._state.find(id_)
            if running is not None:
                self.send_pending(running)

    def _fold(self, running: RunningRollout, pending: tuple[Notification, ...], now: float) -> None:
        """Of old notifications that the log has, only the newest goes to the other channels; it says how many."""
        folded = [each for each in pending[:-1] if _is_foldable(each, now)]
        for notification in folded:
            message = self._message_for(running, notification.id)
            if message is not None and running.queue_notification(notification.id):
                channels = self._dependencies.notifier.channels(message)
                self._deliveries.extend(Delivery(*running.id, notification.id, channel, True) for channel in channels)
        if folded:
            running.set_folded(pending[-1].id, len(folded))

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
        if folded := running.folded_count(notification.id):
            earlier = ("earlier", f"{folded} older messages of this rollout were not sent one by one")
            message = replace(message, details=(*message.details, earlier))
        channels = self._dependencies.notifier.channels(message)
        if set(channels) <= set(notification.delivered_channels):
            self._deliveries.append(Delivery(*running.id, notification.id, "", True))
        else:
            self._dependencies.notifier.notify(message)

    def collect_deliveries(self, now: float) -> None:
        """Note what was delivered, to be recorded with the rollout's next write or by ``take_unrecorded``.

        Deliveries of a rollout that a worker writes for are noted in a later tick.
        """
        deliveries = [*self._deliveries, *self._dependencies.notifier.take_deliveries()]
        self._deliveries = []
        for delivery in deliveries:
            running = self._state.find((delivery.namespace, delivery.rollout))
            if running is None:
                continue
            if running.writing:
                self._deliveries.append(delivery)
                continue
            with isolated("delivery_not_noted", namespace=delivery.namespace, rollout=delivery.rollout):
                if self._apply_delivery(running, delivery):
                    self._unrecorded_since.setdefault(running.id, now)

    def take_unrecorded(self, now: float, wait: float) -> list[RunningRollout]:
        """The rollouts with deliveries that no write has recorded for ``wait`` seconds; at once where one has ended."""
        found = []
        for id_, since in list(self._unrecorded_since.items()):
            running = self._state.find(id_)
            if running is None or running.stored == running.rollout.progress:
                del self._unrecorded_since[id_]
            elif running.writing or (running.querying and wait):
                continue  # the verdict that is on its way must not wait for this write
            elif now - since >= wait or running.rollout.is_final:
                del self._unrecorded_since[id_]
                found.append(running)
        return found

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


def _is_foldable(notification: Notification, now: float) -> bool:
    is_logged = bool(notification.delivered_channels)  # the log is written first
    return notification.event in _FOLDABLE_EVENTS and is_logged and now - notification.at > _OLD_SECONDS


def _forecast(running: RunningRollout) -> tuple[tuple[str, str], ...]:
    """When a comparison that is still open can be expected to end."""
    text = forecast_text(running.policy, running.rollout.progress)
    return (("forecast", text),) if text else ()
