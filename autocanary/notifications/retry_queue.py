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
from autocanary.notifications.http_client import NEVER
from autocanary.ports import Message

__all__ = ["FINAL_PATIENCE", "PATIENCE", "Entry", "Key", "Outbox", "key_of"]

PATIENCE = 600.0
FINAL_PATIENCE = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_ASIDE, _LONGEST_RETRY_AFTER = 1.0, 60.0, 600.0, 900.0
_TRIES_IN_FRONT = 5
_FINAL = frozenset({Event.PROMOTED.value, Event.ROLLED_BACK.value, Event.ENDED.value})


class Key(NamedTuple):
    """A telling for a channel: what is told at most once."""

    namespace: str
    rollout: str
    telling_id: str
    channel: str


def key_of(message: Message, channel: str) -> Key:
    return Key(message.rollout.namespace, message.rollout.name, message.telling.id, channel)


@dataclass(slots=True)
class Entry:
    """One message on its way to one channel. Times in the caller's seconds."""

    key: Key
    message: Message
    channel: Channel
    give_up_at: float
    due: float
    tries: int = 0
    refusals: int = 0
    why: str = ""

    @property
    def is_final(self) -> bool:
        return self.message.telling.event in _FINAL


@dataclass(slots=True)
class _Lane:
    entries: dict[Key, Entry] = field(default_factory=dict)
    failures: int = 0
    opens_at: float = 0.0
    served: int = 0


class Outbox:
    """Not thread-safe: its owner holds a lock. ``random`` gives numbers in [0, 1)."""

    def __init__(self, *, capacity: int, random: Callable[[], float]) -> None:
        self._capacity, self._random = capacity, random
        self._lanes: dict[str, _Lane] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(lane.entries) for lane in self._lanes.values())

    def __contains__(self, key: Key) -> bool:
        lane = self._lanes.get(key.channel)
        return lane is not None and key in lane.entries

    def add(self, message: Message, channel: Channel, now: float) -> bool:
        """Queue a message; False when there is no room. Final messages always find room."""
        key = key_of(message, channel.name)
        if key in self:
            return True
        entry = Entry(key, message, channel, give_up_at=now, due=now)
        if not entry.is_final and len(self) >= self._capacity:
            return False
        entry.give_up_at += FINAL_PATIENCE if entry.is_final else PATIENCE
        self._lanes.setdefault(channel.name, _Lane()).entries[key] = entry
        return True

    def next(self, now: float) -> Entry | None:
        """The entry to try now; lanes take turns."""
        ready = [
            (lane.served, lane, entry)
            for lane in self._lanes.values()
            if lane.opens_at <= now and (entry := _first_due(lane, now)) is not None
        ]
        if not ready:
            return None
        _, lane, entry = min(ready, key=lambda each: each[0])
        self._turn += 1
        lane.served = self._turn
        return entry

    def wait(self, now: float) -> float | None:
        """Seconds until something may be tried; None when nothing waits."""
        moments = [
            max(lane.opens_at, min(entry.due for entry in lane.entries.values()))
            for lane in self._lanes.values()
            if lane.entries
        ]
        return max(0.0, min(moments) - now) if moments else None

    def clear(self) -> None:
        """Forget everything."""
        self._lanes.clear()

    def succeeded(self, entry: Entry) -> bool:
        """The receiver has it. Returns whether the lane had been failing until now."""
        if entry.key not in self:
            return False  # forgotten meanwhile
        lane = self._lanes[entry.key.channel]
        del lane.entries[entry.key]
        recovered = lane.failures > 0
        lane.failures, lane.opens_at = 0, 0.0
        self._forget_empty(entry.key.channel)
        return recovered

    def failed(self, entry: Entry, error: DeliveryError, now: float) -> tuple[Entry, ...]:
        """The receiver does not have it. Returns the entries that are given up now."""
        if entry.key not in self:
            return ()
        lane = self._lanes[entry.key.channel]
        entry.why, entry.tries = str(error), entry.tries + 1
        if error.retry_after == NEVER:
            entry.refusals += 1
            entry.due = now + self._pause(entry.refusals, _LONGEST_ASIDE)
            refused = [] if entry.is_final else [entry]
        else:
            lane.failures += 1
            pause = self._pause(lane.failures, _LONGEST_PAUSE)
            if error.retry_after is not None:
                pause = min(error.retry_after, _LONGEST_RETRY_AFTER)
            lane.opens_at = now + pause
            refused = []
        expired = [each for each in lane.entries.values() if each.give_up_at <= now and each not in refused]
        return self._give_up(lane, entry, (*refused, *expired))

    def just_closed(self, channel: str) -> bool:
        """Whether the channel has failed once since it last worked: worth one line in the log."""
        lane = self._lanes.get(channel)
        return lane is not None and lane.failures == 1

    def _give_up(self, lane: _Lane, tried: Entry, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        gone = tuple(entries)
        for entry in gone:
            entry.why = entry.why or tried.why
            del lane.entries[entry.key]
        self._forget_empty(tried.key.channel)
        return gone

    def _pause(self, attempt: int, longest: float) -> float:
        doubled: float = min(longest, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
        return doubled * (1.0 - 0.5 * self._random())

    def _forget_empty(self, channel: str) -> None:
        if not self._lanes[channel].entries:
            del self._lanes[channel]


def _first_due(lane: _Lane, now: float) -> Entry | None:
    due = (entry for entry in lane.entries.values() if entry.due <= now)
    return min(due, key=lambda entry: entry.tries // _TRIES_IN_FRONT, default=None)
