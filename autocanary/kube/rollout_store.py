"""CanaryRollout objects: what autocanary remembers.

The spec says what a rollout is about and what people ask of it; only ``create`` and ``ask`` write it. The
status is replaced as a whole, never merged: a field that is absent from it means its default, and a merge
would let old fields survive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autocanary import logs
from autocanary.errors import AlreadyExists, ClusterError, Conflict, NotFound, NotLeader, Refused
from autocanary.kube.api_client import Session
from autocanary.kube.cache import Change, Key
from autocanary.kube.list_watch import Pace
from autocanary.kube.multi_namespace_cache import Mirror
from autocanary.kube.resource import ROLLOUTS
from autocanary.model.rollout import Request, Rollout
from autocanary.model.rollout_json import API_VERSION, KIND, from_document, to_document
from autocanary.ports import Leadership

__all__ = ["KubeLedger"]

_log = logs.logger("autocanary.kube.rollout_store")

_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)
"""What ``from_document`` raises for an object that another version, or another hand, has written."""

_SNAPSHOTS = 256
"""Different policy snapshots that are remembered, to be shared."""

PERSON = "autocanary-cli"
_GONE = "gone"
"""Stands for the version of an object that was deleted."""


class KubeLedger:
    """The ``Ledger`` port. Objects that this version cannot read are reported once and never written."""

    def __init__(
        self,
        session: Session,
        leadership: Leadership,
        *,
        namespaces: Sequence[str] = (),
        pace: Pace | None = None,
        on_change: Callable[[tuple[str, str]], None] | None = None,
    ) -> None:
        self._session = session
        self._leadership = leadership
        self._on_change = on_change
        self._lock = threading.Lock()
        self._changed: set[tuple[str, str]] = set()
        self._being_written: dict[Key, list[set[str]]] = {}
        self._reported: dict[Key, str] = {}
        self._snapshots: dict[str, Any] = {}
        self._mirror: Mirror[Rollout | _Unreadable] = Mirror(
            session, ROLLOUTS, self._project, self._heard, namespaces=namespaces, pace=pace
        )

    def start(self) -> None:
        self._mirror.start()

    def stop(self) -> None:
        self._mirror.stop()

    def wait(self, seconds: float) -> bool:
        """Whether the rollouts have been listed once within so many seconds; ``fault`` says why not."""
        return self._mirror.wait(seconds)

    def age(self) -> float:
        """Seconds since the picture was last known to be whole."""
        return self._mirror.age()

    @property
    def fault(self) -> ClusterError | None:
        """Why the picture cannot be kept now; NotFound when the definitions are not installed."""
        return self._mirror.fault

    def rollouts(self) -> Sequence[Rollout]:
        """See ``ports.Ledger``."""
        return [each for each in self._mirror.values() if isinstance(each, Rollout)]

    def known(self, namespace: str, name: str) -> Rollout | None:
        """See ``ports.Ledger``."""
        found = self._mirror.get(Key(namespace, name))
        return found if isinstance(found, Rollout) else None

    def changed(self) -> set[tuple[str, str]]:
        """See ``ports.Ledger``."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def create(self, rollout: Rollout) -> Rollout:
        """See ``ports.Ledger``.

        An object of that name about the same candidate is taken over: it is ours, made by a call whose
        answer was lost, or by the leader before this one. What it has recorded already then counts.
        """
        self._lead(rollout)
        with self._writing(rollout) as own:
            return self._create(rollout, own)

    def _create(self, rollout: Rollout, own: set[str]) -> Rollout:
        document = to_document(rollout.but(uid="", resource_version=""))
        document.pop("status")
        try:
            made = self._session.create(ROLLOUTS, rollout.namespace, document)
        except AlreadyExists as error:
            made = self._session.get(ROLLOUTS, rollout.namespace, rollout.name)
            found = self.readable(made)
            if not _same_attempt(found, rollout):
                raise AlreadyExists(
                    f"CanaryRollout {rollout.namespace}/{rollout.name} exists, about another candidate: "
                    f"{found.candidate} of InferenceService uid {found.service_uid}; delete it if it is old",
                    status=409,
                ) from error
            if made.get("status"):
                return self._keep(made, found)
        metadata = made["metadata"]
        own.add(metadata["resourceVersion"])
        self._lead(rollout)
        fresh = rollout.but(uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        return self._record(fresh, own)

    def record(self, rollout: Rollout) -> Rollout:
        """See ``ports.Ledger``."""
        self._lead(rollout)
        with self._writing(rollout) as own:
            return self._record(rollout, own)

    def _record(self, rollout: Rollout, own: set[str]) -> Rollout:
        if not rollout.resource_version:
            raise Conflict(f"CanaryRollout {rollout.namespace}/{rollout.name} was never read or created")
        status = {name: value for name, value in to_document(rollout)["status"].items() if value is not None}
        metadata = {
            "name": rollout.name,
            "namespace": rollout.namespace,
            "uid": rollout.uid,
            "resourceVersion": rollout.resource_version,
        }
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": status}
        document = self._session.replace(
            ROLLOUTS, rollout.namespace, rollout.name, body, subresource="status"
        )
        own.add(document["metadata"]["resourceVersion"])
        return self._keep(document, self.readable(document))

    def read(self, namespace: str, name: str) -> Rollout | None:
        """See ``ports.Ledger``; Refused for an object that this version cannot read."""
        try:
            document = self._session.get(ROLLOUTS, namespace, name)
        except NotFound:
            self._mirror.remove(Key(namespace, name))
            return None
        return self._keep(document, self.readable(document))

    def ask(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        """See ``ports.Ledger``; for people, so without leadership, and the last wish wins."""
        spec: dict[str, Any] = {}
        if paused is not None:
            spec["paused"] = paused
        if request is not None:
            # The null takes away who asked the request before this one.
            spec["request"] = {"id": request.id, "verb": request.verb, "by": request.by or None}
        document = self._session.patch(ROLLOUTS, namespace, name, {"spec": spec}, manager=PERSON)
        return self.readable(document)

    def delete(self, rollout: Rollout) -> None:
        """See ``ports.Ledger``; only that very object, and none at all is as good."""
        self._lead(rollout)
        with self._writing(rollout) as own:
            try:
                self._session.delete(ROLLOUTS, rollout.namespace, rollout.name, uid=rollout.uid)
            except NotFound as error:
                _log.debug(
                    "rollout_already_gone", rollout=f"{rollout.namespace}/{rollout.name}", error=str(error)
                )
            own.add(_GONE)
            self._mirror.remove(Key(rollout.namespace, rollout.name))

    def _lead(self, rollout: Rollout) -> None:
        if not self._leadership.is_leader():
            raise NotLeader(
                f"CanaryRollout {rollout.namespace}/{rollout.name} is not written: "
                "this instance is not the leader"
            )

    def readable(self, document: dict[str, Any]) -> Rollout:
        """The rollout in an object; Refused where this version cannot read it."""
        try:
            return from_document(self._share(document))
        except _UNREADABLE as error:
            raise Refused(_unreadable(document, error)) from error

    def _share(self, document: dict[str, Any]) -> dict[str, Any]:
        """Rollouts of one policy hold one snapshot: of thousands, it is most of what they hold."""
        policy = document["spec"]["policy"]
        known = self._snapshots.get(policy["hash"])
        if known is not None and known == policy["snapshot"]:
            policy["snapshot"] = known
        else:
            if len(self._snapshots) >= _SNAPSHOTS:
                self._snapshots = {}
            self._snapshots[policy["hash"]] = policy["snapshot"]
        return document

    def _project(self, document: dict[str, Any]) -> Rollout | _Unreadable:
        metadata = document["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        try:
            rollout = self.readable(document)
        except Refused as error:
            told = str(error)
            if self._reported.get(key) != told:
                self._reported[key] = told
                _log.warning("rollout_unreadable", namespace=key.namespace, rollout=key.name, error=told)
            return _Unreadable(key, metadata["resourceVersion"])
        self._reported.pop(key, None)
        return rollout

    def _keep(self, document: dict[str, Any], rollout: Rollout) -> Rollout:
        key = Key(rollout.namespace, rollout.name)
        self._mirror.put(key, document["metadata"]["resourceVersion"], rollout)
        return rollout

    @contextmanager
    def _writing(self, rollout: Rollout) -> Iterator[set[str]]:
        """Own writes are nobody else's changes: their versions are added to the set that is given.

        The watch may tell of a write before its answer is here, so what it tells of the object meanwhile
        is judged when all answers are. Otherwise an attempt that has only half been created would be taken
        for one that somebody else has made.
        """
        key = Key(rollout.namespace, rollout.name)
        own: set[str] = set()
        heard: set[str] = set()
        with self._lock:
            self._being_written.setdefault(key, []).append(heard)
        try:
            yield own
        except BaseException:
            own.clear()  # what has half been written is for whoever looks at it next
            raise
        finally:
            with self._lock:
                rest = [each for each in self._being_written.pop(key) if each is not heard]
                if rest:
                    self._being_written[key] = rest
            if heard - own:
                self._tell((key.namespace, key.name))

    def _heard(self, change: Change[Rollout | _Unreadable]) -> None:
        version = change.after.resource_version if change.after is not None else _GONE
        with self._lock:
            waiting = self._being_written.get(change.key, ())
            for heard in waiting:
                heard.add(version)
        if not waiting:
            self._tell((change.key.namespace, change.key.name))

    def _tell(self, place: tuple[str, str]) -> None:
        with self._lock:
            self._changed.add(place)
        if self._on_change is not None:
            self._on_change(place)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands in the picture for an object that is left alone."""

    key: Key
    resource_version: str


def _unreadable(document: dict[str, Any], error: Exception) -> str:
    metadata = document.get("metadata") or {}
    why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    name = f"{metadata.get('namespace')}/{metadata.get('name')}"
    return f"CanaryRollout {name} cannot be read and is left alone: {why}"


def _same_attempt(found: Rollout, wanted: Rollout) -> bool:
    return (found.service_uid, found.component, found.candidate, found.attempt) == (
        wanted.service_uid,
        wanted.component,
        wanted.candidate,
        wanted.attempt,
    )
