"""List, then watch: keeps one cache of one collection on its own thread, until it is stopped.

::

    list ──► watch ──(ended by the server in order)──► watch again from the last resourceVersion
     ▲         │
     └─────────┴─ cut, silent, 410 Gone, refused, an ERROR event, or ten minutes since the last list

A failure leads back to a list although the watch could often be resumed: only a list says at once that the
cache is whole again, and until then nothing may be concluded from it.

One object affects no other: an object that cannot be decoded, or that ``project`` cannot read, is left out,
named and counted, and the cache keeps what was known of it. A failing ``on_change`` ends neither the watch nor
the list.

The library's own watch is not used: it does not notice a half-open connection, raises KeyError on 410 and
reconnects without a pause. Here the server is asked to end the stream, and a read timeout just above that ends
it from this side. A new list now and then bounds what an unknown fault can hide.

Over 300 lines because each way in which a list or a watch ends is handled where the cache's state is kept.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from autocanary import logs
from autocanary.errors import ClusterError, Forbidden, Unreachable
from autocanary.kube.api_client import ApiClient
from autocanary.kube.api_errors import ResourceNotServed, error_from_response
from autocanary.kube.bounded_json import SkippedObject, decode_event
from autocanary.kube.cache import Cache, Change, ObjectKey
from autocanary.kube.resource import Resource
from autocanary.kube.skipped_objects import NamespaceSizes, SkippedObjects
from autocanary.kube.watch_stream import Stream

__all__ = ["Reflector", "WatchTiming", "is_forbidden"]

T = TypeVar("T")

_log = logs.logger("autocanary.kube.list_watch")
_LONGEST_RETRY_AFTER = 60.0  # a watch that sleeps for a day is a cache that is a day old
_random = random.Random().random  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """How often and how long, in seconds.

    A watch is held for ``watch_seconds`` up to 10 % more, so that many do not end together, and given up after
    ``silence_grace`` without a byte beyond that. Failures wait from ``first_backoff`` doubling to
    ``max_backoff``, a missing definition ``retry_not_served``. A cache that was not confirmed for
    ``unhealthy_after``, or whose watch failed ``unhealthy_failures`` times in a row, is not healthy.
    """

    watch_seconds: float = 50.0
    silence_grace: float = 5.0
    relist_after: float = 600.0
    first_backoff: float = 0.5
    max_backoff: float = 30.0
    retry_not_served: float = 30.0
    page_size: int = 500
    unhealthy_after: float = 120.0
    unhealthy_failures: int = 5


class Reflector(Generic[T]):
    """Keeps ``cache`` like the API server's collection, as ``project`` makes values of its documents.

    ``namespace`` empty means all. ``on_change`` is called on this object's thread, after the cache has
    changed. ``clock`` is monotonic; ``sleep`` waits so many seconds or until ``stop``.
    """

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        namespace: str,
        project: Callable[[dict[str, Any]], T],
        on_change: Callable[[Change[T]], None],
        *,
        timing: WatchTiming | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.cache: Cache[T] = Cache()
        self.fault: ClusterError | None = None
        """Why the cache is not being confirmed now; None while it is."""
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._project = project
        self._on_change = on_change
        self._timing = timing or WatchTiming()
        self._clock = clock
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._synced = threading.Event()
        self._stream: Stream | None = None
        self._resource_version = ""
        self._listed_at = float("-inf")
        self._confirmed_at = float("-inf")
        self._failures = 0
        self._skipped = SkippedObjects(resource)
        self._sizes = NamespaceSizes()
        self._thread = threading.Thread(target=self._run, name=f"watch-{resource.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """End the thread; waits at most so long (a call that is being answered is not waited for)."""
        self._stopping.set()
        if stream := self._stream:
            stream.stop()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def wait(self, seconds: float) -> bool:
        """Whether the cache is whole for the first time within so many seconds, or known to be empty."""
        return self._synced.wait(seconds)

    def cache_age(self) -> float:
        """Seconds since the cache was last known to be whole; infinite before the first list."""
        return max(0.0, self._clock() - self._confirmed_at)

    def is_healthy(self) -> bool:
        """Whether the cache is whole: listed once, confirmed lately, and without a watch that fails again and again."""
        return (
            self._synced.is_set()
            and self.cache_age() < self._timing.unhealthy_after
            and self._failures < self._timing.unhealthy_failures
        )

    def skipped(self) -> Mapping[ObjectKey, str]:
        """The objects that are left out now, and why; all without a readable name are one, with empty texts."""
        return self._skipped.reasons()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                delay = self._list_and_watch()
            except ClusterError as error:
                delay = 0.0 if self._stopping.is_set() else self._on_failure(self._check_served(error))
            except Exception as error:  # noqa: BLE001 - a dead thread would freeze the cache without a word
                _log.exception("watch_crashed", resource=str(self._resource), namespace=self._namespace)
                self._resource_version = ""
                self.fault = Unreachable(f"the watch of {self._resource} crashed: {type(error).__name__}")
                delay = self._next_backoff()
            if delay > 0:
                self._sleep(delay)

    def _list_and_watch(self) -> float:
        """One list if it is due and one watch; seconds to wait before the next."""
        if not self._resource_version or self._clock() - self._listed_at > self._timing.relist_after:
            self._list_all()
        began = self._clock()
        received = self._watch()
        if received or self._clock() - began >= 1.0:
            self._failures = 0
            return 0.0
        return self._next_backoff()  # a server that ends every watch at once must not be asked in a loop

    def _list_all(self) -> None:
        started_at = self._clock()
        listed: dict[ObjectKey, tuple[str, T]] = {}
        existing: set[ObjectKey] = set()
        version = ""
        for page in self._client.list_pages(self._resource, self._namespace, limit=self._timing.page_size):
            version = str(page.metadata.get("resourceVersion") or "")
            for document, size in zip(page.items, page.sizes, strict=True):
                existing.add(self._add_listed(listed, document, size))
            for skipped in page.skipped:
                existing.add(self._add_skipped(listed, skipped))
            if self._stopping.is_set():
                return
        if not version:
            raise Unreachable(f"the list of {self._resource} names no resourceVersion")
        self._skipped.keep_only(existing)
        self._sizes.keep_only(existing)
        changes = self.cache.replace(listed, version)
        self._resource_version, self._listed_at = version, started_at
        self._mark_confirmed(started_at)
        self._synced.set()
        for change in changes:
            self._handle_change(change)

    def _add_listed(self, listed: dict[ObjectKey, tuple[str, T]], document: dict[str, Any], size: int) -> ObjectKey:
        try:
            key, version = _key_and_version(document)
        except (KeyError, TypeError, AttributeError) as error:
            key = ObjectKey("", "")
            self._skipped.add(key, f"it has no name: {type(error).__name__}")
            return key
        value = self._project_or_last(key, document, size)
        if value is not None:
            listed[key] = (version, value)
        return key

    def _add_skipped(self, listed: dict[ObjectKey, tuple[str, T]], skipped: SkippedObject) -> ObjectKey:
        key = ObjectKey(skipped.namespace, skipped.name)
        self._skipped.add(key, skipped.reason)
        known = self.cache.get(key)
        if known is not None:  # it exists: what was known of it stays
            listed.setdefault(key, (skipped.resource_version or "0", known))
        return key

    def _watch(self) -> bool:
        """Watch until the stream ends; whether anything was heard. ClusterError when it did not end well."""
        seconds = self._timing.watch_seconds * (1 + _random() / 10)
        stream = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._resource_version,
            seconds=max(1, round(seconds)),
            read_timeout=seconds + self._timing.silence_grace,
        )
        received = False
        self._stream = stream
        try:
            if self._stopping.is_set():
                return True
            for line in stream.lines():
                self._handle_event(line)
                received = True
        finally:
            self._stream = None
            stream.close()
        self._mark_confirmed(self._clock())  # ended by the server in peace: nothing was left unsaid
        return received

    def _handle_event(self, line: bytes) -> None:
        try:
            kind, document = decode_event(line)
            size = len(line)
            if isinstance(document, SkippedObject):
                self._handle_skipped(kind, document)
                return
            if kind == "ERROR":
                raise self._error_from_status(document)
            version = document["metadata"]["resourceVersion"]
            key = None if kind == "BOOKMARK" else _key_and_version(document)[0]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unreachable(f"the watch of {self._resource} sent something that is not an event") from error
        change: Change[T] | None = None
        if key is None:
            self.cache.on_bookmark(version)
        elif kind == "DELETED":
            change = self._on_deleted(key, version)
        elif self.cache.is_up_to_date(key, version):
            self.cache.on_bookmark(version)  # our own write, mostly: it need not be read again
        else:
            value = self._project_or_last(key, document, size)
            if value is not None:
                change = self.cache.on_event(key, version, value)
        self._on_progress(version)
        if change is not None:
            self._handle_change(change)

    def _handle_skipped(self, kind: str, skipped: SkippedObject) -> None:
        """An event whose object cannot be decoded: the watch goes on, and resumes after it."""
        key, version = ObjectKey(skipped.namespace, skipped.name), skipped.resource_version
        change = None
        if kind == "DELETED" and skipped.name:
            change = self._on_deleted(key, version)
        else:
            self._skipped.add(key, skipped.reason)
            if version:
                self.cache.on_bookmark(version)
        self._on_progress(version or self._resource_version)
        if change is not None:
            self._handle_change(change)

    def _on_deleted(self, key: ObjectKey, version: str) -> Change[T] | None:
        self._skipped.forget(key)
        self._sizes.note(key, 0)
        change = self.cache.remove(key, version)
        self.cache.on_bookmark(version)
        return change

    def _on_progress(self, version: str) -> None:
        self._resource_version = version
        self._failures = 0
        self._mark_confirmed(self._clock())

    def _handle_change(self, change: Change[T]) -> None:
        try:
            self._on_change(change)
        except Exception as error:  # noqa: BLE001 - the failure is this object's alone
            _log.error(
                "change_not_handled",
                resource=str(self._resource),
                namespace=change.key.namespace,
                object=change.key.name,
                exc_info=error,
            )

    def _error_from_status(self, status: Mapping[str, Any]) -> ClusterError:
        return error_from_response(
            int(status.get("code") or 500),
            {},
            json.dumps(status).encode(),
            action=f"watch {self._resource}",
            group=self._resource.group,
            server=self._client.server,
        )

    def _project_or_last(self, key: ObjectKey, document: dict[str, Any], size: int) -> T | None:
        """The projection; of a document that ``project`` cannot read, what was known before, if anything."""
        if not self._sizes.has_room(key, size):
            self._skipped.add(key, self._sizes.full_text())
            return self.cache.get(key)
        self._sizes.note(key, size)
        try:
            value = self._project(document)
        except Exception as error:  # noqa: BLE001 - one odd object must not hide all the others
            self._skipped.add(key, f"{type(error).__name__}: {error}")
            return self.cache.get(key)
        self._skipped.forget(key)
        return value

    def _mark_confirmed(self, at: float) -> None:
        self._confirmed_at = at
        if self.fault is not None:
            self.fault = None
            _log.info("watch_recovered", resource=str(self._resource), namespace=self._namespace)

    def _check_served(self, error: ClusterError) -> ClusterError:
        """The error; KindMissing instead where nothing serves what is forbidden."""
        if is_forbidden(error):
            try:
                self._client.check_resource_served(self._resource)
            except ResourceNotServed as missing:
                return missing
            except ClusterError:
                return error  # not known: it may be served
        return error

    def _on_failure(self, error: ClusterError) -> float:
        """Note and report a failure; seconds to wait."""
        self._resource_version = ""
        missing = isinstance(error, ResourceNotServed)
        if type(self.fault) is not type(error):
            report = _log.info if missing else _log.warning
            report("watch_failed", resource=str(self._resource), namespace=self._namespace, error=str(error))
        self.fault = error
        if missing:
            if not len(self.cache):
                # No definition, no objects. Had some been known, this must not read as the end of them.
                self._confirmed_at = self._clock()
                self._synced.set()
            return self._timing.retry_not_served
        return max(self._next_backoff(), min(error.retry_after or 0.0, _LONGEST_RETRY_AFTER))

    def _next_backoff(self) -> float:
        self._failures += 1
        limit: float = min(self._timing.max_backoff, self._timing.first_backoff * 2.0 ** min(self._failures - 1, 16))
        return limit * (0.5 + _random() / 2)


def is_forbidden(fault: ClusterError | None) -> bool:
    """Whether a right is missing, which waiting does not bring; credentials that have expired are another
    thing (401)."""
    return isinstance(fault, Forbidden) and fault.status == 403


def _key_and_version(document: Mapping[str, Any]) -> tuple[ObjectKey, str]:
    metadata = document["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"]), metadata.get("resourceVersion", "")
