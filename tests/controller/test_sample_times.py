"""When the next sample is expected, from what was found so far."""

from __future__ import annotations

import pytest

from autocanary.controller.sample_times import SampleTimes
from autocanary.model.measurement import Measurement, MeasurementKind, Unit

_SKEW = -30.0  # Prometheus' clock is half a minute behind


def found(at: float, now: float, scrape: float | None = 15.0) -> list[Measurement]:
    return [
        Measurement(
            MeasurementKind.VALUE,
            99.0,
            Unit.PERCENT,
            100.0,
            now - at,
            scrape_interval=scrape,
            sample_at=at + _SKEW,
        )
    ]


def test_next_sample_is_a_scrape_interval_after_the_newest() -> None:
    """By the controller's clock, however Prometheus' own is set."""
    times = SampleTimes()
    times.add(found(1000.0, 1004.0), 1004.0)
    assert times.next_at() == pytest.approx(1015.3)
    assert times.next_at(20.0) == pytest.approx(1030.3)


def test_tried_again_with_growing_pauses_until_the_sample_is_there() -> None:
    """After 1, 2, 4 and 8 s; the delay that was found is expected the next time, and forgotten slowly."""
    times = SampleTimes()
    times.add(found(1000.0, 1001.0), 1001.0)
    now, pauses = 1015.5, []
    for _ in range(5):
        times.add(found(1000.0, now), now)
        at = times.next_at()
        assert at is not None
        pauses.append(at - now)
        now = at
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    times.add(found(1015.0, 1022.0), 1022.0)
    assert times.next_at() == pytest.approx(1015.0 + 15.0 + 7.0)
    times.add(found(1030.0, 1037.0), 1037.0)
    assert times.next_at() == pytest.approx(1030.0 + 15.0 + 5.6)


def test_unknown_scrape_interval_is_tried_every_five_seconds() -> None:
    """A revision's first five minutes."""
    times = SampleTimes()
    times.add(found(1000.0, 1004.0, None), 1004.0)
    assert times.next_at() == 1009.0
    assert times.next_at(30.0) == 1034.0


def test_candidate_without_samples_is_tried_less_and_less_often() -> None:
    """At once at first; no traffic may last."""
    times = SampleTimes()
    assert times.next_at() == 0.0
    nothing = [Measurement(MeasurementKind.NO_SERIES)]
    now, pauses = 1000.0, []
    for _ in range(6):
        times.add(nothing, now)
        at = times.next_at()
        assert at is not None
        pauses.append(at - now)
        now = at
    assert pauses == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_source_without_sample_times_is_not_followed() -> None:
    """A value says nothing of which sample it is: the regular evaluations are enough."""
    times = SampleTimes()
    times.add([Measurement(MeasurementKind.VALUE, 1.0)], 1000.0)
    assert times.next_at() is None
