"""The RolloutStore port in memory. Every rollout goes through its JSON form, as it would through an API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocanary.errors import AlreadyExists, Conflict, NotFound, Refused
from autocanary.model.rollout import Request, Rollout, RolloutId
from autocanary.model.rollout_json import from_document, to_document
from autocanary.model.time_format import format_time
from autocanary.simulator.fault_injection import FaultInjector
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["InMemoryRolloutStore", "RolloutWrite"]


@dataclass(frozen=True, slots=True)
class RolloutWrite:
    """A write that reached the store: ``create``, ``update_status``, ``write_request`` or ``delete``."""

    at: float
    verb: str
    namespace: str
    name: str
    phase: str


class InMemoryRolloutStore:
    """CanaryRollout objects with resource versions. ``writes`` is the record of all that was written.

    What it returns has been through ``to_document``, JSON text and ``from_document``, so a state that does
    not survive that is found by any test that uses it.
    """

    admit: Callable[[Mapping[str, Any]], None] = staticmethod(lambda _: None)
    """Called with each document before it is stored; raises what an API server would refuse."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.faults = FaultInjector()
        self.writes: list[RolloutWrite] = []
        self._texts: dict[RolloutId, str] = {}
        self._rollouts: dict[RolloutId, Rollout] = {}
        self._changed: set[RolloutId] = set()
        self._version = 0
        self._uids = 0

    # the port

    def rollouts(self) -> Sequence[Rollout]:
        return list(self._rollouts.values())

    def cached(self, namespace: str, name: str) -> Rollout | None:
        return self._rollouts.get((namespace, name))

    def is_unreadable(self, namespace: str, name: str) -> bool:
        return (namespace, name) in self._texts and (namespace, name) not in self._rollouts

    def take_changes(self) -> set[RolloutId]:
        drained, self._changed = self._changed, set()
        return drained

    def create(self, rollout: Rollout) -> Rollout:
        id_ = (rollout.namespace, rollout.name)

        def make() -> None:
            present = self._rollouts.get(id_)
            if present is not None:
                if _identity(present) == _identity(rollout):
                    return  # ours, made by a call whose answer was lost
                raise AlreadyExists(f'canaryrollouts.autocanary.dev "{rollout.name}" already exists', status=409)
            self._uids += 1
            document = to_document(rollout)
            document["metadata"]["uid"] = f"{self._uids:08x}-ca4a-4000-8000-000000000000"
            document["metadata"]["creationTimestamp"] = format_time(self._clock.now())
            del document["status"]  # a subresource: create does not write it
            self._store(id_, document, "create")

        def finish() -> Rollout:
            made = self._rollouts[id_]
            if self.document(*id_).get("status"):
                return made
            return self._write_status(replace(made, progress=rollout.progress), "update_status")

        return self.faults.run_with_faults("create", rollout.name, make, finish)

    def update_status(self, rollout: Rollout) -> Rollout:
        def write() -> Rollout:
            self._check(rollout)
            return self._write_status(rollout, "update_status")

        return self.faults.run_with_faults("update_status", rollout.name, _nothing, write)

    def replace_status(self, rollout: Rollout) -> Rollout:
        def write() -> Rollout:
            document = self.document(rollout.namespace, rollout.name)
            if document["metadata"]["uid"] != rollout.uid:
                raise Conflict(f"{rollout.name} was deleted and created again", status=409)
            try:
                from_document({**document, "status": to_document(rollout)["status"]})
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise Refused(f"CanaryRollout {rollout.name} cannot be read and is left alone") from error
            return self._write_status(rollout, "replace_status")

        return self.faults.run_with_faults("update_status", rollout.name, _nothing, write)

    def read(self, namespace: str, name: str) -> Rollout | None:
        def find() -> Rollout | None:
            if self.is_unreadable(namespace, name):
                raise Refused(f"CanaryRollout {namespace}/{name} cannot be read and is left alone")
            return self._rollouts.get((namespace, name))

        return self.faults.run_with_faults("read", name, _nothing, find)

    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        def write() -> Rollout:
            present = self._stored_rollout((namespace, name))
            wanted = replace(
                present,
                paused=present.paused if paused is None else paused,
                request=present.request if request is None else request,
            )
            stored = self._store((namespace, name), to_document(wanted), "write_request")
            self._changed.add((namespace, name))
            return stored

        return self.faults.run_with_faults("write_request", name, _nothing, write)

    def delete(self, rollout: Rollout) -> None:
        def drop() -> None:
            id_ = (rollout.namespace, rollout.name)
            present = self._rollouts.get(id_)
            if present is None:
                return
            if present.uid != rollout.uid:
                raise Conflict(f"the UID in the precondition is not that of {rollout.name}", status=409)
            self._delete_stored(id_)

        self.faults.run_with_faults("delete", rollout.name, _nothing, drop)

    # what others do to it

    def document(self, namespace: str, name: str) -> dict[str, Any]:
        """The object as kubectl shows it; NotFound when there is none."""
        if (namespace, name) not in self._texts:
            self._stored_rollout((namespace, name))
        document: dict[str, Any] = json.loads(self._texts[namespace, name])
        return document

    def edit(self, namespace: str, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """A user edits the object by hand, status included; it may be unreadable after that."""
        document = self.document(namespace, name)
        change(document)
        try:
            self._store((namespace, name), document, "edit")
        except (KeyError, TypeError, ValueError, AttributeError):
            self._texts[namespace, name] = json.dumps(document, allow_nan=False)
            self._rollouts.pop((namespace, name), None)
        self._changed.add((namespace, name))

    def remove(self, namespace: str, name: str) -> None:
        """A user deletes the object."""
        self._stored_rollout((namespace, name))
        self._delete_stored((namespace, name))
        self._changed.add((namespace, name))

    def collect_garbage(self, service_uid: str) -> None:
        """What the cluster does with rollouts whose InferenceService is gone."""
        for id_, rollout in tuple(self._rollouts.items()):
            if rollout.service_uid == service_uid:
                self.remove(*id_)

    def _stored_rollout(self, id_: RolloutId) -> Rollout:
        rollout = self._rollouts.get(id_)
        if rollout is None:
            raise NotFound(f'canaryrollouts.autocanary.dev "{id_[1]}" not found in {id_[0]}', status=404)
        return rollout

    def _check(self, rollout: Rollout) -> None:
        document = self.document(rollout.namespace, rollout.name)
        if document["metadata"]["resourceVersion"] != rollout.resource_version:
            raise Conflict(
                f'Operation cannot be fulfilled on canaryrollouts.autocanary.dev "{rollout.name}": the '
                "object has been modified; please apply your changes to the latest version and try again",
                status=409,
            )

    def _write_status(self, rollout: Rollout, verb: str) -> Rollout:
        """The status subresource: spec and metadata stay as they are."""
        id_ = (rollout.namespace, rollout.name)
        document = self.document(*id_)
        document["status"] = to_document(rollout)["status"]
        return self._store(id_, document, verb)

    def _store(self, id_: RolloutId, document: dict[str, Any], verb: str) -> Rollout:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self.admit(document)
        text = json.dumps(document, allow_nan=False)
        rollout = from_document(json.loads(text))
        self._texts[id_], self._rollouts[id_] = text, rollout
        self.writes.append(RolloutWrite(self._clock.now(), verb, *id_, rollout.progress.phase.value))
        return rollout

    def _delete_stored(self, id_: RolloutId) -> None:
        del self._texts[id_]
        rollout = self._rollouts.pop(id_)
        phase = rollout.progress.phase.value
        self.writes.append(RolloutWrite(self._clock.now(), "delete", *id_, phase))


def _identity(rollout: Rollout) -> tuple[object, ...]:
    """What two calls must agree on to have made the same object."""
    return rollout.service_uid, rollout.component, rollout.candidate, rollout.attempt


def _nothing() -> None:
    """A call of one request has nothing before it."""
