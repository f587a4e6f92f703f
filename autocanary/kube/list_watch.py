"""List, then watch: keeps one picture of one collection on a thread of its own, for ever.

::

    list ──► watch ──(ended by the server in peace)──► watch again from the last resourceVersion
     ▲         │
     └─────────┴─ cut, silent, 410 Gone, refused, an ERROR event, or ten minutes since the last list

A failure leads back to a list although the watch could often be resumed: only a list says at once that the
picture is whole again, and until then nothing may be concluded from it.

Ours instead of the library's, because that one never notices a half-open connection, raises KeyError on 410
and reconnects without a pause. The stream's end is certain: the server is asked to end it, and a read
timeout just above that ends it from this side. Listing anew now and then bounds what any fault that nobody
thought of can hide.
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
from autocanary.kube.api_client import Session
from autocanary.kube.api_errors import KindMissing, refusal
from autocanary.kube.cache import Change, Key, Picture
from autocanary.kube.resource import Resource
from autocanary.kube.watch_stream import Stream

__all__ = ["Pace", "Watch", "is_barred"]

T = TypeVar("T")

_log = logs.logger("autocanary.kube.list_watch")
_chance = random.Random().random  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long, in seconds.

    A watch is held for ``hold`` up to 10 % more, so that many do not end together, and given up after
    ``slack`` of silence beyond that: ``hold`` bounds how old a healthy picture's last confirmation gets.
    Failures wait from ``first`` doubling to ``longest``, a missing definition ``missing``.
    """

    hold: float = 50.0
    slack: float = 5.0
    relist: float = 600.0
    first: float = 0.5
    longest: float = 30.0
    missing: float = 30.0
    page: int = 500


class Watch(Generic[T]):
    """Keeps ``picture`` like the API server's collection, as ``project`` makes values of its documents.

    ``namespace`` empty means all. ``on_change`` is called on this object's thread, after the picture has
    changed. ``clock`` is monotonic; ``pause`` waits so many seconds or until ``stop``.
    """

    def __init__(
        self,
        session: Session,
        resource: Resource,
        namespace: str,
        project: Callable[[dict[str, Any]], T],
        on_change: Callable[[Change[T]], None],
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.picture: Picture[T] = Picture()
        self.fault: ClusterError | None = None
        """Why the picture is not being confirmed now; None while it is."""
        self._session = session
        self._resource = resource
        self._namespace = namespace
        self._project = project
        self._on_change = on_change
        self._pace = pace or Pace()
        self._clock = clock
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._synced = threading.Event()
        self._stream: Stream | None = None
        self._since = ""
        self._listed_at = float("-inf")
        self._confirmed_at = float("-inf")
        self._failures = 0
        self._unreadable: dict[Key, str] = {}
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
        """Whether the picture is whole for the first time within so many seconds, or known to be empty."""
        return self._synced.wait(seconds)

    def age(self) -> float:
        """Seconds since the picture was last known to be whole; infinite before the first list."""
        return max(0.0, self._clock() - self._confirmed_at)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                delay = self._round()
            except ClusterError as error:
                delay = 0.0 if self._stopping.is_set() else self._failed(self._served(error))
            except Exception:  # noqa: BLE001 - a dead thread would freeze the picture without a word
                _log.exception("watch_crashed", resource=str(self._resource), namespace=self._namespace)
                self._since = ""
                delay = self._backoff()
            if delay > 0:
                self._pause(delay)

    def _round(self) -> float:
        """One list if it is due and one watch; seconds to wait before the next."""
        if not self._since or self._clock() - self._listed_at > self._pace.relist:
            self._list()
        began = self._clock()
        heard = self._follow()
        if heard or self._clock() - began >= 1.0:
            self._failures = 0
            return 0.0
        return self._backoff()  # a server that ends every watch at once must not be asked in a loop

    def _list(self) -> None:
        asked_at = self._clock()
        listed: dict[Key, tuple[str, T]] = {}
        after = ""
        while True:
            page = self._session.page(self._resource, self._namespace, limit=self._pace.page, after=after)
            for document in page.get("items") or ():
                key, version = _place(document)
                value = self._value(key, document)
                if value is not None:
                    listed[key] = (version, value)
            head = page.get("metadata") or {}
            after = head.get("continue") or ""
            if not after or self._stopping.is_set():
                break
        if self._stopping.is_set():
            return
        changes = self.picture.replace(listed, head["resourceVersion"])
        self._since, self._listed_at = head["resourceVersion"], asked_at
        self._confirmed(asked_at)
        self._synced.set()
        for change in changes:
            self._on_change(change)

    def _follow(self) -> bool:
        """Watch until the stream ends; whether anything was heard. ClusterError when it did not end well."""
        seconds = self._pace.hold * (1 + _chance() / 10)
        stream = self._session.watch(
            self._resource,
            self._namespace,
            since=self._since,
            seconds=max(1, round(seconds)),
            silence=seconds + self._pace.slack,
        )
        heard = False
        self._stream = stream
        try:
            if self._stopping.is_set():
                return True
            for line in stream.lines():
                self._event(line)
                heard = True
        finally:
            self._stream = None
            stream.close()
        self._confirmed(self._clock())  # ended by the server in peace: nothing was left unsaid
        return heard

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, document = event["type"], event["object"]
            if kind == "ERROR":
                raise self._error(document)
            version = document["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"the watch of {self._resource} sent something that is not an event") from error
        change: Change[T] | None = None
        if kind == "BOOKMARK":
            self.picture.saw(version)
        else:
            key, _ = _place(document)
            if kind == "DELETED":
                self._unreadable.pop(key, None)
                change = self.picture.remove(key, version)
                self.picture.saw(version)
            elif self.picture.knows(key, version):
                self.picture.saw(version)  # our own write, mostly: it need not be read again
            else:
                value = self._value(key, document)
                if value is not None:
                    change = self.picture.heard(key, version, value)
        self._since = version
        self._failures = 0
        self._confirmed(self._clock())
        if change is not None:
            self._on_change(change)

    def _error(self, status: Mapping[str, Any]) -> ClusterError:
        return refusal(
            int(status.get("code") or 500),
            {},
            json.dumps(status).encode(),
            doing=f"watch {self._resource}",
            group=self._resource.group,
            server=self._session.server,
        )

    def _value(self, key: Key, document: dict[str, Any]) -> T | None:
        """The projection; of a document that it cannot read, what was known before, if anything."""
        try:
            value = self._project(document)
        except Exception as error:  # noqa: BLE001 - one odd object must not hide all the others
            told = f"{type(error).__name__}: {error}"
            if self._unreadable.get(key) != told:
                self._unreadable[key] = told
                _log.warning(
                    "object_unreadable",
                    resource=str(self._resource),
                    namespace=key.namespace,
                    object=key.name,
                    error=told,
                )
            return self.picture.get(key)
        self._unreadable.pop(key, None)
        return value

    def _confirmed(self, at: float) -> None:
        self._confirmed_at = at
        if self.fault is not None:
            self.fault = None
            _log.info("watch_recovered", resource=str(self._resource), namespace=self._namespace)

    def _served(self, error: ClusterError) -> ClusterError:
        """The error; KindMissing instead where nothing serves what is forbidden."""
        if is_barred(error):
            try:
                self._session.check_served(self._resource)
            except KindMissing as missing:
                return missing
            except ClusterError:
                return error  # not known: it may be served
        return error

    def _failed(self, error: ClusterError) -> float:
        """Note and report a failure; seconds to wait."""
        self._since = ""
        missing = isinstance(error, KindMissing)
        if type(self.fault) is not type(error):
            report = _log.info if missing else _log.warning
            report("watch_failed", resource=str(self._resource), namespace=self._namespace, error=str(error))
        self.fault = error
        if missing:
            if not len(self.picture):
                # No definition, no objects. Had some been known, this must not read as the end of them.
                self._confirmed_at = self._clock()
                self._synced.set()
            return self._pace.missing
        return max(self._backoff(), error.retry_after or 0.0)

    def _backoff(self) -> float:
        self._failures += 1
        limit: float = min(self._pace.longest, self._pace.first * 2.0 ** min(self._failures - 1, 16))
        return limit * (0.5 + _chance() / 2)


def is_barred(fault: ClusterError | None) -> bool:
    """Whether a right is missing, which waiting does not bring; credentials that have expired are another
    thing (401)."""
    return isinstance(fault, Forbidden) and fault.status == 403


def _place(document: Mapping[str, Any]) -> tuple[Key, str]:
    metadata = document["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"]), metadata.get("resourceVersion", "")
