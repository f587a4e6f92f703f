"""Values in the words that users read everywhere."""

from __future__ import annotations

import pytest

from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Range
from autocanary.model.progress import Phase, Progress
from autocanary.model.value_wording import (
    describe_measurement,
    describe_range,
    describe_wait,
    format_duration,
    format_value,
    rollout_title,
)
from tests.decide.builders import NOW, policy, progress, rollout


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (99.0, Unit.PERCENT, "99 %"),
        (99.234567, Unit.PERCENT, "99.23 %"),
        (0.00004, Unit.PERCENT, "4e-05 %"),
        (0.3401, Unit.SECONDS, "340.1 ms"),
        (2.0, Unit.SECONDS, "2 s"),
        (1234.4, Unit.REQUESTS, "1,234 requests"),
        (0.25, Unit.NUMBER, "0.25"),
        (0.0, Unit.NUMBER, "0"),
    ],
)
def test_quantities_carry_their_units(value: float, unit: Unit, text: str) -> None:
    """A number without its unit is a riddle."""
    assert format_value(value, unit) == text


def test_bounds_read_as_sentences() -> None:
    """One side, both, none."""
    assert describe_range(Range(min=99), Unit.PERCENT) == "at least 99 %"
    assert describe_range(Range(max=0.5), Unit.SECONDS) == "at most 500 ms"
    assert describe_range(Range(1, 2), Unit.NUMBER) == "between 1 and 2"
    assert describe_range(Range(), Unit.NUMBER) == "any value"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (45, "45s"), (90, "1m30s"), (5400, "1h30m"), (90061, "1d1h"), (-3, "0s")]
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    """As users say them, never negative."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize("kind", list(MeasurementKind))
def test_every_kind_of_reading_has_words(kind: MeasurementKind) -> None:
    """And the adapter's detail follows them."""
    assert describe_measurement(Measurement(kind, detail="because")).endswith("because")
    assert describe_measurement(Measurement(kind))


def test_a_headline_names_both_revisions() -> None:
    """Which replaces which, of whose service."""
    assert rollout_title(rollout()) == "models/mnist: mnist-predictor-00002 instead of mnist-predictor-00001"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (progress(-1, 0, phase=Phase.STAGING), "mnist-predictor-00002 to become ready"),
        (progress(verified_at=None), "the traffic to show 10 %"),
        (progress(), "the end of the step in 4m"),
        (progress(3, 100, phase=Phase.BAKING), "the end of the bake in 9m"),
        (progress(phase=Phase.PAUSED), "a user: promote, resume or abort"),
        (progress(phase=Phase.ROLLING_BACK), "the traffic to be back on stable"),
        (
            progress(phase=Phase.HOLDING, verified_at=NOW - 400, message="too few requests"),
            "too few requests",
        ),
        (progress(phase=Phase.PROMOTED), ""),
    ],
)
def test_what_a_rollout_waits_for(state: Progress, text: str) -> None:
    """The next thing that has to happen, in each phase."""
    assert describe_wait(rollout(state), policy(), NOW) == text
