"""One document, examined whole: its shape, what its fields say about each other, and the Policy it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autocanary.errors import Problem
from autocanary.model.policy import Policy
from autocanary.policy_files import cross_field_checks
from autocanary.policy_files.compile import compile_policy
from autocanary.policy_files.json_schema import published
from autocanary.policy_files.policy_errors import Fault, Path, Spots, to_problem
from autocanary.policy_files.schema import KIND, Document, check_shape
from autocanary.policy_files.schema_errors import faults_of
from autocanary.policy_files.typo_repair import Draft, mend

__all__ = ["Examined", "examine", "identity", "source_of", "validate"]

_MOST_FAULTS = 100
_MOST_ROUNDS = 10  # a policy is about as many levels deep, and each may hide the next
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


@dataclass(frozen=True, slots=True)
class Examined:
    """A policy or its problems, and what the document was probably meant to be."""

    policy: Policy | None
    problems: tuple[Problem, ...]
    draft: Draft


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
    examined = examine(document, source=source, origin=source)
    return examined.policy, examined.problems


def examine(
    document: Any,
    *,
    source: str,
    origin: str,
    spots: Spots | None = None,
    trapped: set[Path] | frozenset[Path] = frozenset(),
) -> Examined:
    """The policy in a document, or its problems, in document order.

    ``spots`` turns paths into lines; values at ``trapped`` paths have been complained about already.
    """
    if not isinstance(document, Mapping):
        message = "a policy is a mapping with apiVersion, kind, metadata and spec"
        return Examined(None, (to_problem(Fault((), message), source, spots),), Draft({}))
    written = _without_server_fields(document)
    shaped, faults = _look(written)
    draft, every = _behind(Draft(written), faults) if faults else (Draft(written), [])
    every = [fault for fault in every if not any(fault.path[: len(path)] == path for path in trapped)]
    if every or trapped or shaped is None:
        return Examined(None, _problems(every, source, spots), draft)
    return Examined(compile_policy(shaped, written["spec"], origin), (), draft)


def _look(document: dict[str, Any]) -> tuple[Document | None, list[Fault]]:
    shaped, errors = check_shape(document)
    faults = [fault for fault in faults_of(errors, published()) if not _is_empty(document, fault.path)]
    return shaped, [*faults, *cross_field_checks.check(document)]


def _behind(draft: Draft, faults: list[Fault]) -> tuple[Draft, list[Fault]]:
    """Every fault, those behind misspelt words included, and without those that only follow from one."""
    told: list[Fault] = []
    for _ in range(_MOST_ROUNDS):
        better, mended = mend(draft, faults)
        if not mended:
            break
        told += (replace(fault, path=draft.written(fault.path)) for fault in mended)
        draft = better
        _, faults = _look(draft.value)
    left = (fault for fault in faults if fault.path not in draft.guessed)
    return draft, [*told, *(replace(fault, path=draft.written(fault.path)) for fault in left)]


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
    """Whether there is a null at the path, which cross_field_checks.py has better words for."""
    here = document
    for part in path:
        known = (
            part in here if isinstance(here, Mapping) else isinstance(here, list) and part in range(len(here))
        )
        if not known:
            return False
        here = here[part]
    return here is None
