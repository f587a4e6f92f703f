"""Tests of autocanary.notifications.retry_queue: pure, in made-up time."""

from __future__ import annotations

import pytest

from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.notifications.retry_queue import (
    FINAL_MESSAGE_TTL_SECONDS,
    MESSAGE_TTL_SECONDS,
    QueuedMessage,
    RetryQueue,
    Shares,
    delivery_key,
)
from autocanary.outbound.http_client import NO_RETRY
from autocanary.ports import Message
from tests.notifications.example_messages import message, rollout


class NamedChannel:
    """A channel that is only a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wants(self, message: Message) -> bool:
        return True

    def send(self, message: Message) -> None:
        raise AssertionError("a queue sends nothing")


SLACK, HOOK = NamedChannel("slack"), NamedChannel("webhook:h#1")
DOWN = DeliveryError("down")
REFUSED = DeliveryError("no_service", retry_after=NO_RETRY)


def numbered_message(number: int, event: Event = Event.STEP) -> Message:
    return message(event, id=f"t{number}")


def retry_queue(*, jitter: float = 0.0, capacity: int = 100) -> RetryQueue:
    return RetryQueue(capacity=capacity, random=lambda: jitter)


def due(queue: RetryQueue, now: float) -> QueuedMessage:
    entry = queue.next(now)
    assert entry is not None
    return entry


def test_empty_queue_has_no_wait() -> None:
    """Nothing is due and nothing will be."""
    assert retry_queue().next(0.0) is None
    assert retry_queue().wait(0.0) is None


def test_gives_the_oldest_message_first_and_each_once() -> None:
    """The same message for the same channel waits once; order is the order of queueing."""
    queue = retry_queue()
    for number in (1, 2, 1):
        queue.add(numbered_message(number), SLACK, 0.0)
    assert len(queue) == 2
    first = due(queue, 0.0)
    assert first.key.notification_id == "t1"
    assert queue.succeeded(first, 0.0) is False
    assert due(queue, 0.0).key.notification_id == "t2"


def test_full_queue_takes_only_final_messages() -> None:
    """A full box takes what is final and what it has already, and nothing else."""
    queue = retry_queue(capacity=1)
    assert queue.add(numbered_message(1), SLACK, 0.0)
    assert queue.add(numbered_message(1), SLACK, 0.0)
    assert not queue.add(numbered_message(2), SLACK, 0.0)
    assert queue.add(numbered_message(3, Event.ROLLED_BACK), SLACK, 0.0)
    assert len(queue) == 2
    assert delivery_key(numbered_message(1), "slack") in queue
    assert delivery_key(numbered_message(2), "slack") not in queue
    assert delivery_key(numbered_message(1), "other") not in queue


def test_channels_take_turns_and_do_not_block_each_other() -> None:
    """A channel with a long queue, or a dead one, delays no other."""
    queue = retry_queue()
    for number in (1, 2, 3):
        queue.add(numbered_message(number), SLACK, 0.0)
    queue.add(numbered_message(1), HOOK, 0.0)
    order = []
    for _ in range(4):
        entry = due(queue, 0.0)
        order.append(entry.key.channel)
        if entry.channel is SLACK and entry.key.notification_id == "t1":
            assert queue.failed(entry, DOWN, 0.0) == ()
        else:
            queue.succeeded(entry, 0.0)
        if len(order) == 2:
            queue.add(numbered_message(4), HOOK, 0.0)
            queue.add(numbered_message(5), HOOK, 0.0)
    assert order == ["slack", "webhook:h#1", "webhook:h#1", "webhook:h#1"]


def test_backoff_doubles_up_to_one_minute_and_keeps_the_order() -> None:
    """A dead receiver costs one attempt a pause; the oldest message is in front, five tries at a time."""
    queue, now = retry_queue(), 0.0
    waits: list[float] = []
    tried: list[str] = []
    queue.add(numbered_message(1, Event.PROMOTED), SLACK, now)
    queue.add(numbered_message(2, Event.PROMOTED), SLACK, now)
    for _ in range(11):
        entry = due(queue, now)
        tried.append(entry.key.notification_id)
        queue.failed(entry, DOWN, now)
        assert queue.next(now) is None
        wait = queue.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert tried == ["t1"] * 5 + ["t2"] * 5 + ["t1"]


def test_circuit_just_opened_only_after_the_first_failure() -> None:
    """A dead receiver is worth one line in the log, not one a minute."""
    queue = retry_queue()
    queue.add(numbered_message(1), SLACK, 0.0)
    assert not queue.circuit_just_opened(delivery_key(numbered_message(1), "slack"))
    queue.failed(due(queue, 0.0), DOWN, 0.0)
    assert queue.circuit_just_opened(delivery_key(numbered_message(1), "slack"))
    queue.failed(due(queue, 1.0), DOWN, 1.0)
    assert not queue.circuit_just_opened(delivery_key(numbered_message(1), "slack"))
    assert queue.succeeded(due(queue, 3.0), 3.0) is True
    assert not queue.circuit_just_opened(delivery_key(numbered_message(1), "slack"))


def test_jitter_shortens_backoff_by_up_to_half() -> None:
    """Receivers are not hit in step."""
    queue = retry_queue(jitter=0.5)
    queue.add(numbered_message(1), SLACK, 0.0)
    queue.failed(due(queue, 0.0), DOWN, 0.0)
    assert queue.wait(0.0) == 0.75


@pytest.mark.parametrize(
    ("event", "named", "kept"),
    [
        (Event.STEP, 30.0, 30.0),
        (Event.STEP, 0.0, 0.0),
        (Event.STEP, 1e9, 900.0),
        (Event.ROLLED_BACK, 30.0, 30.0),
        (Event.ROLLED_BACK, 86400.0, 60.0),
    ],
)
def test_honours_retry_after_up_to_a_limit(event: Event, named: float, kept: float) -> None:
    """15 minutes at most, and one minute while a final message waits."""
    queue = retry_queue()
    queue.add(numbered_message(1, event), SLACK, 0.0)
    queue.failed(due(queue, 0.0), DeliveryError("slow down", retry_after=named), 0.0)
    assert queue.wait(0.0) == kept


def test_success_closes_the_circuit_and_resets_backoff() -> None:
    """After a receiver is back, the next failure waits a second again."""
    queue = retry_queue()
    for number in (1, 2):
        queue.add(numbered_message(number), SLACK, 0.0)
    queue.failed(due(queue, 0.0), DOWN, 0.0)
    queue.failed(due(queue, 1.0), DOWN, 1.0)
    queue.succeeded(due(queue, 3.0), 3.0)
    queue.failed(due(queue, 3.0), DOWN, 3.0)
    assert queue.wait(3.0) == 1.0


def test_message_that_keeps_failing_lets_others_pass() -> None:
    """A fault that only one message provokes does not hold up its channel for a day."""
    queue, now = retry_queue(), 0.0
    queue.add(numbered_message(1, Event.PROMOTED), SLACK, now)
    queue.add(numbered_message(2), SLACK, now)
    while (entry := due(queue, now)).key.notification_id == "t1":
        queue.failed(entry, DOWN, now)
        now += queue.wait(now) or 0.0
    assert now == 1 + 2 + 4 + 8 + 16
    queue.succeeded(entry, now)
    assert due(queue, now).key.notification_id == "t1"


def test_rejected_message_is_dropped_and_the_circuit_stays_closed() -> None:
    """One message that a receiver will never take does not hold up the others."""
    queue = retry_queue()
    for number in (1, 2):
        queue.add(numbered_message(number), SLACK, 0.0)
    [gone] = queue.failed(due(queue, 0.0), REFUSED, 0.0)
    assert (gone.key.notification_id, gone.last_error) == ("t1", "no_service")
    assert due(queue, 0.0).key.notification_id == "t2"


def test_rejected_final_message_is_retried_separately() -> None:
    """A user may rotate the secret: the final message is tried again, ever more rarely, for a day."""
    queue, now, waits = retry_queue(), 0.0, []
    gone: tuple[QueuedMessage, ...] = ()
    queue.add(numbered_message(1, Event.ROLLED_BACK), SLACK, now)
    queue.add(numbered_message(2), SLACK, now)
    first = due(queue, now)
    assert queue.failed(first, REFUSED, now) == ()
    other = due(queue, now)
    assert other.key.notification_id == "t2"
    queue.succeeded(other, 0.5)
    while now < FINAL_MESSAGE_TTL_SECONDS:
        wait = queue.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        gone = queue.failed(due(queue, now), REFUSED, now)
    assert waits[:11] == [0.5, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
    assert gone == (first,)
    assert len(queue) == 0


@pytest.mark.parametrize("event", [Event.PROMOTED, Event.ROLLED_BACK, Event.ENDED])
def test_final_messages_have_a_longer_ttl(event: Event) -> None:
    """After ten minutes everything but final messages is given up at once, also what was never tried."""
    queue = retry_queue()
    queue.add(numbered_message(1, event), SLACK, 0.0)
    queue.add(numbered_message(2), SLACK, 0.0)
    queue.add(numbered_message(3), SLACK, 100.0)
    gone = queue.failed(due(queue, MESSAGE_TTL_SECONDS), DOWN, MESSAGE_TTL_SECONDS)
    assert [(entry.key.notification_id, entry.last_error) for entry in gone] == [("t2", "down")]
    gone = queue.failed(due(queue, 2 * MESSAGE_TTL_SECONDS), DOWN, 2 * MESSAGE_TTL_SECONDS)
    assert [entry.key.notification_id for entry in gone] == ["t3"]
    gone = queue.failed(due(queue, FINAL_MESSAGE_TTL_SECONDS), DOWN, FINAL_MESSAGE_TTL_SECONDS)
    assert [entry.key.notification_id for entry in gone] == ["t1"]
    assert queue.wait(FINAL_MESSAGE_TTL_SECONDS) is None


def test_expired_message_may_be_queued_again() -> None:
    """The queue keeps no trace of an empty channel."""
    queue = retry_queue()
    queue.add(numbered_message(1), SLACK, 0.0)
    queue.failed(due(queue, 0.0), REFUSED, 0.0)
    assert not queue.circuit_just_opened(delivery_key(numbered_message(1), "slack"))
    queue.add(numbered_message(1), SLACK, 5.0)
    assert due(queue, 5.0).key.notification_id == "t1"


def test_final_message_shortens_the_pause_that_a_receiver_asked_for() -> None:
    """A rollback's message arrives a minute after it was queued, although the receiver asked for a day before."""
    queue = retry_queue()
    queue.add(numbered_message(1), SLACK, 0.0)
    queue.failed(due(queue, 0.0), DeliveryError("slow down", retry_after=86400.0), 0.0)
    assert queue.wait(0.0) == 900.0
    queue.add(numbered_message(2, Event.ROLLED_BACK), SLACK, 10.0)
    assert queue.wait(10.0) == 60.0


def test_success_makes_rejected_final_messages_due() -> None:
    """A receiver that takes another message again gets the dead letters at once."""
    queue = retry_queue()
    queue.add(numbered_message(1, Event.ROLLED_BACK), SLACK, 0.0)
    for moment in (0.0, 1.0, 3.0, 7.0, 15.0):
        queue.failed(due(queue, moment), REFUSED, moment)
    queue.add(numbered_message(2), SLACK, 16.0)
    other = due(queue, 16.0)
    assert queue.wait(16.0) is None
    queue.succeeded(other, 17.0)
    assert due(queue, 17.0).key.notification_id == "t1"


def test_rollback_passes_the_messages_of_other_rollouts() -> None:
    """After an outage "rolled back" is not behind the backlog; its own rollout keeps its order."""
    queue = retry_queue()
    mine = rollout("bad-00002")
    for number in range(3):
        queue.add(numbered_message(number), SLACK, 0.0)
    queue.add(message(Event.STEP, id="step", about=mine), SLACK, 0.0)
    queue.add(message(Event.ROLLED_BACK, id="back", about=mine), SLACK, 0.0)
    order = []
    while (entry := queue.next(0.0)) is not None:
        order.append(entry.key.notification_id)
        queue.succeeded(entry, 0.0)
    assert order == ["step", "back", "t0", "t1", "t2"]


def hook(number: int, host: str = "") -> NamedChannel:
    return NamedChannel(f"webhook:http://{host or f'h{number}'}#{number}")


def in_namespace(namespace: str, number: int = 1, event: Event = Event.STEP) -> Message:
    return message(event, id=f"{namespace}{number}", about=rollout(namespace=namespace))


def test_receiver_gets_one_message_at_a_time() -> None:
    """20 webhooks of one namespace at one host occupy one worker; another namespace's at that host has its own."""
    queue = retry_queue()
    for number in range(20):
        queue.add(in_namespace("hostile"), hook(number, "hangs"), 0.0)
    queue.add(in_namespace("victim"), hook(1, "hangs"), 0.0)
    started = [queue.next(0.0), queue.next(0.0), queue.next(0.0)]
    assert [entry and entry.key.namespace for entry in started] == ["hostile", "victim", None]


def test_namespace_has_a_share_of_the_workers() -> None:
    """20 hosts that hang occupy three workers, so another namespace's webhook starts at once."""
    queue = retry_queue()
    for number in range(20):
        queue.add(in_namespace("hostile"), hook(number), 0.0)
    assert [entry is not None for entry in (queue.next(0.0) for _ in range(5))] == [True] * 3 + [False] * 2
    assert queue.wait(0.0) is None
    queue.add(in_namespace("victim"), hook(99), 0.0)
    assert due(queue, 0.0).key.namespace == "victim"


def test_workers_are_reserved_for_the_service_channels() -> None:
    """However many namespaces hang, Slack and the Events start at once."""
    queue = RetryQueue(capacity=1000, random=lambda: 0.0, shares=Shares(workers=6, reserved=2, per_namespace=3))
    for number in range(20):
        queue.add(in_namespace(f"hostile-{number}"), hook(number), 0.0)
    for _ in range(4):
        assert due(queue, 0.0).key.channel.startswith("webhook:")
    assert queue.next(0.0) is None
    queue.add(in_namespace("victim"), SLACK, 0.0)
    assert due(queue, 0.0).channel is SLACK


def test_service_channels_and_rollbacks_come_first() -> None:
    """A policy's webhook waits for both."""
    queue = retry_queue()
    queue.add(in_namespace("a"), hook(1), 0.0)
    queue.add(in_namespace("b", event=Event.ROLLED_BACK), hook(2), 0.0)
    queue.add(in_namespace("a"), SLACK, 0.0)
    assert {due(queue, 0.0).key.channel, due(queue, 0.0).key.channel} == {"slack", hook(2).name}
    assert due(queue, 0.0).key.channel == hook(1).name


def test_slow_receiver_pauses_as_long_as_it_took() -> None:
    """All webhooks at one host that hangs share the pause, so they hold a worker half of the time at most."""
    queue = retry_queue()
    for number in (1, 2):
        queue.add(in_namespace("a"), hook(number, "hangs"), 0.0)
    queue.failed(due(queue, 0.0), DOWN, 10.0)
    assert queue.next(19.9) is None
    assert queue.wait(10.0) == 10.0
    assert due(queue, 20.0).channel.name == hook(2, "hangs").name


def test_namespace_fills_its_own_queue_only() -> None:
    """Final messages of one namespace's webhooks are bounded too; the others' still fit."""
    queue = RetryQueue(capacity=1000, random=lambda: 0.0, shares=Shares(queued_per_namespace=2))
    added = [queue.add(in_namespace("a", number, Event.ROLLED_BACK), hook(1), 0.0) for number in range(3)]
    assert added == [True, True, False]
    assert queue.add(in_namespace("a", 9), SLACK, 0.0)
    assert queue.add(in_namespace("b"), hook(1), 0.0)
