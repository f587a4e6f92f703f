"""When steps may be taken: weekly windows in the user's own time zone, right across daylight saving.

A window is given in *local* wall-clock time, so on a day with 23 or 25 hours it still opens at the hour
that users read on their clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo

__all__ = ["Window", "is_open", "next_opening"]

_DAYS_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Window:
    """Opens on each of ``days`` (0 is Monday) at ``start`` and closes at ``end``, local to ``zone``.

    ``end`` is exclusive; ``end <= start`` means that it closes on the following day, and 00:00–00:00 is
    the whole day.
    """

    days: tuple[int, ...]
    start: time
    end: time
    zone: tzinfo

    def contains(self, moment: datetime) -> bool:
        """Whether ``moment`` (aware) lies within the window."""
        local = moment.astimezone(self.zone)
        return any(self._covers(local.date() - timedelta(days=back), moment) for back in (0, 1))

    def _covers(self, day: date, moment: datetime) -> bool:
        if day.weekday() not in self.days:
            return False
        closing = day if self.end > self.start else day + timedelta(days=1)
        opens = datetime.combine(day, self.start, tzinfo=self.zone)
        closes = datetime.combine(closing, self.end, tzinfo=self.zone)
        # Compare instants: aware datetimes of one zone compare by wall clock, which is wrong on DST days.
        return opens.timestamp() <= moment.timestamp() < closes.timestamp()


def is_open(windows: tuple[Window, ...], now: float) -> bool:
    """Whether a step may be taken at ``now`` (epoch seconds); no windows means always."""
    if not windows:
        return True
    moment = datetime.fromtimestamp(now, tz=timezone.utc)
    return any(window.contains(moment) for window in windows)


def next_opening(windows: tuple[Window, ...], now: float) -> float | None:
    """The next instant (epoch seconds) at which a closed window opens, or None within the coming week."""
    starts = [opening for window in windows for opening in _openings(window, now)]
    return min((start for start in starts if start > now), default=None)


def _openings(window: Window, now: float) -> list[float]:
    today = datetime.fromtimestamp(now, tz=window.zone).date()
    days = [today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD)]
    return [
        datetime.combine(day, window.start, tzinfo=window.zone).timestamp()
        for day in days
        if day.weekday() in window.days
    ]
