"""The copy with changes equals that of the standard library, for every kind of value that it meets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest

from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import MetricQuery, Source
from autocanary.model.progress import HoldState, Phase
from tests.decide.builders import NOW, make_decision_input, progress, rollout


@dataclass(frozen=True)
class WithoutSlots:
    one: int = 1
    other: str = "a"


@dataclass(frozen=True, slots=True)
class Derived:
    one: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.one)


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (progress(), {"phase": Phase.HOLDING, "hold": HoldState(since=NOW)}),
        (progress(), {}),
        (rollout(progress()), {"paused": True}),
        (make_decision_input(progress()), {"now": NOW + 5}),
        (WithoutSlots(), {"one": 2}),
        (Derived(2), {"one": 3}),
        (MetricQuery("n", "s", "predictor", "r", "t", Source.AUTO, 60.0), {"window": 30.0}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_copy_equals_the_standard_one(value: Any, changes: dict[str, Any]) -> None:
    """Also where a field is worked out from others, or the class has no slots."""
    expected = dataclasses.replace(value, **changes)
    found = replace(value, **changes)
    assert found == expected
    assert type(found) is type(value)
    for each in dataclasses.fields(value):
        assert getattr(found, each.name) == getattr(expected, each.name)


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="has no field phases"):
        replace(progress(), phases=Phase.HOLDING)  # type: ignore[call-arg]


def test_the_original_is_unchanged() -> None:
    before = progress()
    after = replace(before, message="another")
    assert before.message != after.message
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.message = "no"  # type: ignore[misc]
