"""Waiting for others."""

from __future__ import annotations

import math

import pytest

from autocanary.cli.follow import BLIP, Tolerance, looks
from autocanary.errors import Busy, Forbidden, Unreachable


def test_the_last_look_is_at_the_deadline(slept: list[float]) -> None:
    """An answer that comes in the last moment is seen; each look is told how much time is left."""
    assert list(looks(2.0, 5.0)) == [5.0, 3.0, 1.0, 0.0]
    assert slept == [2.0, 2.0, 1.0]


def test_no_time_is_still_one_look(slept: list[float]) -> None:
    """A timeout of 0 asks once."""
    assert list(looks(2.0, 0.0)) == [0.0]
    assert slept == []


def test_without_a_deadline_it_goes_on(slept: list[float]) -> None:
    """Until the caller has seen enough."""
    every = [left for left, _ in zip(looks(2.0, None), range(100), strict=False)]
    assert (len(slept), set(every)) == (100, {math.inf})


def away() -> int:
    raise Unreachable("the API server does not answer")


def test_a_cluster_that_was_never_there_is_an_error_at_once() -> None:
    """Wrong credentials and wrong addresses are not waited for."""
    with pytest.raises(Unreachable):
        Tolerance().look(away)


def test_a_short_absence_passes_and_is_told_once(
    slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A restart of the API server does not fail a pipeline."""
    tolerance = Tolerance()
    assert tolerance.look(lambda: 1) == 1
    assert (tolerance.look(away), tolerance.away) == (None, True)
    slept.append(BLIP - 1)
    assert tolerance.look(away) is None
    assert (tolerance.look(lambda: 2), tolerance.away) == (2, False)
    assert capsys.readouterr().err == "the API server does not answer; trying again for 30 s\n"


def test_an_absence_that_lasts_is_an_error(slept: list[float]) -> None:
    """After the time that was told."""
    tolerance = Tolerance()
    tolerance.look(lambda: 1)
    tolerance.look(away)
    slept.append(BLIP)
    with pytest.raises(Unreachable):
        tolerance.look(away)


def test_each_absence_has_its_own_time(slept: list[float]) -> None:
    """Two short ones are not one long one."""
    tolerance = Tolerance()
    tolerance.look(lambda: 1)

    def busy() -> int:
        raise Busy("503", status=503)

    for _ in range(3):
        assert tolerance.look(busy) is None
        slept.append(BLIP - 1)
        assert tolerance.look(lambda: 1) == 1


def test_other_errors_are_not_waited_for() -> None:
    """A right that is missing does not come by waiting."""
    tolerance = Tolerance()
    tolerance.look(lambda: 1)

    def forbidden() -> int:
        raise Forbidden("no", status=403)

    with pytest.raises(Forbidden):
        tolerance.look(forbidden)
