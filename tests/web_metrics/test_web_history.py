"""Tests of autocanary.web_metrics.web_history: the counts of a window from counts that only grow."""

from __future__ import annotations

import random

import pytest

from autocanary.web_metrics.web_history import WebHistory, WindowCounts


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(clock: Clock) -> WebHistory:
    return WebHistory(clock.now)


def test_first_answer_counts_nothing(history: WebHistory) -> None:
    """What was counted before autocanary asked is of another time."""
    assert history.add("a", 60, 1000, 3, 240) is None
    assert history.add("a", 60, 1015, 4, 300) == WindowCounts(1, 60, 15)


def test_window_ends_at_the_newest_answer(history: WebHistory) -> None:
    """What is older than the window leaves it."""
    found = [history.add("a", 60, at, (at - 1000) // 15, 10 * (at - 1000) // 15) for at in range(1000, 1600, 15)]
    assert found[-1] == WindowCounts(4, 40, 60)


@pytest.mark.parametrize(("bad", "total"), [(1, 300), (3, 200), (5, 241)])
def test_counts_that_fell_begin_again(history: WebHistory, bad: int, total: int) -> None:
    """A restarted service, a corrected label: bad ones, all of them, or the good ones are fewer than before."""
    history.add("a", 60, 1000, 3, 240)
    assert history.add("a", 60, 1015, bad, total) is None
    assert history.add("a", 60, 1030, bad + 1, total + 10) == WindowCounts(1, 10, 15)


def test_repeated_and_older_answers_add_nothing(history: WebHistory) -> None:
    """Two rollouts of one service ask at once; a cache answers from before."""
    history.add("a", 60, 1000, 3, 240)
    first = history.add("a", 60, 1015, 4, 300)
    assert history.add("a", 60, 1015, 4, 300) == first
    assert history.add("a", 60, 1010, 4, 300) == first


def test_sample_times_that_are_far_apart_are_said(history: WebHistory, clock: Clock) -> None:
    """A pipeline with a label an hour: asked every 15 s, the newest two are an hour apart."""
    found = None
    for at in range(1000, 9000, 15):
        clock.at = at
        found = history.add("a", 60, at // 3600 * 3600, at // 3600, 100 * (at // 3600))
    assert found == WindowCounts(1, 100, 3600)


def test_counting_begins_after_a_gap(history: WebHistory, clock: Clock) -> None:
    """A warm-up or an outage is longer than the window: the first difference would be of all that time."""
    history.add("a", 60, 1000, 0, 0)
    clock.at = 1600
    assert history.add("a", 60, 1600, 6, 600) is None
    clock.at = 1660
    assert history.add("a", 60, 1660, 7, 660) == WindowCounts(1, 60, 60)


def test_gaps_that_are_usual_are_said(history: WebHistory, clock: Clock) -> None:
    """A window of 60 s, evaluated every five minutes: never a share, so the numbers are returned."""
    found: list[WindowCounts | None] = []
    for number in range(4):
        clock.at = 1000 + 300 * number
        found.append(history.add("a", 60, clock.at, number, 100 * number))
    assert found == [None, None, WindowCounts(1, 100, 300), WindowCounts(1, 100, 300)]


def test_subjects_and_windows_are_apart(history: WebHistory) -> None:
    """Each has its own baseline."""
    history.add("a", 60, 1000, 0, 0)
    assert history.add("b", 60, 1015, 5, 10) is None
    assert history.add("a", 120, 1015, 5, 10) is None


def test_memory_is_bounded_and_counts_stay_right(history: WebHistory, clock: Clock) -> None:
    """An answer each second over an hour's window: about the window, and the difference is exact for what it says."""
    chance, counted = random.Random(1), [(0.0, 0, 0)]
    found: WindowCounts | None = None
    for second in range(1, 4 * 3600):
        bad, total = counted[-1][1] + chance.randint(0, 1), counted[-1][2] + 1
        counted.append((float(second), bad, total))
        clock.at = second
        found = history.add("a", 3600, second, bad, total)
        assert found is not None or second == 1
    assert found is not None
    at = {each[0]: each for each in counted}
    begin = at[counted[-1][0] - found.seconds]
    assert (found.bad, found.total) == (counted[-1][1] - begin[1], counted[-1][2] - begin[2])
    assert 3600 <= found.seconds <= 3600 + 60
    [subject] = history._subjects.values()
    assert len(subject.samples) < 150


def test_unused_subjects_are_forgotten(history: WebHistory, clock: Clock) -> None:
    """After an hour and the window."""
    history.add("a", 60, 1000, 0, 0)
    clock.at += 3700
    history.add("b", 60, clock.at, 0, 0)
    assert history.add("a", 60, clock.at, 5, 10) is None
