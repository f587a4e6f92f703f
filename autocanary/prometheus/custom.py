"""Custom PromQL: many users' queries in few requests, none able to spoil another.

Queries whose type is known are joined as ``label_replace(<query>, "autocanary_q", "<number>", "", "") or …``
and taken apart again by that label. A joined query that is refused, too slow, or answered with a remark on
some query's semantics is asked again one by one; the ones at fault then stay alone for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.prometheus.answer import Answer, Sample
from autocanary.prometheus.client import TooSlow
from autocanary.prometheus.plan import Plan, Result
from autocanary.prometheus.queries import tagged
from autocanary.promql import kind

__all__ = ["CustomQueries"]

_TAG = "autocanary_q"
_MOST_JOINED = 50
_ALONE_FOR = 600.0
_MOST_ALONE = 1000


class CustomQueries:
    """Remembers which queries must be asked alone, and of which type each is."""

    def __init__(self, now: Callable[[], float], most_bytes: int) -> None:
        self._now = now
        self._most_bytes = most_bytes
        self._alone: dict[str, float] = {}  # until when
        self._lock = threading.Lock()

    def ask(self, queries: Iterable[str]) -> Plan[Mapping[str, Result]]:
        """Every distinct query's own answer or error."""
        groups = self._grouped(sorted(set(queries)))
        asked = [_joined(group) for group in groups]
        results = (yield asked) if asked else {}
        found: dict[str, Result] = {}
        again: list[str] = []
        for group, query in zip(groups, asked, strict=True):
            result = results[query]
            if len(group) == 1:
                found[group[0]] = result
            elif isinstance(result, MetricsError) and not _spoilt(result):
                found.update(dict.fromkeys(group, result))
            elif _spoilt(result) or (apart := _taken_apart(group, result)) is None:
                again += group
            else:
                found.update(apart)
        if again:
            singly = yield again
            found.update({query: singly[query] for query in again})
            self._set_apart(query for query in again if _spoilt(singly[query]))
        return found

    def _grouped(self, queries: Sequence[str]) -> list[list[str]]:
        with self._lock:
            now = self._now()
            self._alone = {query: until for query, until in self._alone.items() if until > now}
            alone = set(self._alone)
        groups: list[list[str]] = []
        open_group: list[str] = []
        size = 0
        for query in queries:
            if query in alone or kind(query) not in ("vector", "scalar"):
                groups.append([query])
                continue
            cost = len(query.encode()) + 64
            if open_group and (len(open_group) == _MOST_JOINED or size + cost > self._most_bytes):
                groups.append(open_group)
                open_group, size = [], 0
            open_group.append(query)
            size += cost
        return [*groups, open_group] if open_group else groups

    def _set_apart(self, queries: Iterable[str]) -> None:
        with self._lock:
            until = self._now() + _ALONE_FOR
            for query in queries:
                if len(self._alone) < _MOST_ALONE:
                    self._alone[query] = until


def _spoilt(result: Result) -> bool:
    """Whether one query of a joined one may have spoilt it for the others; an outage is nobody's fault."""
    if isinstance(result, MetricsError):
        return isinstance(result, MetricsRefused | TooSlow)
    return any(warning.startswith("PromQL") for warning in result.warnings)


def _joined(group: Sequence[str]) -> str:
    """One query for the group; a single one goes as it is, and its answer shows its true type."""
    if len(group) == 1:
        return group[0]
    return " or ".join(tagged(_as_vector(query), _TAG, str(number)) for number, query in enumerate(group))


def _as_vector(query: str) -> str:
    # The line breaks end a comment that the query may end with.
    return f"\nvector({query}\n)" if kind(query) == "scalar" else f"\n{query}\n"


def _taken_apart(group: Sequence[str], result: Result) -> Mapping[str, Answer] | None:
    """Each query's own answer; None when a series lost its number (a server with its own idea of PromQL)."""
    if isinstance(result, MetricsError):
        return None
    numbers = {str(number): query for number, query in enumerate(group)}
    samples: dict[str, list[Sample]] = {query: [] for query in group}
    for sample in result.samples:
        query = numbers.get(sample.labels.get(_TAG, ""))
        if query is None:
            return None
        labels = {label: value for label, value in sample.labels.items() if label != _TAG}
        samples[query].append(Sample(labels, sample.value, sample.timestamp))
    return {query: Answer(tuple(own), result.warnings) for query, own in samples.items()}
