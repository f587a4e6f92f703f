"""Own writes are no external changes: which versions of an object this process has written itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autocanary.kube.cache import ObjectKey

__all__ = ["OwnWrites"]


class OwnWrites:
    """Distinguishes other clients' changes from this process's own; safe to use from several threads.

    ``on_foreign_change`` is called with each object that another client has changed.
    """

    def __init__(self, on_foreign_change: Callable[[ObjectKey], None]) -> None:
        self._on_foreign_change = on_foreign_change
        self._lock = threading.Lock()
        self._in_progress: dict[ObjectKey, list[set[str]]] = {}

    @contextmanager
    def track(self, key: ObjectKey) -> Iterator[set[str]]:
        """While the object is written: the versions written are added to the set that is given.

        The watch may report a write before its answer is here, so what it reports of the object meanwhile
        is evaluated when all answers are here. Otherwise a half-created attempt would be taken for one that
        another client has made.
        """
        own_versions: set[str] = set()
        watched_versions: set[str] = set()
        with self._lock:
            self._in_progress.setdefault(key, []).append(watched_versions)
        try:
            yield own_versions
        except BaseException:
            own_versions.clear()  # what has half been written is for the next evaluation
            raise
        finally:
            with self._lock:
                rest = [each for each in self._in_progress.pop(key) if each is not watched_versions]
                if rest:
                    self._in_progress[key] = rest
            if watched_versions - own_versions:
                self._on_foreign_change(key)

    def on_watched(self, key: ObjectKey, version: str) -> None:
        """The watch has reported this version of the object."""
        with self._lock:
            waiting = self._in_progress.get(key, ())
            for watched_versions in waiting:
                watched_versions.add(version)
        if not waiting:
            self._on_foreign_change(key)
