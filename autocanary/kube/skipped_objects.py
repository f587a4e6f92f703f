"""What a cache leaves out: objects that cannot be read, and those for which their namespace has no room."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autocanary import logs
from autocanary.kube.cache import ObjectKey
from autocanary.kube.resource import Resource
from autocanary.model.foreign_text import clean_text

__all__ = ["NAMESPACE_BYTES", "NamespaceSizes", "SkippedObjects"]

_log = logs.logger("autocanary.kube.list_watch")


NAMESPACE_BYTES = 32 * 1024 * 1024
"""Of all objects of a kind in one namespace, as JSON: one namespace must not fill the memory for all."""


class SkippedObjects:
    """The objects of one resource that are left out now, and why; each reason is logged once."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._reasons: dict[ObjectKey, str] = {}

    def reasons(self) -> Mapping[ObjectKey, str]:
        return dict(self._reasons)

    def add(self, key: ObjectKey, reason: str) -> None:
        """Note an object that is left out; logged when the reason is new."""
        reason = clean_text(reason)
        if self._reasons.get(key) == reason:
            return
        self._reasons[key] = reason
        _log.warning(
            "object_skipped",
            resource=str(self._resource),
            namespace=key.namespace,
            object=key.name or "(its name cannot be read)",
            error=reason,
            hint="correct or delete it; the other objects are followed",
        )

    def forget(self, key: ObjectKey) -> None:
        """It can be read again, or is gone."""
        self._reasons.pop(key, None)

    def keep_only(self, existing: Collection[ObjectKey]) -> None:
        """All others are gone."""
        self._reasons = {key: reason for key, reason in self._reasons.items() if key in existing}


class NamespaceSizes:
    """How many bytes the objects of each namespace have together: one namespace must not take all memory."""

    def __init__(self) -> None:
        self._sizes: dict[ObjectKey, int] = {}
        self._by_namespace: dict[str, int] = {}

    def has_room(self, key: ObjectKey, size: int) -> bool:
        """Whether the object fits beside the others of its namespace; one that became smaller does."""
        before = self._sizes.get(key, 0)
        return size <= before or self._by_namespace.get(key.namespace, 0) - before + size <= NAMESPACE_BYTES

    @staticmethod
    def full_text() -> str:
        """Why an object without room is left out."""
        return f"the objects of its namespace are larger than {NAMESPACE_BYTES >> 20} MiB together"

    def note(self, key: ObjectKey, size: int) -> None:
        """The bytes that an object has from now on; 0 when it is gone."""
        total = self._by_namespace.get(key.namespace, 0) - self._sizes.pop(key, 0) + size
        if size:
            self._sizes[key] = size
        if total > 0:
            self._by_namespace[key.namespace] = total
        else:
            self._by_namespace.pop(key.namespace, None)

    def keep_only(self, existing: Collection[ObjectKey]) -> None:
        """All others are gone."""
        for key in [each for each in self._sizes if each not in existing]:
            self.note(key, 0)
