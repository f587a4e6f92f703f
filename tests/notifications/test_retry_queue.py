"""Tests of autocanary.notifications.retry_queue: pure, in made-up time."""

from __future__ import annotations

import pytest

from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.notifications.http_client import NEVER
from autocanary.notifications.retry_queue import FINAL_PATIENCE, PATIENCE, Entry, Outbox, key_of
from autocanary.ports import Message
from tests.notifications.examples import message


class Named:
    """A channel that is only a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wants(self, message: Message) -> bool:
        return True

    def send(self, message: Message) -> None:
        raise AssertionError("an outbox sends nothing")


SLACK, HOOK = Named("slack"), Named("webhook:h#1")
DOWN = DeliveryError("down")
REFUSED = DeliveryError("no_service", retry_after=NEVER)


def numbered(number: int, event: Event = Event.STEP) -> Message:
    return message(event, id=f"t{number}")


def outbox(*, chance: float = 0.0, capacity: int = 100) -> Outbox:
    return Outbox(capacity=capacity, random=lambda: chance)


def due(box: Outbox, now: float) -> Entry:
    entry = box.next(now)
    assert entry is not None
    return entry


def test_empty_box_has_nothing_to_wait_for() -> None:
    """Nothing is due and nothing will be."""
    assert outbox().next(0.0) is None
    assert outbox().wait(0.0) is None


def test_oldest_first_and_each_once() -> None:
    """The same telling for the same channel waits once; order is the order of queueing."""
    box = outbox()
    for number in (1, 2, 1):
        box.add(numbered(number), SLACK, 0.0)
    assert len(box) == 2
    first = due(box, 0.0)
    assert first.key.telling_id == "t1"
    assert box.succeeded(first) is False
    assert due(box, 0.0).key.telling_id == "t2"


def test_capacity() -> None:
    """A full box takes what is final and what it has already, and nothing else."""
    box = outbox(capacity=1)
    assert box.add(numbered(1), SLACK, 0.0)
    assert box.add(numbered(1), SLACK, 0.0)
    assert not box.add(numbered(2), SLACK, 0.0)
    assert box.add(numbered(3, Event.ROLLED_BACK), SLACK, 0.0)
    assert len(box) == 2
    assert key_of(numbered(1), "slack") in box
    assert key_of(numbered(2), "slack") not in box
    assert key_of(numbered(1), "other") not in box


def test_lanes_take_turns_and_do_not_block_each_other() -> None:
    """A channel with a long queue, or a dead one, leaves room for the others."""
    box = outbox()
    for number in (1, 2, 3):
        box.add(numbered(number), SLACK, 0.0)
    box.add(numbered(1), HOOK, 0.0)
    order = []
    for _ in range(4):
        entry = due(box, 0.0)
        order.append(entry.key.channel)
        if entry.channel is SLACK and entry.key.telling_id == "t1":
            assert box.failed(entry, DOWN, 0.0) == ()
        else:
            box.succeeded(entry)
        if len(order) == 2:
            box.add(numbered(4), HOOK, 0.0)
            box.add(numbered(5), HOOK, 0.0)
    assert order == ["slack", "webhook:h#1", "webhook:h#1", "webhook:h#1"]


def test_pauses_double_up_to_a_minute_and_keep_the_order() -> None:
    """A dead receiver costs one attempt a pause; the oldest message is in front, five tries at a time."""
    box, now = outbox(), 0.0
    waits: list[float] = []
    tried: list[str] = []
    box.add(numbered(1, Event.PROMOTED), SLACK, now)
    box.add(numbered(2, Event.PROMOTED), SLACK, now)
    for _ in range(11):
        entry = due(box, now)
        tried.append(entry.key.telling_id)
        box.failed(entry, DOWN, now)
        assert box.next(now) is None
        wait = box.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert tried == ["t1"] * 5 + ["t2"] * 5 + ["t1"]


def test_just_closed_is_true_for_the_first_failure_only() -> None:
    """A dead receiver is worth one line in the log, not one a minute."""
    box = outbox()
    box.add(numbered(1), SLACK, 0.0)
    assert not box.just_closed("slack")
    box.failed(due(box, 0.0), DOWN, 0.0)
    assert box.just_closed("slack")
    box.failed(due(box, 1.0), DOWN, 1.0)
    assert not box.just_closed("slack")
    assert box.succeeded(due(box, 3.0)) is True
    assert not box.just_closed("slack")


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    """Receivers are not hit in step."""
    box = outbox(chance=0.5)
    box.add(numbered(1), SLACK, 0.0)
    box.failed(due(box, 0.0), DOWN, 0.0)
    assert box.wait(0.0) == 0.75


@pytest.mark.parametrize(("named", "kept"), [(30.0, 30.0), (0.0, 0.0), (1e9, 900.0)])
def test_retry_after_is_kept_up_to_a_quarter_of_an_hour(named: float, kept: float) -> None:
    """The receiver knows best, but not for ever."""
    box = outbox()
    box.add(numbered(1), SLACK, 0.0)
    box.failed(due(box, 0.0), DeliveryError("slow down", retry_after=named), 0.0)
    assert box.wait(0.0) == kept


def test_success_opens_the_lane_and_starts_the_pauses_anew() -> None:
    """After a receiver is back, the next failure waits a second again."""
    box = outbox()
    for number in (1, 2):
        box.add(numbered(number), SLACK, 0.0)
    box.failed(due(box, 0.0), DOWN, 0.0)
    box.failed(due(box, 1.0), DOWN, 1.0)
    box.succeeded(due(box, 3.0))
    box.failed(due(box, 3.0), DOWN, 3.0)
    assert box.wait(3.0) == 1.0


def test_message_that_a_receiver_stumbles_over_lets_others_pass() -> None:
    """A fault that only one message provokes does not hold up the lane for a day."""
    box, now = outbox(), 0.0
    box.add(numbered(1, Event.PROMOTED), SLACK, now)
    box.add(numbered(2), SLACK, now)
    while (entry := due(box, now)).key.telling_id == "t1":
        box.failed(entry, DOWN, now)
        now += box.wait(now) or 0.0
    assert now == 1 + 2 + 4 + 8 + 16
    box.succeeded(entry)
    assert due(box, now).key.telling_id == "t1"


def test_refused_message_is_given_up_and_the_lane_stays_open() -> None:
    """One message that a receiver will never take does not hold up the others."""
    box = outbox()
    for number in (1, 2):
        box.add(numbered(number), SLACK, 0.0)
    [gone] = box.failed(due(box, 0.0), REFUSED, 0.0)
    assert (gone.key.telling_id, gone.why) == ("t1", "no_service")
    assert due(box, 0.0).key.telling_id == "t2"


def test_refused_final_message_waits_aside() -> None:
    """A person may rotate the secret: the final message is tried again, ever more rarely, for a day."""
    box, now, waits = outbox(), 0.0, []
    gone: tuple[Entry, ...] = ()
    box.add(numbered(1, Event.ROLLED_BACK), SLACK, now)
    box.add(numbered(2), SLACK, now)
    first = due(box, now)
    assert box.failed(first, REFUSED, now) == ()
    assert due(box, now).key.telling_id == "t2"
    box.succeeded(due(box, now))
    while now < FINAL_PATIENCE:
        wait = box.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        gone = box.failed(due(box, now), REFUSED, now)
    assert waits[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
    assert gone == (first,)
    assert len(box) == 0


@pytest.mark.parametrize("event", [Event.PROMOTED, Event.ROLLED_BACK, Event.ENDED])
def test_final_messages_outlast_the_others(event: Event) -> None:
    """After ten minutes everything but final messages is given up at once, also what was never tried."""
    box = outbox()
    box.add(numbered(1, event), SLACK, 0.0)
    box.add(numbered(2), SLACK, 0.0)
    box.add(numbered(3), SLACK, 100.0)
    gone = box.failed(due(box, PATIENCE), DOWN, PATIENCE)
    assert [(entry.key.telling_id, entry.why) for entry in gone] == [("t2", "down")]
    gone = box.failed(due(box, 2 * PATIENCE), DOWN, 2 * PATIENCE)
    assert [entry.key.telling_id for entry in gone] == ["t3"]
    gone = box.failed(due(box, FINAL_PATIENCE), DOWN, FINAL_PATIENCE)
    assert [entry.key.telling_id for entry in gone] == ["t1"]
    assert box.wait(FINAL_PATIENCE) is None


def test_given_up_message_may_be_queued_again() -> None:
    """What is forgotten is forgotten: the box keeps no trace of an empty lane."""
    box = outbox()
    box.add(numbered(1), SLACK, 0.0)
    box.failed(due(box, 0.0), REFUSED, 0.0)
    assert not box.just_closed("slack")
    box.add(numbered(1), SLACK, 5.0)
    assert due(box, 5.0).key.telling_id == "t1"
