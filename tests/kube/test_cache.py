"""The local copy: news out of order, and what our own writes made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autocanary.kube.cache import Change, Key, Picture

A, B = Key("ml", "a"), Key("ml", "b")


def test_a_list_gives_values_and_changes() -> None:
    """The first list is news about every object."""
    picture: Picture[str] = Picture()
    changes = picture.replace({A: ("5", "one"), B: ("6", "two")}, "7")
    assert changes == [Change(A, None, "one"), Change(B, None, "two")]
    assert list(picture.values()) == ["one", "two"]
    assert picture.get(A) == "one"


def test_a_list_without_an_object_removes_it() -> None:
    """What is not listed any more is gone."""
    picture: Picture[str] = Picture()
    picture.replace({A: ("5", "one"), B: ("6", "two")}, "7")
    assert picture.replace({A: ("5", "one")}, "9") == [Change(B, "two", None)]
    assert picture.get(B) is None


def test_a_list_from_before_a_write_does_not_undo_the_write() -> None:
    """A list may have been read before our write and arrive after it."""
    picture: Picture[str] = Picture()
    picture.replace({A: ("5", "old")}, "5")
    picture.put(A, "12", "written")
    picture.put(B, "13", "created")
    assert picture.replace({A: ("5", "old")}, "11") == []
    assert (picture.get(A), picture.get(B)) == ("written", "created")


def test_versions_are_compared_as_numbers() -> None:
    """'9' is older than '10'."""
    picture: Picture[str] = Picture()
    picture.heard(A, "10", "new")
    assert picture.heard(A, "9", "old") is None
    assert not picture.put(A, "9", "old")
    assert picture.get(A) == "new"


def test_versions_that_are_no_numbers_take_the_later_arrival() -> None:
    """Without an order the only guess is the order of arrival."""
    picture: Picture[str] = Picture()
    picture.heard(A, "z1", "first")
    assert picture.heard(A, "a2", "second") == Change(A, "first", "second")
    assert picture.heard(A, "a2", "again") is None


def test_the_echo_of_an_own_write_is_no_news() -> None:
    """The watch tells of our own write as well, with the version that is known already."""
    picture: Picture[str] = Picture()
    picture.heard(A, "5", "before")
    assert picture.put(A, "6", "written")
    assert picture.heard(A, "6", "written") is None


def test_a_write_answered_after_the_deletion_does_not_bring_the_object_back() -> None:
    """The watch would never remove it again."""
    picture: Picture[str] = Picture()
    picture.heard(A, "5", "one")
    picture.remove(A, "8")
    picture.saw("8")
    assert not picture.put(A, "7", "late answer")
    assert picture.get(A) is None


def test_the_deletion_of_an_earlier_object_leaves_its_successor() -> None:
    """Deleted and created again, and our read of the new one came first."""
    picture: Picture[str] = Picture()
    picture.heard(A, "5", "first")
    picture.put(A, "9", "second")
    assert picture.remove(A, "8") is None
    assert picture.get(A) == "second"


def test_removing_what_is_not_there_is_no_news() -> None:
    """Two may learn of one deletion."""
    assert Picture[str]().remove(A) is None


def test_values_are_one_moment() -> None:
    """A later change does not show in what was handed out before."""
    picture: Picture[str] = Picture()
    picture.heard(A, "1", "one")
    before = picture.values()
    picture.heard(B, "2", "two")
    assert (list(before), list(picture.values()), len(picture)) == (["one"], ["one", "two"], 2)


@given(st.permutations([1, 2, 3, 4, 5]), st.lists(st.booleans(), min_size=5, max_size=5))
def test_any_order_of_writes_and_news_ends_with_the_newest(order: list[int], written: list[bool]) -> None:
    """Whoever brings the newest version last or first, it stays."""
    picture: Picture[int] = Picture()
    for version, by_us in zip(order, written, strict=True):
        if by_us and picture.get(A) is not None:
            picture.put(A, str(version), version)
        else:
            picture.heard(A, str(version), version)
    assert picture.get(A) == 5
