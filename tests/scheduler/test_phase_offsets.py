"""Who is looked at together, and when."""

from __future__ import annotations

import itertools
from collections import Counter

from autocanary.scheduler.due_queue import SIZE, Groups


def test_the_first_group_is_on_the_beat_whatever_the_interval() -> None:
    """Few rollouts share one tick and its queries."""
    groups: Groups[int] = Groups()
    assert {groups.join(key, 10.0) for key in range(SIZE)} == {0.0}
    assert groups.join(SIZE, 60.0) == 0.0


def test_five_thousand_are_spread_evenly() -> None:
    """In ten groups of five hundred: no tick has more, and two of them are never close together."""
    groups: Groups[int] = Groups()
    offsets = Counter(groups.join(key, 10.0) for key in range(5000))
    assert set(offsets.values()) == {SIZE}
    ordered = sorted(offsets)
    assert len(ordered) == 10
    assert min(later - earlier for earlier, later in itertools.pairwise(ordered)) >= 0.625
    assert ordered[-1] < 10.0


def test_who_leaves_makes_room() -> None:
    """The others keep their places, and the next one takes the free place nearest to the beat."""
    groups: Groups[str] = Groups(2)
    places = {key: groups.join(key, 8.0) for key in "abcde"}
    assert places == {"a": 0.0, "b": 0.0, "c": 4.0, "d": 4.0, "e": 2.0}
    groups.leave("b")
    groups.leave("b")
    groups.leave("stranger")
    assert groups.join("f", 8.0) == 0.0
    assert groups.join("g", 8.0) == 2.0


def test_who_joins_again_has_one_place() -> None:
    """With another interval as well: the place before is free."""
    groups: Groups[str] = Groups(1)
    assert groups.join("a", 8.0) == 0.0
    assert groups.join("a", 8.0) == 0.0
    assert groups.join("a", 20.0) == 0.0
    assert groups.join("b", 8.0) == 0.0
