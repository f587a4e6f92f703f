"""An API server in memory for InferenceServices: versions, preconditions, field managers, refusals.

It answers as the real one was measured to answer (KServe's webhooks included). Documents are never changed
in place, so a reader may keep one; no caller may change one.

Over 300 lines because versions, watches and conflicts are one consistent store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, Refused
from autocanary.kserve import merge_patch
from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.kserve.v1beta1 import WEIGHT
from autocanary.model.policy import Component
from autocanary.model.time_format import format_time
from autocanary.simulator.admission_webhooks import admit
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["InMemoryApiServer", "NamespacedName"]

NamespacedName = tuple[str, str]
Document = Mapping[str, Any]
_GROUP_RESOURCE = "inferenceservices.serving.kserve.io"
_COMPONENTS = tuple(component.value for component in Component)
_CONTENT = "content"  # of the spec, apart from the weights
_VERSIONS_KEPT = 100
_V1ALPHA2, _SPEC = V1Alpha2().api_version, "spec"


class InMemoryApiServer:
    """``watch`` callbacks hear the name of whatever was written, and whether its spec or metadata moved.

    ``minimal_crd``: the spec is one atomic field, so a server-side apply owns and replaces all of it.
    ``webhook_down``: KServe's admission webhook cannot be reached, and every write is a 500.
    ``without_canaries``: KFServing's is that of 0.5 or 0.6, which refuses every weight in v1alpha2.
    """

    def __init__(self, clock: VirtualClock, *, minimal_crd: bool = False) -> None:
        self._clock = clock
        self.minimal_crd = minimal_crd
        self.webhook_down = self.without_canaries = False
        self._documents: dict[NamespacedName, dict[str, Any]] = {}
        self._versions: dict[NamespacedName, deque[Document]] = {}
        self._applied: dict[tuple[NamespacedName, str], Document] = {}
        self._managers: dict[NamespacedName, dict[str, tuple[str, str]]] = {}
        self._watchers: list[Callable[[NamespacedName, bool], None]] = []
        self._version = 0
        self._uids = 0

    def watch(self, callback: Callable[[NamespacedName, bool], None]) -> None:
        self._watchers.append(callback)

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._documents.values()))

    def find(self, name: NamespacedName) -> Document | None:
        return self._documents.get(name)

    def get(self, name: NamespacedName) -> Document:
        document = self._documents.get(name)
        if document is None:
            raise NotFound(f'{_GROUP_RESOURCE} "{name[1]}" not found in namespace {name[0]}', status=404)
        return document

    def at_version(self, name: NamespacedName, version: str) -> Document | None:
        """The object as it was at a resourceVersion; None when it did not exist, or is not kept any more."""
        kept = self._versions.get(name, ())
        before = (each for each in reversed(kept) if int(each["metadata"]["resourceVersion"]) <= int(version))
        return next(before, None)

    def compact(self) -> None:
        """Forget every version but the present ones, as etcd does every few minutes."""
        self._versions.clear()

    def create(self, document: Document, manager: str = "kubectl") -> Document:
        self._require_webhook()
        metadata = document["metadata"]
        name = (metadata["namespace"], metadata["name"])
        if name in self._documents:
            raise AlreadyExists(f'{_GROUP_RESOURCE} "{name[1]}" already exists', status=409)
        self._uids += 1
        made: dict[str, Any] = {
            **{key: value for key, value in document.items() if key != "status"},
            "metadata": {
                **metadata,
                "uid": f"{self._uids:08x}-5e1f-4000-8000-000000000000",
                "creationTimestamp": format_time(self._clock.now()),
                "finalizers": ["inferenceservice.finalizers"],
                "generation": 1,
            },
            "spec": admit(document, without_canaries=self.without_canaries),
        }
        self._managers[name] = {}
        return self._store(name, {}, made, manager)

    def patch(self, name: NamespacedName, body: Mapping[str, Any], manager: str = "kubectl") -> Document:
        """A JSON merge-patch; ``resourceVersion`` and ``uid`` in it are preconditions."""
        self._require_webhook()
        stored = self.get(name)
        self._check(name, stored, body.get("metadata") or {})
        after = merge_patch.apply(stored, {key: value for key, value in body.items() if key != "status"})
        return self._update(name, stored, after, manager)

    def replace(self, document: Document, manager: str = "kubectl") -> Document:
        """PUT: what the document does not say is gone."""
        self._require_webhook()
        metadata = document["metadata"]
        name = (metadata["namespace"], metadata["name"])
        stored = self.get(name)
        self._check(name, stored, metadata)
        after = {**stored, "spec": document.get("spec") or {}}
        said = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
        rest = {key: value for key, value in stored["metadata"].items() if key not in ("labels", "annotations")}
        after["metadata"] = rest | said
        return self._update(name, stored, after, manager)

    def apply(
        self, document: Document, manager: str = "kubectl", *, server_side: bool = True, force: bool = False
    ) -> Document:
        """``kubectl apply`` or a GitOps tool's: server-side (with or without force) or client-side.

        Fields that the manager's last manifest had and this one has not are removed, unless server-side
        another client has changed them since.
        """
        self._require_webhook()
        metadata = document["metadata"]
        name = (metadata["namespace"], metadata["name"])
        last = self._applied.get((name, manager), {})
        stored = self._documents.get(name)
        if stored is None:
            made = self.create(document, manager)
            self._applied[name, manager] = document
            return made
        if server_side and not force:
            self._check_conflicts(name, manager, stored, last, document)
        if server_side and self.minimal_crd:
            after = {**stored, "spec": document["spec"]}
        else:
            dropped = _removed_fields(last, document, stored if server_side else None)
            after = merge_patch.apply(
                merge_patch.apply(stored, dropped), {key: document[key] for key in ("metadata", "spec")}
            )
        result = self._update(name, stored, after, manager)
        self._applied[name, manager] = document
        return result

    def delete(self, name: NamespacedName) -> Document:
        """Marks for deletion; the finalizer's owner calls ``remove``."""
        stored = self.get(name)
        metadata = stored["metadata"]
        if metadata.get("deletionTimestamp"):
            return stored
        marked = {
            **metadata,
            "deletionTimestamp": format_time(self._clock.now()),
            "generation": metadata["generation"] + 1,
        }
        return self._put(name, {**stored, "metadata": marked}, True)

    def remove(self, name: NamespacedName) -> None:
        """The object is gone."""
        self._documents.pop(name, None)
        self._managers.pop(name, None)
        self._versions.pop(name, None)
        self._applied = {key: value for key, value in self._applied.items() if key[0] != name}
        self._notify_watchers(name, True)

    def write_status(self, name: NamespacedName, status: Mapping[str, Any]) -> None:
        """The status subresource; an object that is gone is no error, as for a controller that comes late."""
        stored = self._documents.get(name)
        if stored is not None:
            self._put(name, {**stored, "status": status}, False)

    def _update(self, name: NamespacedName, stored: Document, after: dict[str, Any], manager: str) -> Document:
        after["spec"] = admit(after, without_canaries=self.without_canaries)
        metadata = dict(after["metadata"])
        for fixed in ("resourceVersion", "uid", "managedFields", "generation", "namespace", "name"):
            metadata[fixed] = stored["metadata"].get(fixed)
        after["metadata"] = metadata
        if after["spec"] == stored.get("spec") and metadata == stored["metadata"]:
            return stored
        if after["spec"] != stored.get("spec"):
            metadata["generation"] += 1
        return self._store(name, stored.get("spec") or {}, after, manager)

    def _store(self, name: NamespacedName, before: Mapping[str, Any], made: dict[str, Any], manager: str) -> Document:
        self._record_manager(name, before, made, manager)
        made["metadata"]["managedFields"] = self._managed_fields(name)
        if made["metadata"].get("annotations") == {}:
            del made["metadata"]["annotations"]
        return self._put(name, made, True)

    def _put(self, name: NamespacedName, document: dict[str, Any], spec_changed: bool) -> Document:
        self._version += 1
        document["metadata"] = {**document["metadata"], "resourceVersion": str(self._version)}
        self._documents[name] = document
        self._versions.setdefault(name, deque(maxlen=_VERSIONS_KEPT)).append(document)
        self._notify_watchers(name, spec_changed)
        return document

    def _notify_watchers(self, name: NamespacedName, spec_changed: bool) -> None:
        for watcher in self._watchers:
            watcher(name, spec_changed)

    def _require_webhook(self) -> None:
        if self.webhook_down:
            where = "inferenceservice.kserve-webhook-server.defaulter"
            raise Busy(f'Internal error occurred: failed calling webhook "{where}"', status=500)

    def _check(self, name: NamespacedName, stored: Document, said: Mapping[str, Any]) -> None:
        version, uid = said.get("resourceVersion"), said.get("uid")
        if uid is not None and uid != stored["metadata"]["uid"]:
            said_of = f'InferenceService "{name[1]}" is invalid: metadata.uid: Invalid value: "{uid}"'
            raise Refused(f"{said_of}: field is immutable", status=422)
        if version is not None and version != stored["metadata"]["resourceVersion"]:
            raise Conflict(
                f'Operation cannot be fulfilled on {_GROUP_RESOURCE} "{name[1]}": the object has been '
                "modified; please apply your changes to the latest version and try again",
                status=409,
            )

    def _check_conflicts(
        self, name: NamespacedName, manager: str, stored: Document, last: Document, document: Document
    ) -> None:
        if self.minimal_crd:
            conflicting = stored["spec"] != last.get("spec") and document["spec"] != stored["spec"]
        else:
            conflicting = _conflicts(stored["spec"], last.get("spec") or {}, document["spec"])
        if conflicting:
            raise Conflict(
                f'Apply failed with 1 conflict: fields of {name[1]} that "{manager}" applies were changed '
                "by another manager",
                status=409,
            )

    def _record_manager(
        self, name: NamespacedName, before: Mapping[str, Any], made: Mapping[str, Any], manager: str
    ) -> None:
        managers, at, after = self._managers[name], format_time(self._clock.now()) or "", made["spec"]
        old = made["apiVersion"] == _V1ALPHA2
        if not old and _without_weights(before) != _without_weights(after):
            managers[_CONTENT] = (manager, at)
        if self.minimal_crd and not old and before != after:
            managers[""] = (manager, at)
        for component in (_SPEC,) if old else _COMPONENTS:
            was, now = (_weight_of(spec, component) for spec in (before, after))
            if was == now:
                continue
            if now is None:
                managers.pop(component, None)
            else:
                managers[component] = (manager, at)

    def _managed_fields(self, name: NamespacedName) -> list[dict[str, Any]]:
        managers = self._managers[name]
        owned: dict[str, dict[str, Any]]
        if _SPEC in managers:
            owned = {_SPEC: {"f:spec": {f"f:{WEIGHT}": {}}}}
        elif self.minimal_crd:
            owned = {"": {"f:spec": {}}} if "" in managers else {}
        else:
            owned = {part: {"f:spec": {f"f:{part}": {f"f:{WEIGHT}": {}}}} for part in managers if part in _COMPONENTS}
            if _CONTENT in managers:
                owned[_CONTENT] = {"f:spec": {f"f:{Component.PREDICTOR.value}": {"f:model": {}}}}
        return [
            {
                "manager": managers[part][0],
                "operation": "Update",
                "time": managers[part][1],
                "fieldsV1": fields,
            }
            for part, fields in owned.items()
        ]


def _without_weights(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in part.items() if key != WEIGHT} if isinstance(part, Mapping) else part
        for name, part in spec.items()
    }


def _weight_of(spec: Mapping[str, Any], component: str) -> Any:
    if component == _SPEC:
        return spec.get(WEIGHT)
    part = spec.get(component)
    return part.get(WEIGHT) if isinstance(part, Mapping) else None


def _conflicts(stored: Any, last: Any, wanted: Any) -> bool:
    """Whether ``wanted`` would overwrite something that has changed since it was applied last."""
    if isinstance(wanted, Mapping) and isinstance(stored, Mapping):
        old = last if isinstance(last, Mapping) else {}
        return any(_conflicts(stored.get(key), old.get(key), value) for key, value in wanted.items())
    return bool(stored is not None and wanted != stored and stored != last)


def _removed_fields(last: Document, document: Document, stored: Document | None) -> dict[str, Any]:
    """A patch that removes what the last manifest had and this one has not (nothing that others own)."""
    patch: dict[str, Any] = {}
    for key, old in last.items():
        if key in ("apiVersion", "kind", "status"):
            continue
        present = stored.get(key) if stored is not None else None
        if key not in document:
            if stored is None or present == old:
                patch[key] = None
        elif isinstance(old, Mapping) and isinstance(document[key], Mapping):
            inner = _removed_fields(old, document[key], (present or {}) if stored is not None else None)
            if inner:
                patch[key] = inner
    return patch
