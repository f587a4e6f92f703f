"""What waits to be told, for which channel, and when it is tried again. Pure: time arrives as an argument.

Each channel has a lane of its own, oldest first::

    open    the oldest message that is due is sent
    closed  a receiver did not answer, or said "not now": nothing of this lane is sent until the pause is
            over, so a dead receiver costs one attempt per pause, however many messages wait. The oldest is
            tried again first, so that messages keep their order; but after five tries it lets others pass,
            in case it is only this one that the receiver stumbles over
    aside   a receiver refused one message for good. Only a final message waits on (a person may rotate the
            secret or unarchive the channel), with pauses of its own; the lane stays open for the others

Pauses double from 1 s to 1 min (10 min for one set aside), each shortened at random by up to a half, so that
receivers are not hit in step; Retry-After is kept where it is named, up to 15 min. A message is given up 10
minutes after it was queued, and a final one (promoted, rolled back, ended) after 24 hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.notifications.channel import Channel
from autocanary.notifications.http_client import NO_RETRY
from autocanary.ports import Message

__all__ = [
    "FINAL_MESSAGE_TTL_SECONDS",
    "MESSAGE_TTL_SECONDS",
    "DeliveryKey",
    "QueuedMessage",
    "RetryQueue",
    "delivery_key",
]

MESSAGE_TTL_SECONDS = 600.0
FINAL_MESSAGE_TTL_SECONDS = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_REJECTED_PAUSE, _LONGEST_RETRY_AFTER = 1.0, 60.0, 600.0, 900.0
_ATTEMPTS_AT_FRONT = 5
_FINAL_EVENTS = frozenset({Event.PROMOTED.value, Event.ROLLED_BACK.value, Event.ENDED.value})


class DeliveryKey(NamedTuple):
    """A telling for a channel: what is told at most once."""

    namespace: str
    rollout: str
    notification_id: str
    channel: str


def delivery_key(message: Message, channel: str) -> DeliveryKey:
    return DeliveryKey(message.rollout.namespace, message.rollout.name, message.notification.id, channel)


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

    @property
    def is_final(self) -> bool:
        return self.message.notification.event in _FINAL_EVENTS


@dataclass(slots=True)
class _ChannelQueue:
    entries: dict[DeliveryKey, QueuedMessage] = field(default_factory=dict)
    failures: int = 0
    retry_at: float = 0.0
    last_turn: int = 0


class RetryQueue:
    """Not thread-safe: its owner holds a lock. ``random`` gives numbers in [0, 1)."""

    def __init__(self, *, capacity: int, random: Callable[[], float]) -> None:
        self._capacity, self._random = capacity, random
        self._queues: dict[str, _ChannelQueue] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(queue.entries) for queue in self._queues.values())

    def __contains__(self, key: DeliveryKey) -> bool:
        queue = self._queues.get(key.channel)
        return queue is not None and key in queue.entries

    def add(self, message: Message, channel: Channel, now: float) -> bool:
        """Queue a message; False when there is no room. Final messages always find room."""
        key = delivery_key(message, channel.name)
        if key in self:
            return True
        entry = QueuedMessage(key, message, channel, expires_at=now, due=now)
        if not entry.is_final and len(self) >= self._capacity:
            return False
        entry.expires_at += FINAL_MESSAGE_TTL_SECONDS if entry.is_final else MESSAGE_TTL_SECONDS
        self._queues.setdefault(channel.name, _ChannelQueue()).entries[key] = entry
        return True

    def next(self, now: float) -> QueuedMessage | None:
        """The entry to try now; lanes take turns."""
        ready = [
            (queue.last_turn, queue, entry)
            for queue in self._queues.values()
            if queue.retry_at <= now and (entry := _first_due(queue, now)) is not None
        ]
        if not ready:
            return None
        _, queue, entry = min(ready, key=lambda each: each[0])
        self._turn += 1
        queue.last_turn = self._turn
        return entry

    def wait(self, now: float) -> float | None:
        """Seconds until something may be tried; None when nothing waits."""
        moments = [
            max(queue.retry_at, min(entry.due for entry in queue.entries.values()))
            for queue in self._queues.values()
            if queue.entries
        ]
        return max(0.0, min(moments) - now) if moments else None

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()

    def succeeded(self, entry: QueuedMessage) -> bool:
        """The receiver has it. Returns whether the lane had been failing until now."""
        if entry.key not in self:
            return False  # forgotten meanwhile
        queue = self._queues[entry.key.channel]
        del queue.entries[entry.key]
        recovered = queue.failures > 0
        queue.failures, queue.retry_at = 0, 0.0
        self._drop_empty(entry.key.channel)
        return recovered

    def failed(self, entry: QueuedMessage, error: DeliveryError, now: float) -> tuple[QueuedMessage, ...]:
        """The receiver does not have it. Returns the entries that are given up now."""
        if entry.key not in self:
            return ()
        queue = self._queues[entry.key.channel]
        entry.last_error, entry.attempts = str(error), entry.attempts + 1
        if error.retry_after == NO_RETRY:
            entry.rejections += 1
            entry.due = now + self._pause(entry.rejections, _LONGEST_REJECTED_PAUSE)
            refused = [] if entry.is_final else [entry]
        else:
            queue.failures += 1
            pause = self._pause(queue.failures, _LONGEST_PAUSE)
            if error.retry_after is not None:
                pause = min(error.retry_after, _LONGEST_RETRY_AFTER)
            queue.retry_at = now + pause
            refused = []
        expired = [each for each in queue.entries.values() if each.expires_at <= now and each not in refused]
        return self._give_up(queue, entry, (*refused, *expired))

    def circuit_just_opened(self, channel: str) -> bool:
        """Whether the channel has failed once since it last worked: worth one line in the log."""
        queue = self._queues.get(channel)
        return queue is not None and queue.failures == 1

    def _give_up(
        self, queue: _ChannelQueue, tried: QueuedMessage, entries: Iterable[QueuedMessage]
    ) -> tuple[QueuedMessage, ...]:
        given_up = tuple(entries)
        for entry in given_up:
            entry.last_error = entry.last_error or tried.last_error
            del queue.entries[entry.key]
        self._drop_empty(tried.key.channel)
        return given_up

    def _pause(self, attempt: int, longest: float) -> float:
        doubled: float = min(longest, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
        return doubled * (1.0 - 0.5 * self._random())

    def _drop_empty(self, channel: str) -> None:
        if not self._queues[channel].entries:
            del self._queues[channel]


def _first_due(queue: _ChannelQueue, now: float) -> QueuedMessage | None:
    due = (entry for entry in queue.entries.values() if entry.due <= now)
    return min(due, key=lambda entry: entry.attempts // _ATTEMPTS_AT_FRONT, default=None)
