"""What a document was probably meant to say, so that a misspelt word hides no fault behind it.

Nothing is accepted because it could be mended: the draft is only looked at for further faults, and each of
them is told at the place where it was written.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autocanary.policy_files.policy_errors import Fault, Path

__all__ = ["Draft", "mend"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A document with misspelt words put right.

    ``moves`` are (where a value is now, where it was), the first move first; ``guessed`` are the paths of
    values that nobody wrote.
    """

    value: Any
    moves: tuple[tuple[Path, Path], ...] = ()
    guessed: frozenset[Path] = frozenset()

    def written(self, path: Path) -> Path:
        """Where the value at a path of the draft stands in the document as it was written."""
        for now, before in reversed(self.moves):
            if path[: len(now)] == now:
                path = (*before, *path[len(now) :])
        return path


def mend(draft: Draft, faults: Iterable[Fault]) -> tuple[Draft, list[Fault]]:
    """The draft with every word replaced that was probably meant otherwise, and the faults that were."""
    value = copy.deepcopy(draft.value)
    moves, guessed, mended = list(draft.moves), set(draft.guessed), list[Fault]()
    # A field that moves into a part whose name is misspelt finds it only once that is put right.
    for fault in sorted(faults, key=lambda each: len(each.meant) if isinstance(each.meant, tuple) else 0):
        if isinstance(fault.meant, tuple):
            if fault.meant and _move(value, fault.path, fault.meant):
                moves.append((fault.meant, fault.path))
                mended.append(fault)
        elif fault.meant and fault.path not in guessed:
            _inside(value, fault.path[:-1])[fault.path[-1]] = fault.meant
            guessed.add(fault.path)
            mended.append(fault)
    return Draft(value, tuple(moves), frozenset(guessed)), mended


def _move(document: Any, old: Path, new: Path) -> bool:
    """Whether there was room at the new place; mappings on the way to it are made."""
    source, target = _inside(document, old[:-1]), document
    for part in new[:-1]:
        target = target.setdefault(part, {}) if isinstance(target, dict) else _inside(target, (part,))
    if not isinstance(source, dict) or not isinstance(target, dict) or new[-1] in target:
        return False
    target[new[-1]] = source.pop(old[-1])
    return True


def _inside(document: Any, path: Path) -> Any:
    """What stands at a path; None where nothing does."""
    here = document
    for part in path:
        try:
            here = here[part]
        except (LookupError, TypeError):
            return None
    return here
