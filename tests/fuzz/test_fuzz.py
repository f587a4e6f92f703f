"""A short run of every target, with the same seed each time; ``python -m tests.fuzz`` is the long one."""

from __future__ import annotations

import pytest

from tests.fuzz.running import run
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_never_raise_or_write_forbidden_values(name: str) -> None:
    """Thousands of tries within twelve seconds; every kind of outcome comes up, so the mutations reach in."""
    outcomes = run(name, seed=1, count=3_000, seconds=12.0)
    assert sum(outcomes.values()) >= 100
    assert len(outcomes) >= 2, outcomes
