"""The Cluster port over the simulated KServe, through the same dialects as the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.errors import Conflict, Refused
from autocanary.kserve import Dialect, dialect_for
from autocanary.kserve.earlier_version import find_earlier_version
from autocanary.model.observation import FIELD_MANAGER, EarlierVersion, Observation, ServiceKey
from autocanary.simulator.api_server import NamespacedName
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.fault_injection import FaultInjector

__all__ = ["InMemoryCluster", "ServiceWrite"]

_ALL_NAMESPACES = ""
"""Means every namespace."""


@dataclass(frozen=True, slots=True)
class ServiceWrite:
    """A write that reached the API server. ``weight`` None removed the field; ``restored``: the spec too.

    ``finalized`` says what the write finalized, "" for the others.
    """

    at: float
    key: ServiceKey
    weight: int | None
    restored: bool = False
    finalized: str = ""


class InMemoryCluster:
    """``writes`` is the record of all that was written; ``faults`` makes the next ones fail.

    The cache holds the last observation of each service. ``set_watch_down`` stops the watch, of one
    namespace or of all: the cache ages, and what happens meanwhile is seen when it is turned off (own
    writes and ``refresh`` still see).
    """

    def __init__(self, kserve: KServeCluster) -> None:
        self._kserve = kserve
        self.faults = FaultInjector()
        self.writes: list[ServiceWrite] = []
        self._cache: dict[NamespacedName, tuple[Observation, ...]] = {}
        self._stale: set[NamespacedName] = set()
        self._changed: set[ServiceKey] = set()
        self._watch_cut_since: dict[str, float] = {}
        kserve.objects.watch(self._on_event)
        for document in kserve.documents():
            self._on_event((document["metadata"]["namespace"], document["metadata"]["name"]), True)

    # the port

    def services(self) -> Sequence[Observation]:
        self._refresh_stale()
        return [observation for parts in self._cache.values() for observation in parts]

    def observe(self, key: ServiceKey) -> Observation | None:
        name = (key.namespace, key.name)
        if name in self._stale and not self._is_watch_cut(key.namespace):
            self._refresh_one(name)
        return self._cached(key)

    def take_changes(self) -> set[ServiceKey]:
        self._refresh_stale()
        drained, self._changed = self._changed, set()
        return drained

    def cache_age(self, key: ServiceKey, api_version: str) -> float:  # noqa: ARG002  # one cache for all
        now = self._kserve.clock.now()
        return max(now - self._watch_cut_since.get(each, now) for each in (_ALL_NAMESPACES, key.namespace))

    def refresh(self, key: ServiceKey) -> Observation | None:
        def read() -> Observation | None:
            self._refresh_one((key.namespace, key.name))
            return self._cached(key)

        return self.faults.run_with_faults("refresh", key.name, _nothing, read)

    def earlier_version(self, observation: Observation) -> EarlierVersion | None:
        name = (observation.key.namespace, observation.key.name)
        dialect = dialect_for(observation.api_version)
        return find_earlier_version(
            dialect, observation, lambda version: self._kserve.objects.at_version(name, version)
        )

    def set_weight(self, observation: Observation, weight: int) -> Observation:
        write = ServiceWrite(self._kserve.clock.now(), observation.key, weight)
        return self._send("weight", observation, lambda dialect: dialect.weight_patch(observation, weight), write)

    def restore(self, observation: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation:
        write = ServiceWrite(self._kserve.clock.now(), observation.key, weight, True)
        return self._send(
            "restore", observation, lambda dialect: dialect.restore_patch(observation, spec, weight), write
        )

    def finalize(self, observation: Observation) -> Observation:
        what = observation.promotion_pending.value if observation.promotion_pending is not None else "nothing"
        write = ServiceWrite(self._kserve.clock.now(), observation.key, observation.weight, finalized=what)
        return self._send("finalize", observation, lambda dialect: dialect.finalize_patch(observation), write)

    # what goes wrong

    def set_watch_down(self, set_watch_down: bool = True, *, namespace: str = "") -> None:
        """The watch is cut, or comes back; of one namespace, or of all."""
        if set_watch_down:
            self._watch_cut_since.setdefault(namespace, self._kserve.clock.now())
        else:
            self._watch_cut_since.pop(namespace, None)

    def _is_watch_cut(self, namespace: str) -> bool:
        return _ALL_NAMESPACES in self._watch_cut_since or namespace in self._watch_cut_since

    def _send(
        self,
        verb: str,
        observation: Observation,
        patch_of: Callable[[Dialect], dict[str, Any]],
        write: ServiceWrite,
    ) -> Observation:
        name = (observation.key.namespace, observation.key.name)
        try:
            patch = patch_of(dialect_for(observation.api_version))
        except ValueError as error:
            raise Refused(f"cannot patch InferenceService {observation.key}: {error}") from error

        def apply() -> None:
            try:
                self._kserve.patch(*name, patch, FIELD_MANAGER)
            except Refused as error:
                if error.status == 422 and "metadata.uid" in str(error):
                    raise Conflict(str(error), status=422) from error  # a namesake, as the real adapter says
                raise
            self.writes.append(write)

        def answer() -> Observation:
            self._refresh_one(name)
            after = self._cached(observation.key)
            return after if after is not None else observation

        return self.faults.run_with_faults(verb, observation.key.name, apply, answer)

    # the cache

    def _on_event(self, name: NamespacedName, _: bool) -> None:
        self._stale.add(name)

    def _refresh_stale(self) -> None:
        for name in tuple(self._stale):
            if not self._is_watch_cut(name[0]):
                self._refresh_one(name)

    def _refresh_one(self, name: NamespacedName) -> None:
        self._stale.discard(name)
        document = self._kserve.objects.find(name)
        before = self._cache.get(name, ())
        after = _dialect(document).observe(document) if document is not None else ()
        if after:
            self._cache[name] = after
        else:
            self._cache.pop(name, None)
        self._changed.update(observation.key for observation in before + after)

    def _cached(self, key: ServiceKey) -> Observation | None:
        parts = self._cache.get((key.namespace, key.name), ())
        return next((observation for observation in parts if observation.key == key), None)


def _dialect(document: Mapping[str, Any]) -> Dialect:
    return dialect_for(document["apiVersion"])


def _nothing() -> None:
    """A call of one request has nothing before it."""
