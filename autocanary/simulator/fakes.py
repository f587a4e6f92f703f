"""The smaller ports in the simulated world: notifications, webhooks, policies, leadership and the pool.

Each records its calls, and its answers can be set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from autocanary.errors import PolicyError, Problem
from autocanary.model.policy import Policy
from autocanary.ports import Delivery, Message, WebhookCall, WebhookResult

__all__ = ["FakeLeadership", "FakePolicies", "FakePolicyWebhooks", "InlinePool", "RecordingNotifier"]

T = TypeVar("T")


class InlinePool:
    """Runs the work at once, in the caller's thread."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - a future carries whatever the work raised
            future.set_exception(error)
        return future

    submit_urgent = submit


class FakeLeadership:
    """The leader, until ``leads`` is turned off."""

    def __init__(self, leads: bool = True) -> None:
        self.leads = leads

    def is_leader(self) -> bool:
        return self.leads


class RecordingNotifier:
    """Keeps everything in ``messages``. While ``down``, nothing is delivered; it is delivered afterwards."""

    def __init__(self, channels: Sequence[str] = ("users",)) -> None:
        self.messages: list[Message] = []
        self.down = False
        self._channels = tuple(channels)
        self._queued: list[Delivery] = []

    def channels(self, message: Message) -> tuple[str, ...]:  # noqa: ARG002 - the port's signature
        return self._channels

    def notify(self, message: Message) -> None:
        rollout, notification = message.rollout, message.notification
        self.messages.append(message)
        self._queued.extend(
            Delivery(rollout.namespace, rollout.name, notification.id, channel, True)
            for channel in self._channels
            if channel not in notification.delivered_channels
        )

    def take_deliveries(self) -> Sequence[Delivery]:
        if self.down:
            return ()
        deliveries, self._queued = self._queued, []
        return deliveries

    def events(self, rollout: str = "") -> list[str]:
        """The notified events, one name per transition in order; a repetition counts once."""
        events = {
            message.notification.id: message.notification.event
            for message in self.messages
            if rollout in ("", message.rollout.name)
        }
        return list(events.values())


class FakePolicyWebhooks:
    """Webhooks: ``answers`` by the webhook's name, yes to all others."""

    def __init__(self) -> None:
        self.answers: dict[str, WebhookResult] = {}
        self.calls: list[WebhookCall] = []

    def call(self, calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]:
        self.calls.extend(calls)
        return {call: self.answers.get(call.webhook.name, WebhookResult(True)) for call in calls}


class FakePolicies:
    """Policies made in code. A snapshot is restored to the policy whose document it is."""

    def __init__(self, policies: Sequence[Policy] = ()) -> None:
        self._current: Sequence[Policy] = tuple(policies)
        self._known: list[Policy] = list(policies)

    def current(self) -> Sequence[Policy]:
        return self._current

    def put(self, *policies: Policy) -> None:
        """These are in force from now on; rollouts that run keep the ones they began with."""
        self._current = tuple(policies)
        self._known.extend(policies)

    def restore(self, name: str, document: Mapping[str, Any]) -> Policy:
        for policy in reversed(self._known):
            if policy.name == name and policy.document == document:
                return policy
        raise PolicyError((Problem(name, 0, 0, "this policy is not known in the simulated world"),))
