"""The agenda: who is due, in a time the test gives."""

from __future__ import annotations

import random

import pytest

from autocanary.scheduler.due_queue import DueQueue


def test_a_key_is_due_at_its_time_and_only_once() -> None:
    """Due means at or before now; what was taken is gone."""
    due_queue: DueQueue[str] = DueQueue()
    due_queue.set_due("mnist", 10)
    assert due_queue.due(9.99) == []
    assert due_queue.due(10) == ["mnist"]
    assert due_queue.due(10) == []


def test_the_longest_waiting_comes_first_and_ties_keep_their_order() -> None:
    """No entry starves behind those that came later."""
    due_queue: DueQueue[str] = DueQueue()
    for key, when in (("late", 3.0), ("tie-1", 2.0), ("tie-2", 2.0), ("early", 1.0)):
        due_queue.set_due(key, when)
    assert due_queue.due(5) == ["early", "tie-1", "tie-2", "late"]


def test_at_replaces_the_time_in_both_directions() -> None:
    """A key is there at most once."""
    due_queue: DueQueue[str] = DueQueue()
    due_queue.set_due("mnist", 10)
    due_queue.set_due("mnist", 20)
    assert due_queue.due(15) == []
    due_queue.set_due("mnist", 12)
    assert len(due_queue) == 1
    assert due_queue.due(15) == ["mnist"]
    assert due_queue.due(99) == []


def test_bring_forward_never_delays() -> None:
    """An event makes a key due earlier, never later, and adds one that was not there."""
    due_queue: DueQueue[str] = DueQueue()
    due_queue.set_due("mnist", 10)
    due_queue.bring_forward("mnist", 20)
    assert due_queue.next_due_at() == 10
    due_queue.bring_forward("mnist", 5)
    assert due_queue.next_due_at() == 5
    due_queue.bring_forward("iris", 1)
    assert due_queue.due(5) == ["iris", "mnist"]


def test_a_dropped_key_is_never_due() -> None:
    """Dropping what is not there is no error, and a dropped key can come back."""
    due_queue: DueQueue[str] = DueQueue()
    due_queue.set_due("mnist", 1)
    due_queue.drop("mnist")
    due_queue.drop("mnist")
    assert "mnist" not in due_queue
    assert due_queue.due(9) == []
    due_queue.set_due("mnist", 2)
    assert due_queue.due(9) == ["mnist"]


def test_the_same_time_after_a_drop_does_not_revive_the_old_entry() -> None:
    """Entries are distinguished by when they were made, not by their time."""
    due_queue: DueQueue[str] = DueQueue()
    due_queue.set_due("mnist", 1)
    due_queue.drop("mnist")
    due_queue.set_due("mnist", 1)
    assert due_queue.due(1) == ["mnist"]


def test_next_due_at_skips_stale_entries() -> None:
    """The next time is that of a living key, None when there is none."""
    due_queue: DueQueue[str] = DueQueue()
    assert due_queue.next_due_at() is None
    due_queue.set_due("mnist", 1)
    due_queue.set_due("iris", 2)
    due_queue.drop("mnist")
    assert due_queue.next_due_at() == 2
    due_queue.drop("iris")
    assert due_queue.next_due_at() is None


def test_not_a_number_is_refused() -> None:
    """A NaN would silently break the order of the heap."""
    with pytest.raises(ValueError, match="due at no time"):
        DueQueue[str]().set_due("mnist", float("nan"))


def test_heap_size_is_bounded() -> None:
    """A million changes of one key must not leave a million entries."""
    due_queue: DueQueue[str] = DueQueue()
    for when in range(10_000):
        due_queue.set_due("mnist", when)
    for each in range(1000):
        due_queue.set_due(f"other-{each}", each)
        due_queue.drop(f"other-{each}")
    assert due_queue.heap_size <= 2 * len(due_queue) + 64
    assert due_queue.due(10_000) == ["mnist"]


def test_it_agrees_with_a_plain_dictionary() -> None:
    """Whatever the order of calls, it gives what the simplest implementation gives."""
    rng = random.Random(1)
    due_queue: DueQueue[int] = DueQueue()
    model: dict[int, float] = {}
    for now in range(2000):
        key, when = rng.randrange(50), now + rng.uniform(-5, 40)
        match rng.randrange(4):
            case 0:
                due_queue.set_due(key, when)
                model[key] = when
            case 1:
                due_queue.bring_forward(key, when)
                model[key] = min(when, model.get(key, when))
            case 2:
                due_queue.drop(key)
                model.pop(key, None)
            case _:
                expected = sorted((when, key) for key, when in model.items() if when <= now)
                for _, each in expected:
                    del model[each]
                assert due_queue.due(now) == [each for _, each in expected]
        assert len(due_queue) == len(model)
        assert due_queue.next_due_at() == min(model.values(), default=None)
