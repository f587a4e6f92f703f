"""Waiting for others."""

from __future__ import annotations

import math

import pytest

from autocanary.cli.follow import OUTAGE_TOLERANCE_SECONDS, OutageTolerance, poll
from autocanary.errors import Busy, Forbidden, Unreachable


def test_last_poll_is_at_the_deadline(slept: list[float]) -> None:
    """An answer that comes in the last moment is seen; each call receives the time that is left."""
    assert list(poll(2.0, 5.0)) == [5.0, 3.0, 1.0, 0.0]
    assert slept == [2.0, 2.0, 1.0]


def test_zero_timeout_polls_once(slept: list[float]) -> None:
    """A timeout of 0 asks once."""
    assert list(poll(2.0, 0.0)) == [0.0]
    assert slept == []


def test_without_a_deadline_it_goes_on(slept: list[float]) -> None:
    """Until the caller has seen enough."""
    every = [left for left, _ in zip(poll(2.0, None), range(100), strict=False)]
    assert (len(slept), set(every)) == (100, {math.inf})


def is_unreachable() -> int:
    raise Unreachable("the API server does not answer")


def test_cluster_unreachable_from_the_start_fails_at_once() -> None:
    """Wrong credentials and wrong addresses are not waited for."""
    with pytest.raises(Unreachable):
        OutageTolerance().attempt(is_unreachable)


def test_short_outage_is_tolerated_and_printed_once(slept: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """A restart of the API server does not fail a pipeline."""
    tolerance = OutageTolerance()
    assert tolerance.attempt(lambda: 1) == 1
    assert (tolerance.attempt(is_unreachable), tolerance.is_unreachable) == (None, True)
    slept.append(OUTAGE_TOLERANCE_SECONDS - 1)
    assert tolerance.attempt(is_unreachable) is None
    assert (tolerance.attempt(lambda: 2), tolerance.is_unreachable) == (2, False)
    assert capsys.readouterr().err == "the API server does not answer; trying again for 30 s\n"


def test_long_outage_is_an_error(slept: list[float]) -> None:
    """After the given time."""
    tolerance = OutageTolerance()
    tolerance.attempt(lambda: 1)
    tolerance.attempt(is_unreachable)
    slept.append(OUTAGE_TOLERANCE_SECONDS)
    with pytest.raises(Unreachable):
        tolerance.attempt(is_unreachable)


def test_each_outage_has_its_own_tolerance(slept: list[float]) -> None:
    """Two short ones are not one long one."""
    tolerance = OutageTolerance()
    tolerance.attempt(lambda: 1)

    def busy() -> int:
        raise Busy("503", status=503)

    for _ in range(3):
        assert tolerance.attempt(busy) is None
        slept.append(OUTAGE_TOLERANCE_SECONDS - 1)
        assert tolerance.attempt(lambda: 1) == 1


def test_other_errors_are_not_waited_for() -> None:
    """A right that is missing does not come by waiting."""
    tolerance = OutageTolerance()
    tolerance.attempt(lambda: 1)

    def forbidden() -> int:
        raise Forbidden("no", status=403)

    with pytest.raises(Forbidden):
        tolerance.attempt(forbidden)
