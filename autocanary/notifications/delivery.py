"""The Notifier port: background threads deliver messages, so that no decision waits for a receiver.

The rollout store holds the notifications (``Progress.pending_notifications``). What waits here is lost with the
process and delivered after a restart with the same id, so ``stop`` may give up after a few seconds. A full queue
(dead receivers while thousands of rollouts move) gives up at once what is not final.

Over 300 lines because the queue, the threads and what is finished change together, under one lock.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from autocanary import logs
from autocanary.errors import DeliveryError
from autocanary.notifications.channel import Channel
from autocanary.notifications.retry_queue import DeliveryKey, QueuedMessage, RetryQueue, Shares, delivery_key
from autocanary.outbound.http_client import NO_RETRY
from autocanary.ports import Clock, Delivery, Message

__all__ = ["DeliveryWorkers"]

_CAPACITY = 10_000
_jitter = random.Random().random  # noqa: S311 - spreads load, guards nothing
_LEADERSHIP_POLL_SECONDS = 0.5  # until the next check whether this instance leads again
_FINISHED_KEPT = 20_000
_THREAD_NAME = "notify"


def _no_channels(message: Message) -> tuple[Channel, ...]:  # noqa: ARG001 - the signature is the hook's
    return ()


def _ignore_outcome(channel: str, outcome: str) -> None:
    """Counts nothing."""


def _always_leader() -> bool:
    """There is only one instance."""
    return True


def _do_nothing() -> None:
    """Where nothing waits for deliveries."""


class DeliveryWorkers:
    """Delivers each notification once to each channel that wants it.

    ``notify`` itself sends to the ``synchronous`` channels, in the caller's thread: they must not block. Threads
    that ``start`` starts send to the ``background`` channels and to those that ``channels_for`` finds for a message
    (a policy's webhooks): one message at a time per receiver, with the ``shares`` of the retry queue.
    ``on_outcome`` gets the kind of channel (its name up to a colon) and ``delivered``, ``failed`` (will be tried
    again) or ``dropped``. ``on_event`` is called after each try: ``take_deliveries`` may have something.
    ``is_leader`` is asked before each try: while it is False nothing is sent. ``drop_pending`` then drops what
    waits, because the new leader delivers it.

    A finished notification that is queued again (its delivery could not be recorded) is not sent again; its
    Delivery is repeated.
    """

    def __init__(
        self,
        background: Sequence[Channel],
        *,
        clock: Clock,
        synchronous: Sequence[Channel] = (),
        channels_for: Callable[[Message], Sequence[Channel]] = _no_channels,
        on_outcome: Callable[[str, str], None] = _ignore_outcome,
        on_event: Callable[[], None] = _do_nothing,
        is_leader: Callable[[], bool] = _always_leader,
        capacity: int = _CAPACITY,
        jitter: Callable[[], float] = _jitter,
        shares: Shares | None = None,
    ) -> None:
        self._synchronous, self._background, self._channels_for = (
            tuple(synchronous),
            tuple(background),
            channels_for,
        )
        self._clock, self._on_outcome, self._on_event = clock, on_outcome, on_event
        self._is_leader = is_leader
        self._shares = shares or Shares()
        self._retry_queue = RetryQueue(capacity=capacity, random=jitter, shares=self._shares)
        self._finished: OrderedDict[DeliveryKey, Delivery] = OrderedDict()
        self._undrained: dict[DeliveryKey, Delivery] = {}
        self._overflowing = False
        self._lock, self._delivery_lock = threading.Lock(), threading.Lock()
        self._changed = threading.Condition()
        self._changes, self._sending = 0, 0
        self._threads: list[threading.Thread] = []
        self._started, self._start_failed = False, False
        self._stop_at = math.inf
        self._log = logs.logger("autocanary.notifications")

    def start(self) -> None:
        """Start the first worker; others follow as they are needed."""
        self._started = True
        self._start_thread_if_needed()

    def stop(self, seconds: float = 3.0) -> None:
        """Try what is due for at most ``seconds``, then end; the next start delivers the rest."""
        self._stop_at = self._clock.now() + seconds
        self._wake()
        with self._changed:
            threads, self._threads, self._started = self._threads, [], False
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            left = len(self._retry_queue)
        if left:
            self._log.warning(
                "notifications_pending_at_stop", count=left, hint="they are delivered after the next start"
            )

    @property
    def is_stopping(self) -> bool:
        """Whether the workers end when nothing is due, or the time to stop is over."""
        return self._stop_at < math.inf

    def channels(self, message: Message) -> tuple[str, ...]:
        names = [each.name for each in self._synchronous if each.wants(message)]
        names += [each.name for each in self._in_background(message)]
        return tuple(dict.fromkeys(names))

    def notify(self, message: Message) -> None:
        with self._delivery_lock:  # two callers must not both find that a line is not written yet
            for channel in self._synchronous:
                if channel.wants(message) and not self._is_delivered(message, channel):
                    self._deliver_now(message, channel)
        for channel in self._in_background(message):
            self._enqueue(message, channel)
        self._wake()
        self._start_thread_if_needed()

    def take_deliveries(self) -> Sequence[Delivery]:
        with self._lock:
            drained, self._undrained = tuple(self._undrained.values()), {}
        return drained

    def drop_pending(self) -> None:
        """Drop what waits; what is in flight is delivered."""
        with self._lock:
            self._retry_queue.clear()

    def deliver_next(self) -> float | None:
        """Try one message that is due. Returns 0 if it did, else seconds until one is, None if none waits.

        The worker threads call this; a simulation in virtual time may call it instead of ``start``.
        """
        with self._lock:
            if not self._is_leader():
                return _LEADERSHIP_POLL_SECONDS if len(self._retry_queue) else None
            now = self._clock.now()
            entry = self._retry_queue.next(now)
            if entry is None:
                return self._retry_queue.wait(now)
        self._count_sending(1)
        self._start_thread_if_needed()
        outcome = _send(entry.channel, entry.message)
        self._count_sending(-1)
        if isinstance(outcome, DeliveryError):
            self._failed(entry, outcome)
        else:
            self._succeeded(entry, outcome)
        self._wake()  # its receiver is idle again
        self._on_event()
        return 0.0

    def _run(self) -> None:
        while True:
            with self._changed:
                changes = self._changes
            pause = self.deliver_next()
            if self.is_stopping and (pause != 0.0 or self._clock.now() >= self._stop_at):
                return
            if pause == 0.0:
                continue
            with self._changed:
                if self._changes == changes:
                    self._changed.wait(pause)

    def _count_sending(self, change: int) -> None:
        with self._changed:
            self._sending += change

    def _wake(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def _start_thread_if_needed(self) -> None:
        """One worker more than are sending, up to the number of workers, so that a hanging one delays no message."""
        with self._changed:
            enough = min(self._sending + 1, self._shares.workers)
            if not self._started or len(self._threads) >= enough:
                return
            thread = threading.Thread(target=self._run, name=_THREAD_NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # a limit of memory or threads: tried again with the next message
                if not self._start_failed:
                    self._log.warning("notification_worker_not_started", error=str(error), workers=len(self._threads))
                self._start_failed = True
                return
            self._start_failed = False
            self._threads.append(thread)

    def _in_background(self, message: Message) -> list[Channel]:
        wanting: list[Channel] = [each for each in self._background if each.wants(message)]
        return wanting + [each for each in self._channels_for(message) if each.wants(message)]

    def _is_delivered(self, message: Message, channel: Channel) -> bool:
        """Whether nothing is left to do; the Delivery of a finished notification is repeated."""
        if channel.name in message.notification.delivered_channels:
            return True
        key = delivery_key(message, channel.name)
        with self._lock:
            return self._report_again(key)

    def _deliver_now(self, message: Message, channel: Channel) -> None:
        outcome = _send(channel, message)
        with self._lock:
            self._finish(delivery_key(message, channel.name), outcome)
        failed = isinstance(outcome, DeliveryError)
        self._on_outcome(_kind(channel.name), "dropped" if failed else "delivered")
        if isinstance(outcome, DeliveryError):
            self._log_dropped(message, channel.name, str(outcome))

    def _enqueue(self, message: Message, channel: Channel) -> None:
        key = delivery_key(message, channel.name)
        with self._lock:
            if channel.name in message.notification.delivered_channels or self._report_again(key):
                return
            full = not self._retry_queue.add(message, channel, self._clock.now())
            if full:
                self._finish(key, DeliveryError("too many messages wait for their receivers"))
            say, self._overflowing = full and not self._overflowing, full
        if full:
            self._on_outcome(_kind(channel.name), "dropped")
        if say:
            self._log.warning(
                "notifications_queue_full", hint="only final messages are queued until some are delivered"
            )

    def _succeeded(self, entry: QueuedMessage, channel_message_id: str) -> None:
        with self._lock:
            recovered = self._retry_queue.succeeded(entry, self._clock.now())
            self._finish(entry.key, channel_message_id)
        self._on_outcome(_kind(entry.key.channel), "delivered")
        if recovered:
            self._log.info("notifications_recovered", channel=entry.key.channel)

    def _failed(self, entry: QueuedMessage, error: DeliveryError) -> None:
        with self._lock:
            given_up = self._retry_queue.failed(entry, error, self._clock.now())
            if error.channel_message_id:
                self._undrained[entry.key] = _delivery(entry.key, error, finished=False)
            for each in given_up:
                self._finish(each.key, DeliveryError(each.last_error))
            say = self._retry_queue.circuit_just_opened(entry.key)
        if say:
            self._log.warning("notifications_failing", channel=entry.key.channel, error=str(error))
        if entry not in given_up:
            self._on_outcome(_kind(entry.key.channel), "failed")
        for each in given_up:
            self._on_outcome(_kind(each.key.channel), "dropped")
            self._log_dropped(each.message, each.key.channel, each.last_error)

    def _log_dropped(self, message: Message, channel: str, error: str) -> None:
        self._log.warning(
            "notification_dropped",
            channel=channel,
            namespace=message.rollout.namespace,
            service=message.rollout.service,
            rollout=message.rollout.name,
            notification=message.notification.event,
            error=error,
        )

    def _report_again(self, key: DeliveryKey) -> bool:
        """Repeat the Delivery of a finished notification; the caller holds the lock."""
        finished = self._finished.get(key)
        if finished is not None:
            self._undrained[key] = finished
        return finished is not None

    def _finish(self, key: DeliveryKey, outcome: str | DeliveryError) -> None:
        """Note how it ended; the caller holds the lock."""
        delivery, before = _delivery(key, outcome), self._undrained.get(key)
        if before is not None and not delivery.channel_message_id:
            delivery = replace(delivery, channel_message_id=before.channel_message_id)
        self._finished[key] = self._undrained[key] = delivery
        while len(self._finished) > _FINISHED_KEPT:
            self._finished.popitem(last=False)


def _send(channel: Channel, message: Message) -> str | DeliveryError:
    """The channel's message id, "" where it has none, or why the receiver does not have the message."""
    try:
        return channel.send(message) or ""
    except DeliveryError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a fault in one channel must not end a thread that serves all
        return DeliveryError(f"{channel.name}: {type(error).__name__}: {error}", retry_after=NO_RETRY)


def _delivery(key: DeliveryKey, outcome: str | DeliveryError, *, finished: bool = True) -> Delivery:
    failed = isinstance(outcome, DeliveryError)
    return Delivery(
        key.namespace,
        key.rollout,
        key.notification_id,
        key.channel,
        ok=not failed,
        detail=str(outcome) if isinstance(outcome, DeliveryError) else "",
        channel_message_id=outcome.channel_message_id if isinstance(outcome, DeliveryError) else outcome,
        finished=finished,
    )


def _kind(channel: str) -> str:
    return channel.partition(":")[0]
