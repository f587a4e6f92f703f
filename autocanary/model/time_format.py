"""Instants as Kubernetes writes them, and as this program counts them: seconds since the epoch.

Durations of flags and settings as users write them: ``5s``, ``1h30m``; a plain number is seconds.

A policy is stricter: there a bare number is refused, because the tools that policies come from disagree.
"""

from __future__ import annotations

import itertools
import re
from datetime import datetime, timezone

__all__ = ["format_time", "parse_duration", "parse_time"]


def format_time(at: float | None) -> str | None:
    """Epoch seconds as Kubernetes writes times (UTC, whole seconds)."""
    if at is None:
        return None
    return datetime.fromtimestamp(int(at), tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> float | None:
    """The inverse of ``format_time``; None for None."""
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds in ``text``; parts are added, largest unit first (``1h30m``), each unit at most once.

    >>> parse_duration("1h30m"), parse_duration("500ms"), parse_duration("30")
    (5400.0, 0.5, 30.0)

    Raises ValueError with a sentence that says what was expected.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise ValueError("expected a duration such as 500ms, 5s, 10m or 1h30m, or a number of seconds")
    parts = _PART.findall(text)
    sizes = [_SECONDS[unit] for _, unit in parts]
    if any(left <= right for left, right in itertools.pairwise(sizes)):
        raise ValueError("expected a duration with its largest unit first, each unit once, such as 1h30m")
    return sum(float(count) * size for (count, _), size in zip(parts, sizes, strict=True))
