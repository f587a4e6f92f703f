"""InferenceServices: a local picture of all that are watched, and the only three writes to them.

A write is a merge-patch with the resourceVersion that was seen inside, hence compare-and-set; what the
server answers enters the picture at once, so that the next look does not see the world before the write.
Every write asks for leadership first. A write that was sent just before leadership ended may still arrive;
the resourceVersion makes it fail if the next leader has written in between.

Every API generation is watched at once, since which of them a server serves may change. What it serves in
two generations of one group is one object, and what has the same name in two groups is two, of which the
rollouts can only mean one: both times the newer generation is the one that counts. A generation that may
not be read keeps the others waiting for nothing: it is told of, and left out until the right is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autocanary import logs
from autocanary.errors import ClusterError, NotFound, NotLeader, Refused
from autocanary.kserve import DIALECTS, Dialect, dialect_for
from autocanary.kube.api_client import Session
from autocanary.kube.api_errors import KindMissing
from autocanary.kube.cache import Change, Key
from autocanary.kube.list_watch import Pace
from autocanary.kube.multi_namespace_cache import Mirror
from autocanary.kube.resource import services_of
from autocanary.model.observation import Observation, ServiceKey
from autocanary.ports import Leadership

__all__ = ["KubeCluster"]

_log = logs.logger("autocanary.kube.inference_services")

_Seen = tuple[Observation, ...]


class KubeCluster:
    """The ``Cluster`` port. ``start`` begins to watch; ``wait`` tells when the first picture is whole.

    ``dry_run`` sends no write, logs it and answers with what was seen. ``on_change`` is called on a watch's
    thread with the keys that have changed, beside ``changed``.
    """

    def __init__(
        self,
        session: Session,
        leadership: Leadership,
        *,
        namespaces: Sequence[str] = (),
        dry_run: bool = False,
        dialects: Sequence[Dialect] = DIALECTS,
        pace: Pace | None = None,
        on_change: Callable[[set[ServiceKey]], None] | None = None,
    ) -> None:
        self._session = session
        self._leadership = leadership
        self._dry_run = dry_run
        self._on_change = on_change
        self._lock = threading.Lock()
        self._changed: set[ServiceKey] = set()
        self._shadowed: set[Key] = set()
        self._skipped: dict[ServiceKey, tuple[str, str, int | None]] = {}
        self._dialects = {dialect.api_version: dialect for dialect in dialects}
        self._mirrors: dict[str, Mirror[_Seen]] = {
            dialect.api_version: Mirror(
                session,
                services_of(dialect),
                dialect.observe,
                self._heard,
                namespaces=namespaces,
                pace=pace,
            )
            for dialect in dialects
        }

    def start(self) -> None:
        for mirror in self._mirrors.values():
            mirror.start()

    def stop(self) -> None:
        for mirror in self._mirrors.values():
            mirror.stop()

    def wait(self, seconds: float) -> bool:
        """Whether everything that may be read has been listed once within so many seconds (per generation).

        Where nothing may be, or nothing else is installed, that is not worth beginning with.
        """
        waiting = [mirror for mirror in self._mirrors.values() if not mirror.wait(seconds)]
        return not waiting or (
            all(mirror.barred for mirror in waiting)
            and any(mirror.wait(0) and not _is_missing(mirror) for mirror in self._mirrors.values())
        )

    @property
    def barred(self) -> Sequence[ClusterError]:
        """Why some API generations are not followed although they are served: a right is missing."""
        return [fault for mirror in self._mirrors.values() if (fault := mirror.barred) is not None]

    @property
    def fault(self) -> ClusterError | None:
        """Why the picture cannot be kept now; an API generation that is not installed is no fault while
        another one is."""
        faults = [mirror.fault for mirror in self._mirrors.values()]
        real = [fault for fault in faults if fault is not None and not isinstance(fault, KindMissing)]
        if real:
            return real[0]
        return faults[0] if all(faults) else None

    def services(self) -> Sequence[Observation]:
        """See ``ports.Cluster``."""
        found: dict[ServiceKey, Observation] = {}
        for mirror in self._mirrors.values():
            for seen in mirror.values():
                for each in seen:
                    if found.setdefault(each.key, each).uid != each.uid:
                        self._say_shadowed(found[each.key], each)
        return list(found.values())

    def observe(self, key: ServiceKey) -> Observation | None:
        """See ``ports.Cluster``."""
        for mirror in self._mirrors.values():
            found = _component(mirror.get(Key(key.namespace, key.name)), key)
            if found is not None:
                return found
        return None

    def _say_shadowed(self, shown: Observation, hidden: Observation) -> None:
        place = Key(hidden.key.namespace, hidden.key.name)
        if place in self._shadowed:
            return
        self._shadowed.add(place)
        _log.warning(
            "service_shadowed",
            service=str(hidden.key),
            api_version=hidden.api_version,
            by=shown.api_version,
            hint="two InferenceServices of one name in two API groups; only the newer one is rolled out",
        )

    def changed(self) -> set[ServiceKey]:
        """See ``ports.Cluster``."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def age(self, key: ServiceKey, api_version: str) -> float:
        """See ``ports.Cluster``; healthy, it stays below the watches' hold time (55 s).

        Of the watch that tells of the service, or would: one of its API group. Another one that fails says
        nothing about it. An API generation that is not installed does not count; infinite when none is:
        whatever was rolled out before cannot be said to be gone.
        """
        telling = [mirror for mirror in self._mirrors.values() if not _is_missing(mirror)]
        place = Key(key.namespace, key.name)
        holding = [mirror for mirror in telling if mirror.get(place) is not None]
        group = api_version.partition("/")[0]
        own = [mirror for mirror in telling if mirror.resource.group == group]
        return max((mirror.age(place) for mirror in holding or own or telling), default=float("inf"))

    def refresh(self, key: ServiceKey) -> Observation | None:
        """Read one service from the server; None when it, or this component of it, does not exist."""
        place = Key(key.namespace, key.name)
        holders = [version for version, mirror in self._mirrors.items() if mirror.get(place) is not None]
        unserved: list[KindMissing] = []
        asked = holders or list(self._mirrors)
        for version in asked:
            mirror = self._mirrors[version]
            try:
                document = self._session.get(mirror.resource, key.namespace, key.name)
            except KindMissing as error:
                unserved.append(error)
            except NotFound:
                mirror.remove(place)
            else:
                return _component(self._keep(self._dialects[version], document), key)
        if len(unserved) == len(asked):
            raise unserved[0]  # nobody could say whether it exists
        return None

    def set_weight(self, seen: Observation, weight: int) -> Observation:
        """See ``ports.Cluster``."""
        return self._write(seen, lambda dialect: dialect.weight_patch(seen, weight), weight)

    def restore(self, seen: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation:
        """See ``ports.Cluster``."""
        return self._write(seen, lambda dialect: dialect.restore_patch(seen, spec, weight), weight)

    def settle(self, seen: Observation) -> Observation:
        """See ``ports.Cluster``."""
        return self._write(seen, lambda dialect: dialect.settle_patch(seen), seen.weight)

    def _write(
        self, seen: Observation, patch_of: Callable[[Dialect], dict[str, Any]], weight: int | None
    ) -> Observation:
        dialect = self._dialects.get(seen.api_version) or dialect_for(seen.api_version)
        try:
            patch = patch_of(dialect)
        except ValueError as error:
            raise Refused(f"cannot patch InferenceService {seen.key}: {error}") from error
        if not self._leadership.is_leader():
            raise NotLeader(f"InferenceService {seen.key} is not written: this instance is not the leader")
        if self._dry_run:
            self._say_skipped(seen, weight)
            return seen
        key = seen.key
        document = self._session.patch(services_of(dialect), key.namespace, key.name, patch)
        written = _component(self._keep(dialect, document), key)
        if written is None:
            raise NotFound(
                f"InferenceService {key.namespace}/{key.name} has no {key.component.value} any more"
            )
        return written

    def _say_skipped(self, seen: Observation, weight: int | None) -> None:
        """Once per weight and revision: what was not written is tried again at every look."""
        state = (seen.uid, seen.created, weight)
        if self._skipped.get(seen.key) != state:
            self._skipped[seen.key] = state
            _log.info("write_skipped", service=str(seen.key), weight=weight, dry_run=True)

    def _keep(self, dialect: Dialect, document: dict[str, Any]) -> _Seen:
        """Put one document of the server's into the picture."""
        observed = dialect.observe(document)
        metadata = document["metadata"]
        place = Key(metadata.get("namespace", ""), metadata["name"])
        if mirror := self._mirrors.get(dialect.api_version):
            mirror.put(place, metadata.get("resourceVersion", ""), observed)
        return observed

    def _heard(self, change: Change[_Seen]) -> None:
        keys = {each.key for seen in (change.before, change.after) if seen for each in seen}
        with self._lock:
            self._changed |= keys
        if self._on_change is not None and keys:
            self._on_change(keys)


def _is_missing(mirror: Mirror[_Seen]) -> bool:
    return isinstance(mirror.fault, KindMissing) and not mirror.values()


def _component(seen: _Seen | None, key: ServiceKey) -> Observation | None:
    return next((each for each in seen or () if each.key == key), None)
