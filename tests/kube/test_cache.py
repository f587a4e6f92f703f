"""The local copy: news out of order, and what our own writes made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autocanary.kube.cache import Cache, Change, ObjectKey

A, B = ObjectKey("ml", "a"), ObjectKey("ml", "b")


def test_a_list_gives_values_and_changes() -> None:
    """The first list is news about every object."""
    cache: Cache[str] = Cache()
    changes = cache.replace({A: ("5", "one"), B: ("6", "two")}, "7")
    assert changes == [Change(A, None, "one"), Change(B, None, "two")]
    assert list(cache.values()) == ["one", "two"]
    assert cache.get(A) == "one"


def test_a_list_without_an_object_removes_it() -> None:
    """What is not listed any more is gone."""
    cache: Cache[str] = Cache()
    cache.replace({A: ("5", "one"), B: ("6", "two")}, "7")
    assert cache.replace({A: ("5", "one")}, "9") == [Change(B, "two", None)]
    assert cache.get(B) is None


def test_a_list_from_before_a_write_does_not_undo_the_write() -> None:
    """A list may have been read before our write and arrive after it."""
    cache: Cache[str] = Cache()
    cache.replace({A: ("5", "old")}, "5")
    cache.put(A, "12", "written")
    cache.put(B, "13", "created")
    assert cache.replace({A: ("5", "old")}, "11") == []
    assert (cache.get(A), cache.get(B)) == ("written", "created")


def test_versions_are_compared_as_numbers() -> None:
    """'9' is older than '10'."""
    cache: Cache[str] = Cache()
    cache.on_event(A, "10", "new")
    assert cache.on_event(A, "9", "old") is None
    assert not cache.put(A, "9", "old")
    assert cache.get(A) == "new"


def test_versions_that_are_no_numbers_take_the_later_arrival() -> None:
    """Without an order the only guess is the order of arrival."""
    cache: Cache[str] = Cache()
    cache.on_event(A, "z1", "first")
    assert cache.on_event(A, "a2", "second") == Change(A, "first", "second")
    assert cache.on_event(A, "a2", "again") is None


def test_watch_event_of_own_write_is_no_change() -> None:
    """The watch reports our own write as well, with the version that is known already."""
    cache: Cache[str] = Cache()
    cache.on_event(A, "5", "before")
    assert cache.put(A, "6", "written")
    assert cache.on_event(A, "6", "written") is None


def test_a_write_answered_after_the_deletion_does_not_bring_the_object_back() -> None:
    """The watch would never remove it again."""
    cache: Cache[str] = Cache()
    cache.on_event(A, "5", "one")
    cache.remove(A, "8")
    cache.on_bookmark("8")
    assert not cache.put(A, "7", "late answer")
    assert cache.get(A) is None


def test_the_deletion_of_an_earlier_object_leaves_its_successor() -> None:
    """Deleted and created again, and our read of the new one came first."""
    cache: Cache[str] = Cache()
    cache.on_event(A, "5", "first")
    cache.put(A, "9", "second")
    assert cache.remove(A, "8") is None
    assert cache.get(A) == "second"


def test_removing_what_is_not_there_is_no_news() -> None:
    """Two may learn of one deletion."""
    assert Cache[str]().remove(A) is None


def test_values_are_one_moment() -> None:
    """A later change does not show in what was handed out before."""
    cache: Cache[str] = Cache()
    cache.on_event(A, "1", "one")
    before = cache.values()
    cache.on_event(B, "2", "two")
    assert (list(before), list(cache.values()), len(cache)) == (["one"], ["one", "two"], 2)


@given(st.permutations([1, 2, 3, 4, 5]), st.lists(st.booleans(), min_size=5, max_size=5))
def test_any_order_of_events_ends_with_newest_version(order: list[int], written: list[bool]) -> None:
    """The newest version stays, whether it comes last or first."""
    cache: Cache[int] = Cache()
    for version, by_us in zip(order, written, strict=True):
        if by_us and cache.get(A) is not None:
            cache.put(A, str(version), version)
        else:
            cache.on_event(A, str(version), version)
    assert cache.get(A) == 5
