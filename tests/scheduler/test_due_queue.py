"""The agenda: who is due, in a time the test gives."""

from __future__ import annotations

import random

import pytest

from autocanary.scheduler.due_queue import Agenda


def test_a_key_is_due_at_its_time_and_only_once() -> None:
    """Due means at or before now; what was taken is gone."""
    agenda: Agenda[str] = Agenda()
    agenda.at("mnist", 10)
    assert agenda.due(9.99) == []
    assert agenda.due(10) == ["mnist"]
    assert agenda.due(10) == []


def test_the_longest_waiting_comes_first_and_ties_keep_their_order() -> None:
    """Nobody starves behind those that came later."""
    agenda: Agenda[str] = Agenda()
    for key, when in (("late", 3.0), ("tie-1", 2.0), ("tie-2", 2.0), ("early", 1.0)):
        agenda.at(key, when)
    assert agenda.due(5) == ["early", "tie-1", "tie-2", "late"]


def test_at_replaces_the_time_in_both_directions() -> None:
    """A key is there at most once."""
    agenda: Agenda[str] = Agenda()
    agenda.at("mnist", 10)
    agenda.at("mnist", 20)
    assert agenda.due(15) == []
    agenda.at("mnist", 12)
    assert len(agenda) == 1
    assert agenda.due(15) == ["mnist"]
    assert agenda.due(99) == []


def test_bring_forward_never_delays() -> None:
    """An event makes a key due earlier, never later, and adds one that was not there."""
    agenda: Agenda[str] = Agenda()
    agenda.at("mnist", 10)
    agenda.bring_forward("mnist", 20)
    assert agenda.next_at() == 10
    agenda.bring_forward("mnist", 5)
    assert agenda.next_at() == 5
    agenda.bring_forward("iris", 1)
    assert agenda.due(5) == ["iris", "mnist"]


def test_a_dropped_key_is_never_due() -> None:
    """Dropping what is not there is no error, and a dropped key can come back."""
    agenda: Agenda[str] = Agenda()
    agenda.at("mnist", 1)
    agenda.drop("mnist")
    agenda.drop("mnist")
    assert "mnist" not in agenda
    assert agenda.due(9) == []
    agenda.at("mnist", 2)
    assert agenda.due(9) == ["mnist"]


def test_the_same_time_after_a_drop_does_not_revive_the_old_entry() -> None:
    """Entries are told apart by when they were made, not by their time."""
    agenda: Agenda[str] = Agenda()
    agenda.at("mnist", 1)
    agenda.drop("mnist")
    agenda.at("mnist", 1)
    assert agenda.due(1) == ["mnist"]


def test_next_at_skips_the_dead() -> None:
    """The next time is that of a living key, None when there is none."""
    agenda: Agenda[str] = Agenda()
    assert agenda.next_at() is None
    agenda.at("mnist", 1)
    agenda.at("iris", 2)
    agenda.drop("mnist")
    assert agenda.next_at() == 2
    agenda.drop("iris")
    assert agenda.next_at() is None


def test_not_a_number_is_refused() -> None:
    """A NaN would silently break the order of the heap."""
    with pytest.raises(ValueError, match="due at no time"):
        Agenda[str]().at("mnist", float("nan"))


def test_memory_stays_bounded_by_the_living() -> None:
    """A million changes of one key must not leave a million entries."""
    agenda: Agenda[str] = Agenda()
    for when in range(10_000):
        agenda.at("mnist", when)
    for each in range(1000):
        agenda.at(f"other-{each}", each)
        agenda.drop(f"other-{each}")
    assert len(agenda._heap) <= 2 * len(agenda) + 64
    assert agenda.due(10_000) == ["mnist"]


def test_it_agrees_with_a_plain_dictionary() -> None:
    """Whatever the order of calls, it gives what the simplest implementation gives."""
    rng = random.Random(1)
    agenda: Agenda[int] = Agenda()
    model: dict[int, float] = {}
    for now in range(2000):
        key, when = rng.randrange(50), now + rng.uniform(-5, 40)
        match rng.randrange(4):
            case 0:
                agenda.at(key, when)
                model[key] = when
            case 1:
                agenda.bring_forward(key, when)
                model[key] = min(when, model.get(key, when))
            case 2:
                agenda.drop(key)
                model.pop(key, None)
            case _:
                expected = sorted((when, key) for key, when in model.items() if when <= now)
                for _, each in expected:
                    del model[each]
                assert agenda.due(now) == [each for _, each in expected]
        assert len(agenda) == len(model)
        assert agenda.next_at() == min(model.values(), default=None)
