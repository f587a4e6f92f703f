"""The version of an InferenceService before its spec was last changed, among those that the API server still has.

An API server keeps every version of an object for some minutes (until etcd is compacted), and answers a list at an
exact resourceVersion from them. The version before one is the one at its resourceVersion minus 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autocanary.kserve.api_generation import Dialect
from autocanary.kserve.document_fields import as_mapping, spec_written_at
from autocanary.model.observation import EarlierVersion, Observation

__all__ = ["MOST_VERSIONS", "ReadVersion", "find_earlier_version"]

MOST_VERSIONS = 40
"""How many versions are read: while a revision starts KServe writes the status some ten times."""

ReadVersion = Callable[[str], Mapping[str, Any] | None]
"""The object as it was at a resourceVersion; None when it did not exist, or is not known any more."""


def find_earlier_version(dialect: Dialect, observation: Observation, read: ReadVersion) -> EarlierVersion | None:
    """The newest version in which the component had another spec; None where it cannot be found."""
    version, newer = observation.resource_version, None
    for _ in range(MOST_VERSIONS):
        if not version.isdecimal():
            return None
        document = read(version)
        if document is None:
            return None
        found = next((each for each in dialect.observe(document) if each.key == observation.key), None)
        if found is None or found.uid != observation.uid:
            return None
        if found.spec_digest != observation.spec_digest:
            return EarlierVersion(found, _seconds_between(document, newer))
        version, newer = str(int(found.resource_version) - 1), document
    return None


def _seconds_between(older: Mapping[str, Any], newer: Mapping[str, Any] | None) -> float | None:
    began, ended = _written_at(older), _written_at(newer or {})
    return ended - began if began is not None and ended is not None else None


def _written_at(document: Mapping[str, Any]) -> float | None:
    return spec_written_at(as_mapping(document.get("metadata")).get("managedFields"))
