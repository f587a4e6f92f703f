"""The messages that wait for delivery, by channel, and when each is tried again. Pure: time is an argument.

Each channel has a queue with a circuit of its own, oldest message first. A rollback passes the messages of
other rollouts, and the earlier messages of its own rollout pass them with it::

    closed       the oldest message that is due is sent
    open         the receiver did not answer, or answered "not now": nothing of this queue is sent until the pause
                 is over. A dead receiver costs one attempt per pause, however many messages wait. The oldest is
                 tried first, so that messages keep their order; after five tries it lets others pass
    dead letter  the receiver refused one message for good. Only a final message is tried again, with pauses of its
                 own and after the next message that the receiver takes; the circuit stays closed for the others

A receiver gets one message at a time. One that is slow is paused for at least as long as it took. Policies'
webhooks have a share of the workers per namespace; a part of the workers serves the service's own channels only.

Pauses double from 1 s to 1 min (10 min for a dead letter), each shortened at random by up to a half. Retry-After
is honoured up to 15 min, and up to 1 min while a final message waits. A message is given up 10 minutes after it
was queued, and a final one (promoted, rolled back, ended) after 24 hours.

Over 300 lines because messages, receivers and circuits change together, under the caller's one lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.notifications.channel import Channel
from autocanary.outbound.http_client import NO_RETRY
from autocanary.ports import Message

__all__ = [
    "FINAL_MESSAGE_TTL_SECONDS",
    "MESSAGE_TTL_SECONDS",
    "DeliveryKey",
    "QueuedMessage",
    "RetryQueue",
    "Shares",
    "delivery_key",
]

MESSAGE_TTL_SECONDS = 600.0
FINAL_MESSAGE_TTL_SECONDS = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_DEAD_LETTER_PAUSE = 1.0, 60.0, 600.0
_LONGEST_RETRY_AFTER, _LONGEST_RETRY_AFTER_FOR_FINAL = 900.0, 60.0
_SLOW_SECONDS = 2.0
_ATTEMPTS_AT_FRONT = 5
_FINAL_EVENTS = frozenset({Event.PROMOTED.value, Event.ROLLED_BACK.value, Event.ENDED.value})
_URGENT_EVENTS = frozenset({Event.ROLLBACK.value, Event.ROLLED_BACK.value})


class DeliveryKey(NamedTuple):
    """A notification for a channel: what is delivered at most once."""

    namespace: str
    rollout: str
    notification_id: str
    channel: str


def delivery_key(message: Message, channel: str) -> DeliveryKey:
    return DeliveryKey(message.rollout.namespace, message.rollout.name, message.notification.id, channel)


class _Receiver(NamedTuple):
    """Where messages of one or several channels arrive; ``namespace`` is "" for the service's own channels."""

    name: str
    namespace: str


def _receiver_of(key: DeliveryKey) -> _Receiver:
    """A policy's webhook (``webhook:<origin>#<digest>``) is its namespace's own, whatever else posts to that host."""
    kind, _, place = key.channel.partition(":")
    if kind == "webhook" and place:
        return _Receiver(f"{kind}:{place.partition('#')[0]}", key.namespace)
    return _Receiver("slack" if kind == "slack" else key.channel, "")


@dataclass(frozen=True, slots=True)
class Shares:
    """How many messages are sent at the same time: in all, for the service's own channels only, per namespace.

    ``queued_per_namespace`` is how many messages may wait for the webhooks of one namespace's policies.
    """

    workers: int = 16
    reserved: int = 4
    per_namespace: int = 3
    queued_per_namespace: int = 1000


@dataclass(slots=True)
class QueuedMessage:
    """One message on its way to one channel. Times in the caller's seconds."""

    key: DeliveryKey
    message: Message
    channel: Channel
    expires_at: float
    due: float
    attempts: int = 0
    rejections: int = 0
    last_error: str = ""
    started_at: float = 0.0

    @property
    def is_final(self) -> bool:
        return self.message.notification.event in _FINAL_EVENTS

    @property
    def is_urgent(self) -> bool:
        return self.message.notification.event in _URGENT_EVENTS

    @property
    def rollout(self) -> tuple[str, str]:
        return self.key.namespace, self.key.rollout


@dataclass(slots=True)
class _ChannelQueue:
    receiver: _Receiver
    entries: dict[DeliveryKey, QueuedMessage] = field(default_factory=dict)
    failures: int = 0
    retry_at: float = 0.0
    last_turn: int = 0
    asked_to_wait: bool = False

    @property
    def has_final(self) -> bool:
        return any(entry.is_final for entry in self.entries.values())


class RetryQueue:
    """Not thread-safe: its owner holds a lock. ``random`` gives numbers in [0, 1)."""

    def __init__(self, *, capacity: int, random: Callable[[], float], shares: Shares | None = None) -> None:
        self._capacity, self._random, self._shares = capacity, random, shares or Shares()
        self._queues: dict[str, _ChannelQueue] = {}
        self._in_flight: dict[_Receiver, QueuedMessage] = {}
        self._paused_until: dict[_Receiver, float] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(queue.entries) for queue in self._queues.values())

    def __contains__(self, key: DeliveryKey) -> bool:
        queue = self._queues.get(_queue_name(key))
        return queue is not None and key in queue.entries

    def add(self, message: Message, channel: Channel, now: float) -> bool:
        """Queue a message; False when the queue is full. Final messages of the service's channels always fit."""
        key = delivery_key(message, channel.name)
        if key in self:
            return True
        entry = QueuedMessage(key, message, channel, expires_at=now, due=now)
        if self._is_full(entry):
            return False
        entry.expires_at += FINAL_MESSAGE_TTL_SECONDS if entry.is_final else MESSAGE_TTL_SECONDS
        queue = self._queues.setdefault(_queue_name(key), _ChannelQueue(_receiver_of(key)))
        queue.entries[key] = entry
        if entry.is_final:
            queue.retry_at = min(queue.retry_at, now + _LONGEST_RETRY_AFTER_FOR_FINAL)
        return True

    def next(self, now: float) -> QueuedMessage | None:
        """The entry to try now, which then counts as in flight until it succeeded or failed.

        Rollbacks and the service's own channels come first, then the channels take turns.
        """
        self._paused_until = {receiver: at for receiver, at in self._paused_until.items() if at > now}
        ready = [
            (not (entry.is_urgent or not queue.receiver.namespace), queue.last_turn, queue, entry)
            for queue in self._startable()
            if queue.retry_at <= now
            and queue.receiver not in self._paused_until
            and (entry := _first_due(queue, now)) is not None
        ]
        if not ready:
            return None
        _, _, queue, entry = min(ready, key=lambda each: each[:2])
        self._turn += 1
        queue.last_turn = self._turn
        entry.started_at = now
        self._in_flight[queue.receiver] = entry
        return entry

    def wait(self, now: float) -> float | None:
        """Seconds until something may be tried; None when nothing waits but for what is in flight."""
        moments = [
            max(
                queue.retry_at,
                self._paused_until.get(queue.receiver, 0.0),
                min(entry.due for entry in queue.entries.values()),
            )
            for queue in self._startable()
            if queue.entries
        ]
        return max(0.0, min(moments) - now) if moments else None

    def clear(self) -> None:
        """Drop everything; what is in flight is not queued again."""
        self._queues.clear()

    def succeeded(self, entry: QueuedMessage, now: float) -> bool:
        """The receiver has it. Returns whether the channel had been failing until now."""
        self._land(entry, now)
        if entry.key not in self:
            return False  # dropped meanwhile
        name = _queue_name(entry.key)
        queue = self._queues[name]
        del queue.entries[entry.key]
        recovered = queue.failures > 0
        queue.failures, queue.retry_at, queue.asked_to_wait = 0, 0.0, False
        self._retry_final_messages(queue.receiver, now)
        self._drop_empty(name)
        return recovered

    def failed(self, entry: QueuedMessage, error: DeliveryError, now: float) -> tuple[QueuedMessage, ...]:
        """The receiver does not have it. Returns the entries that are given up now."""
        self._land(entry, now)
        if entry.key not in self:
            return ()
        queue = self._queues[_queue_name(entry.key)]
        entry.last_error, entry.attempts = str(error), entry.attempts + 1
        if error.retry_after == NO_RETRY:
            entry.rejections += 1
            entry.due = now + self._pause(entry.rejections, _LONGEST_DEAD_LETTER_PAUSE)
            refused = [] if entry.is_final else [entry]
        else:
            queue.failures += 1
            queue.asked_to_wait = error.retry_after is not None
            pause = self._pause(queue.failures, _LONGEST_PAUSE)
            if error.retry_after is not None:
                longest = _LONGEST_RETRY_AFTER_FOR_FINAL if queue.has_final else _LONGEST_RETRY_AFTER
                pause = min(error.retry_after, longest)
            queue.retry_at = now + pause
            refused = []
        expired = [each for each in queue.entries.values() if each.expires_at <= now and each not in refused]
        return self._give_up(queue, entry, (*refused, *expired))

    def circuit_just_opened(self, key: DeliveryKey) -> bool:
        """Whether the channel has failed once since it last worked: worth one line in the log."""
        queue = self._queues.get(_queue_name(key))
        return queue is not None and queue.failures == 1

    def _is_full(self, entry: QueuedMessage) -> bool:
        namespace = _receiver_of(entry.key).namespace
        if namespace:
            waiting = sum(len(each.entries) for each in self._queues.values() if each.receiver.namespace == namespace)
            if waiting >= self._shares.queued_per_namespace:
                return True
        return not entry.is_final and len(self) >= self._capacity

    def _startable(self) -> Iterable[_ChannelQueue]:
        """The queues whose receiver is idle, as far as the shares go."""
        in_flight = Counter(receiver.namespace for receiver in self._in_flight)
        for_policies = len(self._in_flight) - in_flight[""]
        open_to_policies = for_policies < self._shares.workers - self._shares.reserved
        for queue in self._queues.values():
            namespace = queue.receiver.namespace
            shared = open_to_policies and in_flight[namespace] < self._shares.per_namespace
            if queue.receiver not in self._in_flight and (not namespace or shared):
                yield queue

    def _land(self, entry: QueuedMessage, now: float) -> None:
        """The attempt is over; a receiver that took long is paused for as long."""
        receiver = _receiver_of(entry.key)
        if self._in_flight.get(receiver) is entry:
            del self._in_flight[receiver]
        took = now - entry.started_at
        if receiver.namespace and took >= _SLOW_SECONDS:
            self._paused_until[receiver] = now + min(took, _LONGEST_PAUSE)

    def _retry_final_messages(self, receiver: _Receiver, now: float) -> None:
        """A message got through: the final ones that this receiver has refused, or not answered, are due."""
        for queue in self._queues.values():
            if queue.receiver == receiver and queue.has_final:
                for entry in queue.entries.values():
                    entry.due = min(entry.due, now) if entry.is_final else entry.due
                if not queue.asked_to_wait:
                    queue.retry_at = min(queue.retry_at, now)

    def _give_up(
        self, queue: _ChannelQueue, tried: QueuedMessage, entries: Iterable[QueuedMessage]
    ) -> tuple[QueuedMessage, ...]:
        given_up = tuple(entries)
        for entry in given_up:
            entry.last_error = entry.last_error or tried.last_error
            del queue.entries[entry.key]
        self._drop_empty(_queue_name(tried.key))
        return given_up

    def _pause(self, attempt: int, longest: float) -> float:
        doubled: float = min(longest, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
        return doubled * (1.0 - 0.5 * self._random())

    def _drop_empty(self, name: str) -> None:
        if not self._queues[name].entries:
            del self._queues[name]


def _queue_name(key: DeliveryKey) -> str:
    """A policy's webhook has a queue per namespace, so that no namespace waits for another's circuit."""
    namespace = _receiver_of(key).namespace
    return f"{namespace} {key.channel}" if namespace else key.channel


def _first_due(queue: _ChannelQueue, now: float) -> QueuedMessage | None:
    urgent = {entry.rollout for entry in queue.entries.values() if entry.is_urgent}
    due = (entry for entry in queue.entries.values() if entry.due <= now)
    return min(due, key=lambda entry: (entry.attempts // _ATTEMPTS_AT_FRONT, entry.rollout not in urgent), default=None)
