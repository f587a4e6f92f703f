"""Windows that follow the scrape interval: three scrapes long, and never shorter than what was asked for.

The interval is measured from the samples themselves, in the query that counts the requests. It is known once the
series of either revision are five minutes old; until then the window is the least.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from autocanary.model.measurement import MetricQuery, Source
from autocanary.promql import fill_placeholders

__all__ = ["ScrapeWindows", "following_window"]

_SCRAPES = 3
_GRID = 15.0
"""Seconds: windows are multiples of it, so that services with about the same interval share their queries."""
_EXPIRE_AFTER = 3600.0
_EXPIRE_INTERVAL = 60.0


class _Measured(NamedTuple):
    namespace: str
    service: str
    component: str
    source: Source


class _Window(NamedTuple):
    seconds: float
    used_at: float


def following_window(interval: float, least: float) -> float:
    """The window (seconds) for a scrape interval, never shorter than ``least``."""
    return max(least, round(_SCRAPES * interval / _GRID) * _GRID)


class ScrapeWindows:
    """Thread-safe memory of the windows that the services' scrape intervals need."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._windows: dict[_Measured, _Window] = {}
        self._expired_at = now()
        self._lock = threading.Lock()

    def widened(self, metric_query: MetricQuery) -> MetricQuery:
        """The query with the window that is known to be needed."""
        if not metric_query.follows_scrapes:
            return metric_query
        with self._lock:
            self._expire()
            key = _key(metric_query)
            known = self._windows.get(key)
            if known is None:
                return metric_query
            self._windows[key] = known._replace(used_at=self._now())
        return _with_window(metric_query, max(metric_query.window, known.seconds))

    def learn(self, metric_query: MetricQuery, interval: float | None) -> MetricQuery | None:
        """Remember the interval (seconds); the query with a longer window where it has to be made again."""
        if not metric_query.follows_scrapes or interval is None:
            return None
        window = following_window(interval, 0.0)
        with self._lock:
            self._windows[_key(metric_query)] = _Window(window, self._now())
        return _with_window(metric_query, window) if window > metric_query.window else None

    def _expire(self) -> None:
        now = self._now()
        if now - self._expired_at < _EXPIRE_INTERVAL:
            return
        self._expired_at = now
        self._windows = {key: each for key, each in self._windows.items() if now - each.used_at < _EXPIRE_AFTER}


def _key(metric_query: MetricQuery) -> _Measured:
    return _Measured(metric_query.namespace, metric_query.service, metric_query.component, metric_query.source)


def _with_window(metric_query: MetricQuery, window: float) -> MetricQuery:
    if window == metric_query.window:
        return metric_query
    query, template = metric_query.query, metric_query.query_template
    if template:
        query = fill_placeholders(template, {"window": window, "interval": window})
    return replace(metric_query, window=window, query=query)
