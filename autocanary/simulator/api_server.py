"""An API server in memory for InferenceServices: versions, preconditions, field managers, refusals.

It answers as the real one was measured to answer (KServe's webhooks included). Documents are never changed
in place, so a reader may keep one; nobody may write into one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, Refused
from autocanary.kserve import merge_patch
from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.kserve.v1beta1 import WEIGHT
from autocanary.model.policy import Component
from autocanary.model.time_format import iso
from autocanary.simulator.admission_webhooks import admitted
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["Name", "Objects"]

Name = tuple[str, str]
Document = Mapping[str, Any]
_GROUP_RESOURCE = "inferenceservices.serving.kserve.io"
_COMPONENTS = tuple(component.value for component in Component)
_OLD, _WHOLE = V1Alpha2().api_version, "spec"


class Objects:
    """``watch`` callbacks hear the name of whatever was written, and whether its spec or metadata moved.

    ``minimal_crd``: the spec is one atomic field, so a server-side apply owns and replaces all of it.
    ``webhook_down``: KServe's admission webhook cannot be reached, and every write is a 500.
    ``without_canaries``: KFServing's is that of 0.5 or 0.6, which refuses every weight in v1alpha2.
    """

    def __init__(self, clock: VirtualClock, *, minimal_crd: bool = False) -> None:
        self._clock = clock
        self.minimal_crd = minimal_crd
        self.webhook_down = self.without_canaries = False
        self._documents: dict[Name, dict[str, Any]] = {}
        self._applied: dict[tuple[Name, str], Document] = {}
        self._owners: dict[Name, dict[str, tuple[str, str]]] = {}
        self._watchers: list[Callable[[Name, bool], None]] = []
        self._version = 0
        self._uids = 0

    def watch(self, callback: Callable[[Name, bool], None]) -> None:
        self._watchers.append(callback)

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._documents.values()))

    def find(self, name: Name) -> Document | None:
        return self._documents.get(name)

    def get(self, name: Name) -> Document:
        document = self._documents.get(name)
        if document is None:
            raise NotFound(f'{_GROUP_RESOURCE} "{name[1]}" not found in namespace {name[0]}', status=404)
        return document

    def create(self, document: Document, manager: str = "kubectl") -> Document:
        self._ask_webhook()
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
                "creationTimestamp": iso(self._clock.now()),
                "finalizers": ["inferenceservice.finalizers"],
                "generation": 1,
            },
            "spec": admitted(document, without_canaries=self.without_canaries),
        }
        self._owners[name] = {}
        return self._store(name, {}, made, manager)

    def patch(self, name: Name, body: Mapping[str, Any], manager: str = "kubectl") -> Document:
        """A JSON merge-patch; ``resourceVersion`` and ``uid`` in it are preconditions."""
        self._ask_webhook()
        live = self.get(name)
        self._check(name, live, body.get("metadata") or {})
        after = merge_patch.apply(live, {key: value for key, value in body.items() if key != "status"})
        return self._update(name, live, after, manager)

    def replace(self, document: Document, manager: str = "kubectl") -> Document:
        """PUT: what the document does not say is gone."""
        self._ask_webhook()
        metadata = document["metadata"]
        name = (metadata["namespace"], metadata["name"])
        live = self.get(name)
        self._check(name, live, metadata)
        after = {**live, "spec": document.get("spec") or {}}
        said = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
        rest = {key: value for key, value in live["metadata"].items() if key not in ("labels", "annotations")}
        after["metadata"] = rest | said
        return self._update(name, live, after, manager)

    def apply(
        self, document: Document, manager: str = "kubectl", *, server_side: bool = True, force: bool = False
    ) -> Document:
        """``kubectl apply`` or a GitOps tool's: server-side (with or without force) or client-side.

        Fields that the manager's last manifest had and this one has not are removed, unless server-side
        somebody else has changed them since.
        """
        self._ask_webhook()
        metadata = document["metadata"]
        name = (metadata["namespace"], metadata["name"])
        last = self._applied.get((name, manager), {})
        live = self._documents.get(name)
        if live is None:
            made = self.create(document, manager)
            self._applied[name, manager] = document
            return made
        if server_side and not force:
            self._refuse_drift(name, manager, live, last, document)
        if server_side and self.minimal_crd:
            after = {**live, "spec": document["spec"]}
        else:
            dropped = _dropped(last, document, live if server_side else None)
            after = merge_patch.apply(
                merge_patch.apply(live, dropped), {key: document[key] for key in ("metadata", "spec")}
            )
        result = self._update(name, live, after, manager)
        self._applied[name, manager] = document
        return result

    def delete(self, name: Name) -> Document:
        """Marks for deletion; the finalizer's owner calls ``remove``."""
        live = self.get(name)
        metadata = live["metadata"]
        if metadata.get("deletionTimestamp"):
            return live
        marked = {
            **metadata,
            "deletionTimestamp": iso(self._clock.now()),
            "generation": metadata["generation"] + 1,
        }
        return self._put(name, {**live, "metadata": marked}, True)

    def remove(self, name: Name) -> None:
        """The object is gone."""
        self._documents.pop(name, None)
        self._owners.pop(name, None)
        self._applied = {key: value for key, value in self._applied.items() if key[0] != name}
        self._tell(name, True)

    def write_status(self, name: Name, status: Mapping[str, Any]) -> None:
        """The status subresource; an object that is gone is no error, as for a controller that comes late."""
        live = self._documents.get(name)
        if live is not None:
            self._put(name, {**live, "status": status}, False)

    def _update(self, name: Name, live: Document, after: dict[str, Any], manager: str) -> Document:
        after["spec"] = admitted(after, without_canaries=self.without_canaries)
        metadata = dict(after["metadata"])
        for fixed in ("resourceVersion", "uid", "managedFields", "generation", "namespace", "name"):
            metadata[fixed] = live["metadata"].get(fixed)
        after["metadata"] = metadata
        if after["spec"] == live.get("spec") and metadata == live["metadata"]:
            return live
        if after["spec"] != live.get("spec"):
            metadata["generation"] += 1
        return self._store(name, live.get("spec") or {}, after, manager)

    def _store(self, name: Name, before: Mapping[str, Any], made: dict[str, Any], manager: str) -> Document:
        self._note_owner(name, before, made, manager)
        made["metadata"]["managedFields"] = self._managed_fields(name)
        if made["metadata"].get("annotations") == {}:
            del made["metadata"]["annotations"]
        return self._put(name, made, True)

    def _put(self, name: Name, document: dict[str, Any], moved: bool) -> Document:
        self._version += 1
        document["metadata"] = {**document["metadata"], "resourceVersion": str(self._version)}
        self._documents[name] = document
        self._tell(name, moved)
        return document

    def _tell(self, name: Name, moved: bool) -> None:
        for watcher in self._watchers:
            watcher(name, moved)

    def _ask_webhook(self) -> None:
        if self.webhook_down:
            where = "inferenceservice.kserve-webhook-server.defaulter"
            raise Busy(f'Internal error occurred: failed calling webhook "{where}"', status=500)

    def _check(self, name: Name, live: Document, said: Mapping[str, Any]) -> None:
        version, uid = said.get("resourceVersion"), said.get("uid")
        if uid is not None and uid != live["metadata"]["uid"]:
            said_of = f'InferenceService "{name[1]}" is invalid: metadata.uid: Invalid value: "{uid}"'
            raise Refused(f"{said_of}: field is immutable", status=422)
        if version is not None and version != live["metadata"]["resourceVersion"]:
            raise Conflict(
                f'Operation cannot be fulfilled on {_GROUP_RESOURCE} "{name[1]}": the object has been '
                "modified; please apply your changes to the latest version and try again",
                status=409,
            )

    def _refuse_drift(
        self, name: Name, manager: str, live: Document, last: Document, document: Document
    ) -> None:
        if self.minimal_crd:
            drifted = live["spec"] != last.get("spec") and document["spec"] != live["spec"]
        else:
            drifted = _drifts(live["spec"], last.get("spec") or {}, document["spec"])
        if drifted:
            raise Conflict(
                f'Apply failed with 1 conflict: fields of {name[1]} that "{manager}" applies were changed '
                "by another manager",
                status=409,
            )

    def _note_owner(
        self, name: Name, before: Mapping[str, Any], made: Mapping[str, Any], manager: str
    ) -> None:
        owners, at, after = self._owners[name], iso(self._clock.now()) or "", made["spec"]
        old = made["apiVersion"] == _OLD
        if self.minimal_crd and not old and before != after:
            owners[""] = (manager, at)
        for component in (_WHOLE,) if old else _COMPONENTS:
            was, now = (_weight_of(spec, component) for spec in (before, after))
            if was == now:
                continue
            if now is None:
                owners.pop(component, None)
            else:
                owners[component] = (manager, at)

    def _managed_fields(self, name: Name) -> list[dict[str, Any]]:
        owners = self._owners[name]
        owned: dict[str, dict[str, Any]]
        if _WHOLE in owners:
            owned = {_WHOLE: {"f:spec": {f"f:{WEIGHT}": {}}}}
        elif self.minimal_crd:
            owned = {"": {"f:spec": {}}} if "" in owners else {}
        else:
            owned = {part: {"f:spec": {f"f:{part}": {f"f:{WEIGHT}": {}}}} for part in owners if part}
        return [
            {"manager": owners[part][0], "operation": "Update", "time": owners[part][1], "fieldsV1": fields}
            for part, fields in owned.items()
        ]


def _weight_of(spec: Mapping[str, Any], component: str) -> Any:
    if component == _WHOLE:
        return spec.get(WEIGHT)
    part = spec.get(component)
    return part.get(WEIGHT) if isinstance(part, Mapping) else None


def _drifts(live: Any, last: Any, wanted: Any) -> bool:
    """Whether ``wanted`` would overwrite something that has changed since it was applied last."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        old = last if isinstance(last, Mapping) else {}
        return any(_drifts(live.get(key), old.get(key), value) for key, value in wanted.items())
    return bool(live is not None and wanted != live and live != last)


def _dropped(last: Document, document: Document, live: Document | None) -> dict[str, Any]:
    """A patch that removes what the last manifest had and this one has not (nothing that others own)."""
    patch: dict[str, Any] = {}
    for key, old in last.items():
        if key in ("apiVersion", "kind", "status"):
            continue
        present = live.get(key) if live is not None else None
        if key not in document:
            if live is None or present == old:
                patch[key] = None
        elif isinstance(old, Mapping) and isinstance(document[key], Mapping):
            inner = _dropped(old, document[key], (present or {}) if live is not None else None)
            if inner:
                patch[key] = inner
    return patch
