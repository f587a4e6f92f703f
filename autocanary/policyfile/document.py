"""One document, examined whole: its shape, what its fields say about each other, and the Policy it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.core.policy import Policy
from autocanary.errors import Problem
from autocanary.policyfile import rules
from autocanary.policyfile.compile import compile_policy
from autocanary.policyfile.faults import Fault, to_problem
from autocanary.policyfile.published import published
from autocanary.policyfile.schema import KIND, check_shape
from autocanary.policyfile.sentences import faults_of
from autocanary.policyfile.yamlnodes import Path, Spots

__all__ = ["examine", "identity", "source_of", "validate"]

_MOST_FAULTS = 100
_SERVER_FIELDS = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""What Kubernetes adds to metadata; allowed, so that `kubectl get -o yaml` gives a usable file."""


def identity(document: Any) -> tuple[str, str]:
    """(namespace, name) of a document, "" where it does not say."""
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    if not isinstance(metadata, Mapping):
        return "", ""
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return namespace if isinstance(namespace, str) else "", name if isinstance(name, str) else ""


def source_of(namespace: str, name: str) -> str:
    """How messages call a policy that is a custom resource."""
    return f"{KIND.lower()} {namespace}/{name}"


def validate(document: Mapping[str, Any]) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy in a custom resource, or everything that is wrong with it. Nothing is raised."""
    source = source_of(*identity(document))
    return examine(document, source=source, origin=source)


def examine(
    document: Any,
    *,
    source: str,
    origin: str,
    spots: Spots | None = None,
    trapped: set[Path] | frozenset[Path] = frozenset(),
) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy in a document, or its problems, in document order.

    ``spots`` turns paths into lines; values at ``trapped`` paths have been complained about already.
    """
    if not isinstance(document, Mapping):
        message = "a policy is a mapping with apiVersion, kind, metadata and spec"
        return None, (to_problem(Fault((), message), source, spots),)
    written = _without_server_fields(document)
    shaped, errors = check_shape(written)
    faults = [fault for fault in faults_of(errors, published()) if not _is_empty(written, fault.path)]
    faults += rules.check(written)
    faults = [fault for fault in faults if not any(fault.path[: len(path)] == path for path in trapped)]
    if faults or shaped is None:
        return None, _problems(faults, source, spots)
    return compile_policy(shaped, written["spec"], origin), ()


def _problems(faults: list[Fault], source: str, spots: Spots | None) -> tuple[Problem, ...]:
    problems = list(dict.fromkeys(to_problem(fault, source, spots) for fault in faults))
    problems.sort(key=lambda each: (each.line, each.column))
    more = len(problems) - _MOST_FAULTS
    if more > 0:
        last = problems[_MOST_FAULTS - 1]
        message = f"and {more} more faults"
        problems[_MOST_FAULTS:] = [Problem(source, last.line, last.column, message, "mend the first ones")]
    return tuple(problems)


def _without_server_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    written = {key: value for key, value in document.items() if key != "status"}
    if isinstance(written.get("metadata"), Mapping):
        written["metadata"] = {
            key: value for key, value in written["metadata"].items() if key not in _SERVER_FIELDS
        }
    return written


def _is_empty(document: Any, path: Path) -> bool:
    """Whether there is a null at the path, which rules.py has better words for."""
    here = document
    for part in path:
        known = (
            part in here if isinstance(here, Mapping) else isinstance(here, list) and part in range(len(here))
        )
        if not known:
            return False
        here = here[part]
    return here is None
