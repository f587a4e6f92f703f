"""What a document was probably meant to say, so that a misspelt word hides no problem behind it.

A repair accepts nothing: the repaired document only shows further problems, each reported at the place of the
original.
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
    paths of values that are a guess.
    """

    value: Any
    moved_paths: tuple[tuple[FieldPath, FieldPath], ...] = ()
    guessed_paths: frozenset[FieldPath] = frozenset()

    def original(self, path: FieldPath) -> FieldPath:
        """The path in the original document of the value at a path of the repaired one."""
        for now, before in reversed(self.moved_paths):
            if path[: len(now)] == now:
                path = (*before, *path[len(now) :])
        return path


def repair_typos(
    repaired: RepairedDocument, field_problems: Iterable[FieldProblem]
) -> tuple[RepairedDocument, list[FieldProblem]]:
    """The document with every word replaced that was probably meant otherwise, and the problems that this ends."""
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
    """Whether the new place was free; missing mappings on the way to it are added."""
    source, target = _value_at(document, old[:-1]), document
    for part in new[:-1]:
        target = target.setdefault(part, {}) if isinstance(target, dict) else _value_at(target, (part,))
    if not isinstance(source, dict) or not isinstance(target, dict) or new[-1] in target:
        return False
    target[new[-1]] = source.pop(old[-1])
    return True


def _value_at(document: Any, path: FieldPath) -> Any:
    """The value at a path; None where there is none."""
    here = document
    for part in path:
        try:
            here = here[part]
        except (LookupError, TypeError):
            return None
    return here
