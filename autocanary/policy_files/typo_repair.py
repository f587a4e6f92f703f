"""What a document was probably meant to say, so that a misspelt word hides no fault behind it.

Nothing is accepted because it could be mended: the draft is only looked at for further faults, and each of
them is told at the place where it was written.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autocanary.policy_files.policy_errors import FieldPath, FieldProblem

__all__ = ["RepairedDocument", "repair_typos"]


@dataclass(frozen=True, slots=True)
class RepairedDocument:
    """A document with misspelt words put right.

    ``moved_paths`` are (where a value is now, where it was), the first move first; ``guessed_paths`` are the
    paths of values that nobody wrote.
    """

    value: Any
    moved_paths: tuple[tuple[FieldPath, FieldPath], ...] = ()
    guessed_paths: frozenset[FieldPath] = frozenset()

    def original(self, path: FieldPath) -> FieldPath:
        """Where the value at a path of the draft stands in the document as it was written."""
        for now, before in reversed(self.moved_paths):
            if path[: len(now)] == now:
                path = (*before, *path[len(now) :])
        return path


def repair_typos(
    repaired: RepairedDocument, field_problems: Iterable[FieldProblem]
) -> tuple[RepairedDocument, list[FieldProblem]]:
    """The draft with every word replaced that was probably meant otherwise, and the faults that were."""
    value = copy.deepcopy(repaired.value)
    moved_paths, guessed_paths, fixed = (
        list(repaired.moved_paths),
        set(repaired.guessed_paths),
        list[FieldProblem](),
    )
    # A field that moves into a part whose name is misspelt finds it only once that is put right.
    for field_problem in sorted(
        field_problems, key=lambda each: len(each.suggestion) if isinstance(each.suggestion, tuple) else 0
    ):
        if isinstance(field_problem.suggestion, tuple):
            if field_problem.suggestion and _move_field(value, field_problem.path, field_problem.suggestion):
                moved_paths.append((field_problem.suggestion, field_problem.path))
                fixed.append(field_problem)
        elif field_problem.suggestion and field_problem.path not in guessed_paths:
            _value_at(value, field_problem.path[:-1])[field_problem.path[-1]] = field_problem.suggestion
            guessed_paths.add(field_problem.path)
            fixed.append(field_problem)
    return RepairedDocument(value, tuple(moved_paths), frozenset(guessed_paths)), fixed


def _move_field(document: Any, old: FieldPath, new: FieldPath) -> bool:
    """Whether there was room at the new place; mappings on the way to it are made."""
    source, target = _value_at(document, old[:-1]), document
    for part in new[:-1]:
        target = target.setdefault(part, {}) if isinstance(target, dict) else _value_at(target, (part,))
    if not isinstance(source, dict) or not isinstance(target, dict) or new[-1] in target:
        return False
    target[new[-1]] = source.pop(old[-1])
    return True


def _value_at(document: Any, path: FieldPath) -> Any:
    """What stands at a path; None where nothing does."""
    here = document
    for part in path:
        try:
            here = here[part]
        except (LookupError, TypeError):
            return None
    return here
