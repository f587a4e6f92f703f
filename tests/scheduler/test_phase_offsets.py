"""Which rollouts are evaluated together, and when."""

from __future__ import annotations

import itertools
from collections import Counter

from autocanary.scheduler.due_queue import GROUP_SIZE, PhaseOffsets


def test_the_first_group_is_on_the_tick_whatever_the_interval() -> None:
    """Few rollouts share one tick and its queries."""
    groups: PhaseOffsets[int] = PhaseOffsets()
    assert {groups.assign(key, 10.0) for key in range(GROUP_SIZE)} == {0.0}
    assert groups.assign(GROUP_SIZE, 60.0) == 0.0


def test_five_thousand_are_spread_evenly() -> None:
    """In ten groups of five hundred: no tick has more, and two of them are never close together."""
    groups: PhaseOffsets[int] = PhaseOffsets()
    offsets = Counter(groups.assign(key, 10.0) for key in range(5000))
    assert set(offsets.values()) == {GROUP_SIZE}
    ordered = sorted(offsets)
    assert len(ordered) == 10
    assert min(later - earlier for earlier, later in itertools.pairwise(ordered)) >= 0.625
    assert ordered[-1] < 10.0


def test_released_key_frees_its_place() -> None:
    """The others keep their places, and the next one takes the free place nearest to the tick."""
    groups: PhaseOffsets[str] = PhaseOffsets(2)
    places = {key: groups.assign(key, 8.0) for key in "abcde"}
    assert places == {"a": 0.0, "b": 0.0, "c": 4.0, "d": 4.0, "e": 2.0}
    groups.release("b")
    groups.release("b")
    groups.release("stranger")
    assert groups.assign("f", 8.0) == 0.0
    assert groups.assign("g", 8.0) == 2.0


def test_who_joins_again_has_one_place() -> None:
    """With another interval as well: the place before is free."""
    groups: PhaseOffsets[str] = PhaseOffsets(1)
    assert groups.assign("a", 8.0) == 0.0
    assert groups.assign("a", 8.0) == 0.0
    assert groups.assign("a", 20.0) == 0.0
    assert groups.assign("b", 8.0) == 0.0
