"""What a misspelt word was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest", "probable"]

_LONGEST = 100  # comparing costs the square of the length


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that ``word`` was probably meant to be, "" when none is close.

    >>> nearest("stepWieghts", ["stepWeights", "steps"])
    'stepWeights'
    """
    if len(word) > _LONGEST:
        return ""
    folded = {each.lower(): each for each in known}
    found = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def probable(word: str, known: Iterable[str]) -> str:
    """Like ``nearest``; without one, the longest known word that ``word`` begins with."""
    words = list(known)
    starting = [each for each in words if len(each) > 2 and word.lower().startswith(each.lower())]
    return nearest(word, words) or max(starting, key=len, default="")


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "known: ") -> str:
    """A hint: the nearest known word, or all of them."""
    words = list(known)
    near = probable(word, words)
    return f"did you mean {near}?" if near else f"{otherwise}{', '.join(words)}"
