"""The Notifier port: people are told by one background thread, so that no decision ever waits for it.

The outbox of record is in the ledger (``Progress.untold``); what waits here is lost with the process and
told again after a restart, with the same id. That is why ``stop`` may give up after a few seconds. A full
queue (receivers dead while thousands of rollouts move) gives up what is not final at once.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from autocanary import logs
from autocanary.errors import DeliveryError
from autocanary.notifications.channel import Channel
from autocanary.notifications.http_client import NEVER
from autocanary.notifications.retry_queue import Entry, Key, Outbox, key_of
from autocanary.ports import Clock, Delivery, Message

__all__ = ["Courier"]

_CAPACITY = 10_000
_chance = random.Random().random  # noqa: S311 - spreads load, guards nothing
_STANDBY = 0.5  # seconds to the next look whether this instance leads again
_REMEMBERED = 20_000


def _nobody(message: Message) -> tuple[Channel, ...]:  # noqa: ARG001 - the signature is the hook's
    return ()


def _uncounted(channel: str, outcome: str) -> None:
    """Counts nothing."""


def _always() -> bool:
    """There is only one instance."""
    return True


def _unheard() -> None:
    """Tells nobody."""


class Courier:
    """Delivers each telling to each channel that wants it, once.

    ``at_once`` channels are told by ``tell`` itself, in the caller's thread: they must not block. The
    ``background`` channels and those that ``routed`` finds for a message (a policy's own webhooks) are told
    by the worker thread that ``start`` starts; how long it goes on trying is written in ``outbox``.
    ``counted`` hears the kind of channel (its name up to a colon) and ``delivered``, ``failed`` (will be
    tried again) or ``given-up``. ``heard`` is called after each try: ``delivered`` may have something.
    ``leads`` is asked before each try: while it is False nothing is sent. ``forget`` then drops what waits,
    since another instance tells it.

    A telling that was settled and is told again (the ledger could not note it) is not sent again; its
    Delivery is repeated, so that the ledger can.
    """

    def __init__(
        self,
        background: Sequence[Channel],
        *,
        clock: Clock,
        at_once: Sequence[Channel] = (),
        routed: Callable[[Message], Sequence[Channel]] = _nobody,
        counted: Callable[[str, str], None] = _uncounted,
        heard: Callable[[], None] = _unheard,
        leads: Callable[[], bool] = _always,
        capacity: int = _CAPACITY,
        chance: Callable[[], float] = _chance,
    ) -> None:
        self._at_once, self._background, self._routed = tuple(at_once), tuple(background), routed
        self._clock, self._counted, self._heard = clock, counted, heard
        self._leads = leads
        self._outbox = Outbox(capacity=capacity, random=chance)
        self._settled: OrderedDict[Key, Delivery] = OrderedDict()
        self._ready: dict[Key, Delivery] = {}
        self._overflowing = False
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._wake = threading.Event()
        self._stop_at: float | None = None
        self._thread: threading.Thread | None = None
        self._log = logs.logger("autocanary.notifications")

    def start(self) -> None:
        """Start the worker; once."""
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 3.0) -> None:
        """Try what is due for at most ``seconds``, then end; what is left is told after the next start."""
        self._stop_at = self._clock.now() + seconds
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None
        with self._lock:
            left = len(self._outbox)
        if left:
            self._log.warning(
                "notifications_left", count=left, hint="they are told again after the next start"
            )

    def channels(self, message: Message) -> tuple[str, ...]:
        names = [each.name for each in self._at_once if each.wants(message)]
        names += [each.name for each in self._in_background(message)]
        return tuple(dict.fromkeys(names))

    def tell(self, message: Message) -> None:
        with self._telling:  # two callers must not both find that a line is not written yet
            for channel in self._at_once:
                if channel.wants(message) and not self._has_it(message, channel):
                    self._tell_now(message, channel)
        for channel in self._in_background(message):
            self._queue(message, channel)
        self._wake.set()

    def delivered(self) -> Sequence[Delivery]:
        with self._lock:
            drained, self._ready = tuple(self._ready.values()), {}
        return drained

    def forget(self) -> None:
        """Drop what waits; what is under way is delivered."""
        with self._lock:
            self._outbox.clear()

    def work(self) -> float | None:
        """Try one message that is due. Returns 0 if it did, else seconds until one is, None if none waits.

        Only the worker calls this; a world in virtual time may call it instead of ``start``.
        """
        with self._lock:
            if not self._leads():
                return _STANDBY if len(self._outbox) else None
            now = self._clock.now()
            entry = self._outbox.next(now)
            if entry is None:
                return self._outbox.wait(now)
        sent = _send(entry.channel, entry.message)
        if isinstance(sent, DeliveryError):
            self._failed(entry, sent)
        else:
            self._succeeded(entry, sent)
        self._heard()
        return 0.0

    def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = self.work()
            stop_at = self._stop_at
            if stop_at is not None and (pause != 0.0 or self._clock.now() >= stop_at):
                return
            if pause != 0.0:
                self._wake.wait(pause)

    def _in_background(self, message: Message) -> list[Channel]:
        wanting: list[Channel] = [each for each in self._background if each.wants(message)]
        return wanting + [each for each in self._routed(message) if each.wants(message)]

    def _has_it(self, message: Message, channel: Channel) -> bool:
        """Whether nothing is left to do; the Delivery of a settled telling is given out once more."""
        if channel.name in message.telling.done:
            return True
        key = key_of(message, channel.name)
        with self._lock:
            return self._repeat(key)

    def _tell_now(self, message: Message, channel: Channel) -> None:
        sent = _send(channel, message)
        with self._lock:
            self._settle(key_of(message, channel.name), sent)
        failed = isinstance(sent, DeliveryError)
        self._counted(_kind(channel.name), "given-up" if failed else "delivered")

    def _queue(self, message: Message, channel: Channel) -> None:
        key = key_of(message, channel.name)
        with self._lock:
            if channel.name in message.telling.done or self._repeat(key):
                return
            full = not self._outbox.add(message, channel, self._clock.now())
            if full:
                self._settle(key, DeliveryError("too many messages wait for their receivers"))
            say, self._overflowing = full and not self._overflowing, full
        if full:
            self._counted(_kind(channel.name), "given-up")
        if say:
            self._log.warning(
                "notifications_queue_full", hint="only final messages are queued until there is room"
            )

    def _succeeded(self, entry: Entry, receipt: str) -> None:
        with self._lock:
            recovered = self._outbox.succeeded(entry)
            self._settle(entry.key, receipt)
        self._counted(_kind(entry.key.channel), "delivered")
        if recovered:
            self._log.info("notifications_recovered", channel=entry.key.channel)

    def _failed(self, entry: Entry, error: DeliveryError) -> None:
        with self._lock:
            gone = self._outbox.failed(entry, error, self._clock.now())
            if error.receipt:
                self._ready[entry.key] = _delivery(entry.key, error, settled=False)
            for each in gone:
                self._settle(each.key, DeliveryError(each.why))
            say = self._outbox.just_closed(entry.key.channel)
        if say:
            self._log.warning("notifications_failing", channel=entry.key.channel, error=str(error))
        if entry not in gone:
            self._counted(_kind(entry.key.channel), "failed")
        for each in gone:
            self._counted(_kind(each.key.channel), "given-up")
            self._log.warning(
                "notification_given_up",
                channel=each.key.channel,
                namespace=each.key.namespace,
                rollout=each.key.rollout,
                told=each.message.telling.event,
                error=each.why,
            )

    def _repeat(self, key: Key) -> bool:
        """Give out a settled telling's Delivery once more; the caller holds the lock."""
        settled = self._settled.get(key)
        if settled is not None:
            self._ready[key] = settled
        return settled is not None

    def _settle(self, key: Key, sent: str | DeliveryError) -> None:
        """Note how it ended; the caller holds the lock."""
        delivery, before = _delivery(key, sent), self._ready.get(key)
        if before is not None and not delivery.receipt:
            delivery = replace(delivery, receipt=before.receipt)
        self._settled[key] = self._ready[key] = delivery
        while len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)


def _send(channel: Channel, message: Message) -> str | DeliveryError:
    """The receipt, "" where the channel gives none, or why the receiver does not have it."""
    try:
        return channel.send(message) or ""
    except DeliveryError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a fault in one channel must not end the thread that serves all
        return DeliveryError(f"{channel.name}: {type(error).__name__}: {error}", retry_after=NEVER)


def _delivery(key: Key, sent: str | DeliveryError, *, settled: bool = True) -> Delivery:
    failed = isinstance(sent, DeliveryError)
    return Delivery(
        key.namespace,
        key.rollout,
        key.telling_id,
        key.channel,
        ok=not failed,
        detail=str(sent) if isinstance(sent, DeliveryError) else "",
        receipt=sent.receipt if isinstance(sent, DeliveryError) else sent,
        settled=settled,
    )


def _kind(channel: str) -> str:
    return channel.partition(":")[0]
