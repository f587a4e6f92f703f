"""The Cluster port over the simulated KServe, through the same dialects as the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.errors import Conflict, Refused
from autocanary.kserve import Dialect, dialect_for
from autocanary.model.observation import Observation, ServiceKey
from autocanary.simulator.api_server import Name
from autocanary.simulator.cluster import KServe
from autocanary.simulator.fault_injection import Faults

__all__ = ["MANAGER", "SimCluster", "Write"]

MANAGER = "autocanary"
"""The field manager's name of our writes."""
_NOTHING: Mapping[str, Any] = {}
_ALL = ""
"""Stands for every namespace."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write that reached the API server. ``weight`` None removed the field; ``restored``: the spec too.

    ``settled`` says what was settled by it, "" for the others.
    """

    at: float
    key: ServiceKey
    weight: int | None
    restored: bool = False
    settled: str = ""


class SimCluster:
    """``writes`` is the record of all that was written; ``faults`` makes the next ones fail.

    The picture is what the last look at each service gave. ``blind`` stops the watch, of one namespace or of
    all: the picture ages, and what happens meanwhile is seen when it is turned off (own writes and
    ``refresh`` still see).
    """

    def __init__(self, kserve: KServe) -> None:
        self._kserve = kserve
        self.faults = Faults()
        self.writes: list[Write] = []
        self._picture: dict[Name, tuple[Observation, ...]] = {}
        self._stale: set[Name] = set()
        self._changed: set[ServiceKey] = set()
        self._blind_since: dict[str, float] = {}
        kserve.objects.watch(self._heard)
        for document in kserve.documents():
            self._heard((document["metadata"]["namespace"], document["metadata"]["name"]), True)

    # the port

    def services(self) -> Sequence[Observation]:
        self._look()
        return [seen for parts in self._picture.values() for seen in parts]

    def observe(self, key: ServiceKey) -> Observation | None:
        name = (key.namespace, key.name)
        if name in self._stale and not self._is_blind(key.namespace):
            self._look_at(name)
        return self._of(key)

    def changed(self) -> set[ServiceKey]:
        self._look()
        drained, self._changed = self._changed, set()
        return drained

    def age(self, key: ServiceKey, api_version: str) -> float:  # noqa: ARG002  # one picture of all
        now = self._kserve.clock.now()
        return max(now - self._blind_since.get(each, now) for each in (_ALL, key.namespace))

    def refresh(self, key: ServiceKey) -> Observation | None:
        def read() -> Observation | None:
            self._look_at((key.namespace, key.name))
            return self._of(key)

        return self.faults.around("refresh", key.name, _nothing, read)

    def set_weight(self, seen: Observation, weight: int) -> Observation:
        write = Write(self._kserve.clock.now(), seen.key, weight)
        return self._send("weight", seen, lambda dialect: dialect.weight_patch(seen, weight), write)

    def restore(self, seen: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation:
        write = Write(self._kserve.clock.now(), seen.key, weight, True)
        return self._send("restore", seen, lambda dialect: dialect.restore_patch(seen, spec, weight), write)

    def settle(self, seen: Observation) -> Observation:
        what = seen.unsettled.value if seen.unsettled is not None else "nothing"
        write = Write(self._kserve.clock.now(), seen.key, seen.weight, settled=what)
        return self._send("settle", seen, lambda dialect: dialect.settle_patch(seen), write)

    # what goes wrong

    def blind(self, blind: bool = True, *, namespace: str = "") -> None:
        """The watch is cut, or comes back; of one namespace, or of all."""
        if blind:
            self._blind_since.setdefault(namespace, self._kserve.clock.now())
        else:
            self._blind_since.pop(namespace, None)

    def _is_blind(self, namespace: str) -> bool:
        return _ALL in self._blind_since or namespace in self._blind_since

    def _send(
        self, verb: str, seen: Observation, patch_of: Callable[[Dialect], dict[str, Any]], write: Write
    ) -> Observation:
        name = (seen.key.namespace, seen.key.name)
        try:
            patch = patch_of(dialect_for(seen.api_version))
        except ValueError as error:
            raise Refused(f"cannot patch InferenceService {seen.key}: {error}") from error

        def apply() -> None:
            try:
                self._kserve.patch(*name, patch, MANAGER)
            except Refused as error:
                if error.status == 422 and "metadata.uid" in str(error):
                    raise Conflict(str(error), status=422) from error  # a namesake, as the real adapter says
                raise
            self.writes.append(write)

        def answer() -> Observation:
            self._look_at(name)
            after = self._of(seen.key)
            return after if after is not None else seen

        return self.faults.around(verb, seen.key.name, apply, answer)

    # the picture

    def _heard(self, name: Name, _: bool) -> None:
        self._stale.add(name)

    def _look(self) -> None:
        for name in tuple(self._stale):
            if not self._is_blind(name[0]):
                self._look_at(name)

    def _look_at(self, name: Name) -> None:
        self._stale.discard(name)
        document = self._kserve.objects.find(name)
        before = self._picture.get(name, ())
        after = _dialect(document).observe(document) if document is not None else ()
        if after:
            self._picture[name] = after
        else:
            self._picture.pop(name, None)
        self._changed.update(seen.key for seen in before + after)

    def _of(self, key: ServiceKey) -> Observation | None:
        parts = self._picture.get((key.namespace, key.name), ())
        return next((seen for seen in parts if seen.key == key), None)


def _dialect(document: Mapping[str, Any]) -> Dialect:
    return dialect_for(document["apiVersion"])


def _nothing() -> None:
    """A call of one request has nothing before it."""
