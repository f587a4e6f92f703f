"""The process dies at every single write, before it, in the middle of it and after it, and another goes on."""

from __future__ import annotations

import pytest

from tests.controller.driver import Crash, Play, When
from tests.controller.scenarios import COURSES, MORE, Outcome, disturbed, undisturbed


def told_alike(play: Play) -> None:
    """A message that is told again after a crash is the same message."""
    texts: dict[str, set[tuple[str, str, int]]] = {}
    for each in play.world.notifier.messages:
        telling = each.telling
        texts.setdefault(telling.id, set()).add((telling.event, telling.message, telling.weight))
    assert all(len(variants) == 1 for variants in texts.values())


def same(outcome: Outcome, expected: Outcome) -> bool:
    """A record that was to be pruned may stay until the next rollout ends."""
    kept = {name: ending for name, ending in outcome.endings.items() if name in expected.endings}
    told = {name: events for name, events in outcome.events.items() if name in expected.events}
    return kept == expected.endings and outcome.weights == expected.weights and told == expected.events


def learnt_nothing(course: str, victim: int, when: When) -> bool:
    """What is in memory alone can be lost: stable's spec, and what was stable, until a record says so."""
    unrecorded = {"escalated": 1, "mended": undisturbed("mended").writes.index("restore")}
    return when is When.BEFORE and unrecorded.get(course) == victim


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("course", [*COURSES, *MORE])
def test_a_crash_at_any_write_changes_nothing_of_the_story(course: str, when: When) -> None:
    """Same weights in the same order, same end, each transition told once: as if it had never stopped."""
    expected = undisturbed(course)
    different = []
    for victim, verb in enumerate(expected.writes, start=1):
        if (when is When.BETWEEN and verb != "create") or learnt_nothing(course, victim, when):
            continue

        def strike(number: int, _: str, victim: int = victim) -> tuple[When, BaseException] | None:
            return (when, Crash(victim)) if number == victim else None

        outcome, play = disturbed(course, strike)
        assert play.restarted, f"write {victim} ({verb}) was never made"
        told_alike(play)
        if not same(outcome, expected):
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"crash {when.value} these writes: {different}; expected {expected}"


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
@pytest.mark.parametrize("course", [*COURSES, *MORE])
def test_a_crash_at_any_message_tells_it_again_with_the_same_id(course: str, when: When) -> None:
    """The record says who has heard; a message that may or may not have arrived is repeated as it was."""
    expected = undisturbed(course)
    different = []
    for victim in range(1, len(expected.told) + 1):

        def strike(number: int, _: str, victim: int = victim) -> tuple[When, BaseException] | None:
            return (when, Crash(victim)) if number == victim else None

        outcome, play = disturbed(course, lambda *_: None, strike)
        assert play.restarted, f"message {victim} was never told"
        told_alike(play)
        if not same(outcome, expected):
            different.append((victim, outcome.endings, outcome.weights, outcome.events))
        for name in play.names():
            told = play.rollout(name).progress.told
            assert len(told) == len(set(told)) == len(expected.events.get(name, told))
    assert not different, f"crash {when.value} these messages: {different}; expected {expected}"


def test_the_courses_make_every_kind_of_write() -> None:
    """Otherwise no crash would ever have met some of them. (Settling has its own, in test_beside.)"""
    made = {verb for course in (*COURSES, *MORE) for verb in undisturbed(course).writes}
    assert made == {"create", "record", "weight", "restore", "delete"}


def test_the_courses_are_what_they_are_called() -> None:
    """Otherwise the crashes would be tried on something else."""
    assert undisturbed("promotion").weights == (10, 50, 100)
    assert undisturbed("rollback").weights == (10, 0)
    assert undisturbed("unstaged").weights == (0, 10, 50, 100)
    assert undisturbed("supersede").weights == (10, 50, 100)
    assert undisturbed("adopted").weights == (50, 100)
    assert undisturbed("supersede").endings["mnist-00002"] == ("Superseded", "NewRevision")
    assert undisturbed("escalated").weights[:2] == (10, 0)
    assert "restore" in undisturbed("escalated").writes
    assert undisturbed("paused").weights == (10, 50, 0)
    assert "delete" in undisturbed("pruned").writes
    assert undisturbed("mended").weights == (10, 50, 100, None)


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
