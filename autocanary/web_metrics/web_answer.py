"""What a service answered about one revision: JSON in, a value, counts, "unknown", or why it is no answer. Pure.

::

    {"value": 0.97, "samples": 240, "at": 1767225600}     a number over the window
    {"bad": 3, "total": 240, "at": 1767225600}            whole numbers since the revision began
    {"unknown": "no label has arrived yet"}               no data

``samples`` and ``at`` may be left out, other fields are ignored, and whatever is wrong makes it no answer: a number is
never guessed from what is not one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.errors import MetricsUnreachable
from autocanary.model.measurement import WebAnswerForm

__all__ = ["BadAnswer", "WebAnswer", "read_answer"]

_FUTURE_SECONDS = 60.0
"""How far a service's clock may be ahead."""
_LARGEST_COUNT = 2**53
_FORM_FIELDS = ("value", "bad", "total", "unknown")
_WANTED = {
    WebAnswerForm.VALUE: 'expected {"value": number} or {"unknown": "why"}',
    WebAnswerForm.COUNTS: 'expected {"bad": number, "total": number} or {"unknown": "why"}',
}


class BadAnswer(MetricsUnreachable):
    """The body is no answer; the text says what is wrong with it and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """``value`` and ``samples``, or ``bad`` of ``total`` since the revision began, or ``unknown`` and nothing else.

    ``at`` is the time of the newest sample in epoch seconds, that of the question where the answer has none.
    """

    at: float
    value: float | None = None
    samples: float | None = None
    bad: int = 0
    total: int | None = None
    unknown: str | None = None


def read_answer(body: bytes, form: WebAnswerForm, asked_at: float) -> WebAnswer:
    """The answer to a question asked at ``asked_at`` (epoch seconds); BadAnswer for anything else."""
    document = _decode(body)
    forms = [name for name in _FORM_FIELDS if name in document]
    at = _time(document["at"], asked_at) if "at" in document else asked_at
    if forms == ["unknown"]:
        if not isinstance(document["unknown"], str):
            raise BadAnswer('"unknown" is not a text')
        return WebAnswer(at, unknown=document["unknown"])
    if form is WebAnswerForm.VALUE and forms == ["value"]:
        samples = _count(document["samples"], "samples") if "samples" in document else None
        return WebAnswer(at, value=_number(document["value"], "value"), samples=samples)
    if form is WebAnswerForm.COUNTS and forms == ["bad", "total"]:
        bad, total = _count(document["bad"], "bad"), _count(document["total"], "total")
        if bad > total:
            raise BadAnswer('"bad" is more than "total"')
        return WebAnswer(at, bad=bad, total=total)
    found = f"it has {_listed(forms)}" if forms else "it has none of the fields"
    raise BadAnswer(f"{found}: {_WANTED[form]}")


def _decode(body: bytes) -> Mapping[str, Any]:
    def no_constant(_: str) -> None:
        raise BadAnswer("a number in it is NaN or infinite")

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BadAnswer("a field stands in it twice")
        return found

    try:
        document = json.loads(body.decode("utf-8"), parse_constant=no_constant, object_pairs_hook=unique)
    except RecursionError:
        raise BadAnswer("its JSON is nested too deep") from None
    except ValueError:  # UnicodeDecodeError, JSONDecodeError, and integers of thousands of digits
        raise BadAnswer("it is not JSON") from None
    if not isinstance(document, dict):
        raise BadAnswer("it is not a JSON object")
    return document


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadAnswer(f'"{name}" is not a number')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadAnswer(f'"{name}" is NaN or infinite')
    return number


def _count(value: Any, name: str) -> int:
    number = _number(value, name)
    if number < 0:
        raise BadAnswer(f'"{name}" is negative')
    if number != int(number) or number > _LARGEST_COUNT:
        raise BadAnswer(f'"{name}" is not a whole number')
    return int(number)


def _time(value: Any, asked_at: float) -> float:
    at = _number(value, "at")
    if at > asked_at + _FUTURE_SECONDS:
        unit = ": is it in milliseconds?" if at > 100 * asked_at else ""
        raise BadAnswer(f'"at" is in the future{unit}')
    if at < 0:
        raise BadAnswer('"at" is negative')
    return min(at, asked_at)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f'"{name}"' for name in names)
