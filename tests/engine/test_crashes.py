"""The process dies at every single write, before it, in the middle of it and after it, and another goes on."""

from __future__ import annotations

import pytest

from tests.engine.courses import COURSES, disturbed, undisturbed
from tests.engine.play import Crash, Play, When


def told_alike(play: Play) -> None:
    """A message that is told again after a crash is the same message."""
    texts: dict[str, set[tuple[str, str, int]]] = {}
    for each in play.world.notifier.messages:
        telling = each.telling
        texts.setdefault(telling.id, set()).add((telling.event, telling.message, telling.weight))
    assert all(len(variants) == 1 for variants in texts.values())


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("course", COURSES)
def test_a_crash_at_any_write_changes_nothing_of_the_story(course: str, when: When) -> None:
    """Same weights in the same order, same end, each transition told once: as if it had never stopped."""
    expected = undisturbed(course)
    different = []
    for victim, verb in enumerate(expected.writes, start=1):
        if when is When.BETWEEN and verb != "create":
            continue

        def strike(number: int, _: str, victim: int = victim) -> tuple[When, BaseException] | None:
            return (when, Crash(victim)) if number == victim else None

        outcome, play = disturbed(course, strike)
        assert play.restarted, f"write {victim} ({verb}) was never made"
        told_alike(play)
        same = (
            outcome.endings == expected.endings
            and outcome.weights == expected.weights
            and outcome.events == expected.events
        )
        if not same:
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"crash {when.value} these writes: {different}; expected {expected}"


def test_the_courses_are_what_they_are_called() -> None:
    """Otherwise the crashes would be tried on something else."""
    assert undisturbed("promotion").weights == (10, 50, 100)
    assert undisturbed("rollback").weights == (10, 0)
    assert undisturbed("unstaged").weights == (0, 10, 50, 100)
    assert undisturbed("supersede").weights == (10, 50, 100)
    assert undisturbed("adopted").weights == (50, 100)
    assert undisturbed("supersede").endings["mnist-00002"] == ("Superseded", "NewRevision")


@pytest.mark.parametrize("course", ["promotion", "supersede"])
def test_two_crashes_in_a_row(course: str) -> None:
    """The second process dies at its second write: the third one still ends it the same."""
    expected = undisturbed(course)
    for victim in range(1, len(expected.writes), 3):

        def strike(number: int, _: str, victim: int = victim) -> tuple[When, BaseException] | None:
            return (When.AFTER, Crash(number)) if number in (victim, victim + 2) else None

        outcome, _ = disturbed(course, strike)
        assert outcome.endings == expected.endings
        assert outcome.weights == expected.weights
        assert outcome.events == expected.events
