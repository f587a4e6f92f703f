"""Values with some fields replaced: the same as ``dataclasses.replace`` makes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from autocanary.model.copying import changed
from autocanary.model.progress import Phase
from tests.decide.build import progress, rollout, situation


def test_it_is_what_replace_makes() -> None:
    """All other fields are kept, and the value it is made from stays as it was."""
    before = progress(step=1, message="before")
    after = changed(before, {"message": "after", "phase": Phase.BAKING})
    assert after == replace(before, message="after", phase=Phase.BAKING)
    assert (before.message, after.step) == ("before", 1)


@pytest.mark.parametrize("value", [progress(), rollout(progress()), situation()])
def test_no_change_gives_an_equal_value(value: object) -> None:
    """For each of the values that it is for: none has something that is made beside its fields."""
    again = changed(value, {})
    assert again == value
    assert again is not value
    assert not hasattr(type(value), "__post_init__")


def test_the_new_value_is_frozen_too() -> None:
    """It is of the same kind."""
    with pytest.raises(FrozenInstanceError):
        changed(progress(), {}).step = 3  # type: ignore[misc]


def test_a_field_that_there_is_not_is_refused() -> None:
    """A misspelt change is not lost."""
    with pytest.raises(KeyError, match="stepp"):
        changed(progress(), {"stepp": 3})
