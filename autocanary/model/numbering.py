"""Knative numbers a service's revisions from 00001 on, and anew when its Knative service was made anew.

That happens without a new InferenceService: it was stopped and resumed, or somebody deleted what it owns.
From then on the old names belong to other revisions.
"""

from __future__ import annotations

import re

__all__ = ["is_earlier", "number"]

_NUMBER = re.compile(r"-(\d{5,})$")


def number(revision: str) -> int | None:
    """The number at the end of a revision's name; None for names of Knatives that draw lots.

    >>> number("mnist-predictor-00002")
    2
    """
    found = _NUMBER.search(revision)
    return int(found.group(1)) if found else None


def is_earlier(revision: str, other: str) -> bool:
    """Whether ``revision`` has a lower number: as the newest one it proves that the numbers began anew."""
    mine, its = number(revision), number(other)
    return mine is not None and its is not None and mine < its
