"""One document, examined whole: its shape, what its fields say about each other, and the Policy it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autocanary.errors import Problem
from autocanary.model.policy import Policy
from autocanary.policy_files import cross_field_checks
from autocanary.policy_files.compile import compile_policy
from autocanary.policy_files.document_size import check_size
from autocanary.policy_files.json_schema import policy_json_schema
from autocanary.policy_files.policy_errors import FieldPath, FieldProblem, SourcePositions, to_problem
from autocanary.policy_files.schema import KIND, Document, parse_document
from autocanary.policy_files.schema_errors import schema_problems
from autocanary.policy_files.typo_repair import RepairedDocument, repair_typos
from autocanary.policy_files.units import cut_text

__all__ = ["ValidationResult", "custom_resource_source", "policy_key", "validate", "validate_document"]

_MAX_PROBLEMS = 100
_MAX_SCHEMA_ERRORS = 200  # each costs a search for the nearest known word
_MAX_REPAIR_ROUNDS = 10  # a policy is about as many levels deep, and each may hide the next
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
"""What Kubernetes adds to metadata; allowed, so that the output of `kubectl get -o yaml` is a usable file."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A policy or its problems, and what the document was probably meant to be."""

    policy: Policy | None
    problems: tuple[Problem, ...]
    repaired: RepairedDocument


def policy_key(document: Any) -> tuple[str, str]:
    """(namespace, name) of a document, "" where it does not say."""
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    if not isinstance(metadata, Mapping):
        return "", ""
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return namespace if isinstance(namespace, str) else "", name if isinstance(name, str) else ""


def custom_resource_source(namespace: str, name: str) -> str:
    """How messages call a policy that is a custom resource."""
    return f"{KIND.lower()} {cut_text(namespace)}/{cut_text(name)}"


def validate(document: Mapping[str, Any]) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy in a custom resource, or everything that is wrong with it. Nothing is raised."""
    source = custom_resource_source(*policy_key(document))
    result = validate_document(document, source=source, origin=source)
    return result.policy, result.problems


def validate_document(
    document: Any,
    *,
    source: str,
    origin: str,
    positions: SourcePositions | None = None,
    misread_paths: set[FieldPath] | frozenset[FieldPath] = frozenset(),
) -> ValidationResult:
    """The policy in a document, or its problems, in document order. Nothing is raised.

    ``positions`` turns paths into lines; values at ``misread_paths`` already have a problem.
    """
    if not isinstance(document, Mapping):
        message = "a policy is a mapping with apiVersion, kind, metadata and spec"
        return ValidationResult(None, (to_problem(FieldProblem((), message), source, positions),), RepairedDocument({}))
    original = _without_server_fields(document)
    if (too_large := check_size(original)) is not None:
        return ValidationResult(None, (to_problem(too_large, source, positions),), RepairedDocument({}))
    try:
        return _validate_sized(original, source, origin, positions, misread_paths)
    except (RecursionError, MemoryError) as error:
        # One policy must not hide those after it, whatever the checks above have overlooked.
        message = f"the policy needs more memory or stack than the service has ({type(error).__name__})"
        field_problem = FieldProblem((), message, "make it smaller or flatter")
        return ValidationResult(None, (to_problem(field_problem, source, positions),), RepairedDocument({}))


def _validate_sized(
    original: dict[str, Any],
    source: str,
    origin: str,
    positions: SourcePositions | None,
    misread_paths: set[FieldPath] | frozenset[FieldPath],
) -> ValidationResult:
    parsed, field_problems = _check(original)
    repaired, found = (
        _check_with_repairs(RepairedDocument(original), field_problems)
        if field_problems
        else (RepairedDocument(original), [])
    )
    found = [
        field_problem
        for field_problem in found
        if not any(field_problem.path[: len(path)] == path for path in misread_paths)
    ]
    if found or misread_paths or parsed is None:
        return ValidationResult(None, _problems(found, source, positions), repaired)
    return ValidationResult(compile_policy(parsed, original["spec"], origin), (), repaired)


def _check(document: dict[str, Any]) -> tuple[Document | None, list[FieldProblem]]:
    parsed, errors = parse_document(document)
    field_problems = [
        field_problem
        for field_problem in schema_problems(errors[:_MAX_SCHEMA_ERRORS], policy_json_schema())
        if not _is_empty(document, field_problem.path)
    ]
    return parsed, [*field_problems, *cross_field_checks.check_cross_fields(document)]


def _check_with_repairs(
    repaired: RepairedDocument, field_problems: list[FieldProblem]
) -> tuple[RepairedDocument, list[FieldProblem]]:
    """Every problem, those behind misspelt words included, and without those that only follow from one."""
    reported: list[FieldProblem] = []
    for _ in range(_MAX_REPAIR_ROUNDS):
        better, fixed = repair_typos(repaired, field_problems)
        if not fixed:
            break
        reported += (replace(field_problem, path=repaired.original(field_problem.path)) for field_problem in fixed)
        repaired = better
        _, field_problems = _check(repaired.value)
    left = (field_problem for field_problem in field_problems if field_problem.path not in repaired.guessed_paths)
    return repaired, [
        *reported,
        *(replace(field_problem, path=repaired.original(field_problem.path)) for field_problem in left),
    ]


def _problems(
    field_problems: list[FieldProblem], source: str, positions: SourcePositions | None
) -> tuple[Problem, ...]:
    problems = list(dict.fromkeys(to_problem(field_problem, source, positions) for field_problem in field_problems))
    problems.sort(key=lambda each: (each.line, each.column))
    more = len(problems) - _MAX_PROBLEMS
    if more > 0:
        last = problems[_MAX_PROBLEMS - 1]
        message = f"and {more} more problems"
        problems[_MAX_PROBLEMS:] = [Problem(source, last.line, last.column, message, "repair the first ones")]
    return tuple(problems)


def _without_server_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    original = {key: value for key, value in document.items() if key != "status"}
    if isinstance(original.get("metadata"), Mapping):
        original["metadata"] = {key: value for key, value in original["metadata"].items() if key not in _SERVER_FIELDS}
    return original


def _is_empty(document: Any, path: FieldPath) -> bool:
    """Whether there is a null at the path, which cross_field_checks.py has better words for."""
    here = document
    for part in path:
        known = part in here if isinstance(here, Mapping) else isinstance(here, list) and part in range(len(here))
        if not known:
            return False
        here = here[part]
    return here is None
