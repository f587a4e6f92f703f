"""A local copy of one collection, safe for several threads and for events that arrive out of order.

Two writers feed it: the watch, and the answers to our own writes, which may overtake the watch or be
overtaken by it. The order is that of resourceVersion, compared as a number; where one is not a number (no
known server does that), the later arrival wins.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Cache", "Change", "ObjectKey"]

T = TypeVar("T")


class ObjectKey(NamedTuple):
    """An object's place."""

    namespace: str
    name: str


class Change(NamedTuple, Generic[T]):
    """One object before and after; None where it does not exist."""

    key: ObjectKey
    before: T | None
    after: T | None


class Cache(Generic[T]):
    """Objects by key, each with the resourceVersion it was seen at. Values are never None."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[ObjectKey, tuple[str, T]] = {}
        self._values: tuple[T, ...] | None = ()
        self._latest_version = ""  # the newest resourceVersion of the watch

    def get(self, key: ObjectKey) -> T | None:
        with self._lock:
            item = self._items.get(key)
        return item[1] if item else None

    def values(self) -> Sequence[T]:
        """All, as of one moment."""
        with self._lock:
            if self._values is None:
                self._values = tuple(value for _, value in self._items.values())
            return self._values

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)

    def put(self, key: ObjectKey, version: str, value: T) -> bool:
        """What a write of ours or a read of one object answered; False if something newer is known.

        An object that the watch knows to be gone does not come back.
        """
        with self._lock:
            current = self._items.get(key)
            known_version = current[0] if current else self._latest_version
            if known_version and not _is_newer(version, known_version):
                return False
            self._set(key, version, value)
            return True

    def remove(self, key: ObjectKey, version: str = "") -> Change[T] | None:
        """The object is gone, as of ``version`` if that is known; None if that is no news."""
        with self._lock:
            current = self._items.get(key)
            if current is None or (version and _is_newer(current[0], version)):
                return None
            del self._items[key]
            self._values = None
            return Change(key, current[1], None)

    def on_bookmark(self, version: str) -> None:
        """The watch has reported everything up to here."""
        with self._lock:
            self._latest_version = version

    def is_up_to_date(self, key: ObjectKey, version: str) -> bool:
        """Whether news of that version would be none."""
        with self._lock:
            current = self._items.get(key)
            return current is not None and not _is_newer(version, current[0])

    def on_event(self, key: ObjectKey, version: str, value: T) -> Change[T] | None:
        """The watch reports an object; None if it is not newer."""
        with self._lock:
            current = self._items.get(key)
            self._latest_version = version
            if current is not None and not _is_newer(version, current[0]):
                return None
            self._set(key, version, value)
            return Change(key, current[1] if current else None, value)

    def replace(self, listed: Mapping[ObjectKey, tuple[str, T]], version: str) -> list[Change[T]]:
        """A whole list, as of ``version``; what our own writes made after that is kept."""
        changes: list[Change[T]] = []
        with self._lock:
            self._latest_version = version
            for key, (held_version, current) in list(self._items.items()):
                if key not in listed and not (_are_numbers(held_version, version) and _is_newer(held_version, version)):
                    del self._items[key]
                    changes.append(Change(key, current, None))
            for key, (item_version, value) in listed.items():
                before = self._items.get(key)
                if before is not None and not _is_newer(item_version, before[0]):
                    continue
                self._items[key] = (item_version, value)
                changes.append(Change(key, before[1] if before else None, value))
            self._values = None
        return changes

    def _set(self, key: ObjectKey, version: str, value: T) -> None:
        self._items[key] = (version, value)
        self._values = None


def _are_numbers(one: str, other: str) -> bool:
    return one.isdecimal() and other.isdecimal()


def _is_newer(one: str, other: str) -> bool:
    return int(one) > int(other) if _are_numbers(one, other) else one != other
