"""Values with units as users write them: durations, percentages, times of day, ranges of a metric.

Each reader takes a YAML value and returns it in the unit of ``model``, or raises QuantityError with what to
write instead. A number without its unit is refused where more than one unit is likely: the tools that users
know disagree (Flagger's latencies are milliseconds, Prometheus' seconds; success rates
are percent in one and 0..1 in the other), and a wrong guess rolls models out or back.
"""

from __future__ import annotations

import math
import re
from datetime import time
from typing import Any

from autocanary.model.measurement import Unit

__all__ = [
    "DURATION_PATTERN",
    "PERCENT_PATTERN",
    "TIME_PATTERN",
    "QuantityError",
    "cut_text",
    "escape_unprintable",
    "format_duration",
    "format_number",
    "format_value",
    "parse_duration",
    "parse_seconds",
    "parse_threshold",
    "parse_time_of_day",
    "percent",
]

_AMOUNT = r"[0-9]+(?:\.[0-9]+)?"
DURATION_PATTERN = rf"^(?=.)(?:{_AMOUNT}h)?(?:{_AMOUNT}m)?(?:{_AMOUNT}s)?(?:{_AMOUNT}ms)?$"
PERCENT_PATTERN = rf"^{_AMOUNT} ?%$"
TIME_PATTERN = r"^([01][0-9]|2[0-4]):[0-5][0-9]$"

_DURATION = re.compile(rf"(?:(?P<h>{_AMOUNT})h)?(?:(?P<m>{_AMOUNT})m)?(?:(?P<s>{_AMOUNT})s)?(?:(?P<ms>{_AMOUNT})ms)?")
_PERCENT = re.compile(rf"({_AMOUNT}) ?%")
_TIME = re.compile(r"([0-9]{2}):([0-9]{2})")
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MAX_DURATION = 366 * 24 * 3600.0
_MAX_SHOWN_LENGTH = 40


class QuantityError(ValueError):
    """A value cannot be read; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def format_number(value: float) -> str:
    """A number without needless digits.

    >>> format_number(5.0), format_number(0.25)
    ('5', '0.25')
    """
    return f"{value:.10g}"


def format_value(value: Any) -> str:
    """A value as it appears in a message: short, and as YAML writes it."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int) and abs(value) >= 10**_MAX_SHOWN_LENGTH:
        text = "a number of many digits"
    elif isinstance(value, int | float):
        text = format_number(value) if isinstance(value, float) else str(value)
    elif isinstance(value, dict):
        text = "a mapping"
    elif isinstance(value, list):
        text = "a list"
    else:
        text = str(value)
    return cut_text(text, _MAX_SHOWN_LENGTH)


def cut_text(text: str, most: int = 253) -> str:
    """At most so many characters of a text, on one line; 253 is the longest name that Kubernetes has."""
    return escape_unprintable(text if len(text) <= most else f"{text[:most]}…")


def escape_unprintable(text: str) -> str:
    """Text from a document as a message can hold it: characters that cannot be printed are escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def parse_duration(value: Any) -> float:
    """Seconds from ``500ms``, ``5m`` or ``1h30m``.

    >>> parse_duration("1h30m"), parse_duration("500ms")
    (5400.0, 0.5)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise QuantityError(f"{format_value(value)} is not a duration", "write it as 30s, 5m or 1h30m")
    text = value.strip() if isinstance(value, str) else format_value(value)
    if not isinstance(value, str) or _NUMBER.fullmatch(text):
        text = format_value(text)
        raise QuantityError(f"the duration {text} has no unit", f"write {text}s, {text}m or {text}ms, as you mean it")
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        hint = "use h, m, s and ms in this order, as in 1h30m or 500ms"
        if re.fullmatch(rf"{_AMOUNT} ?d(ays?)?", text):
            hint = "days are not always 24 hours long: write the hours, as in 24h"
        raise QuantityError(f"{format_value(text)!r} is not a duration", hint)
    seconds = sum(float(amount) * _SECONDS[unit] for unit, amount in match.groupdict().items() if amount)
    if seconds > _MAX_DURATION:
        raise QuantityError(f"the duration {format_value(text)} is longer than a year", "write a shorter one")
    return round(seconds, 6)


def parse_seconds(value: Any) -> float | None:
    """Like ``parse_duration``; None for what is no duration, which another check reports."""
    try:
        return parse_duration(value)
    except QuantityError:
        return None


def format_duration(seconds: float) -> str:
    """Seconds as users write them; ``parse_duration`` of it is the same number.

    >>> format_duration(5400), format_duration(0.5), format_duration(0)
    ('1h30m', '500ms', '0s')
    """
    left = round(seconds * 1000, 3)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        count, left = divmod(left, size)
        text += f"{int(count)}{unit}" if count else ""
    return text + (f"{format_number(left)}ms" if left else "") or "0s"


def percent(value: Any, *, one_is_ratio: bool = False) -> float:
    """Percent from ``99`` or ``99%``; a bare number below 1 (or 1, if it may be a ratio) is refused.

    >>> percent(99), percent("0.5%")
    (99.0, 0.5)
    """
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value.strip())
        if match is None:
            if _NUMBER.fullmatch(value.strip()):
                raise QuantityError(f"{format_value(value)!r} is text, not a number", "leave the quotes out, or add %")
            raise QuantityError(f"{format_value(value)!r} is not a percentage", "write it as 99 or 99.5%")
        number = float(match.group(1))
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"{format_value(value)} is not a percentage", "write it as 99 or 99.5%")
    else:
        number = _finite(value)
        if 0 < number < 1 or (one_is_ratio and number == 1):
            text, as_percent = format_number(number), format_number(number * 100)
            raise QuantityError(
                f"{text} looks like a ratio, and this is in percent",
                f"write {as_percent}% if {as_percent} percent is meant, or {text}% if that is",
            )
    if not 0 <= number <= 100:
        raise QuantityError(f"{format_number(number)} is not within 0 and 100 percent")
    return number


def parse_threshold(value: Any, unit: Unit, *, one_is_ratio: bool = False) -> float:
    """One end of a thresholdRange in the metric's unit."""
    if unit is Unit.PERCENT:
        return percent(value, one_is_ratio=one_is_ratio)
    if unit is Unit.SECONDS:
        return parse_duration(value)
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            raise QuantityError(
                f"{format_value(text)!r} is text, not a number",
                "leave the quotes out; YAML 1.1 also reads 1e-3 as text: write 0.001",
            )
        raise QuantityError(
            f"{format_value(text)!r} is not a plain number",
            "this metric's number has no unit here: it is compared with what the query answers",
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"{format_value(value)} is not a number", "write a number such as 0 or 1.5")
    return _finite(value)


def parse_time_of_day(value: Any, *, end: bool = False) -> time:
    """``"09:00"``; as the end of a window also ``"24:00"``, which is midnight.

    >>> parse_time_of_day("09:00")
    datetime.time(9, 0)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        hint = 'write it in quotes, as in "09:00"'
        if 0 <= value < 24 * 60:
            as_time = f"{value // 60:02d}:{value % 60:02d}"
            hint = f'if {as_time} was meant, write "{as_time}": without quotes YAML 1.1 reads that as {value}'
        raise QuantityError(f"{format_value(value)} is a number, not a time of day", hint)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise QuantityError(f"{format_value(value)} is not a time of day", 'write hours and minutes, as in "09:00"')
    hour, minute = int(match.group(1)), int(match.group(2))
    if end and (hour, minute) == (24, 0):
        return time(0, 0)
    if hour > 23 or minute > 59:
        until = "24:00" if end else "23:59"
        raise QuantityError(f"{value} is not a time of day", f'the day goes from "00:00" to "{until}"')
    return time(hour, minute)


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise QuantityError(f"{format_value(value)} is not a number that can be compared", "write a finite number")
    return number
