"""Custom PromQL: many users' queries in few requests, none able to spoil another.

Queries whose type is known are joined as ``label_replace(<query>, "autocanary_q", "<number>", "", "") or …``
and taken apart again by that label. A joined query that is refused, too slow, or answered with a remark on
some query's semantics is asked again in ever smaller pieces; the ones at fault then stay alone for a while.
When none was at fault, it was too much at once, and smaller ones are sent for that time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.prometheus.client import TooSlow
from autocanary.prometheus.preset_queries import tagged
from autocanary.prometheus.query_answer import Answer, Sample
from autocanary.prometheus.query_plan import Plan, Result
from autocanary.promql import kind

__all__ = ["CustomQueries"]

_TAG = "autocanary_q"
_MOST_JOINED = 400
_PIECES = 8
_ALONE_FOR = 600.0
_MOST_ALONE = 1000


@dataclass(frozen=True, slots=True)
class _Group:
    """Queries that are asked as one; ``parent`` is the larger group that this is a piece of, if any."""

    queries: Sequence[str]
    parent: Sequence[str] = ()

    def pieces(self, size: int) -> list[_Group]:
        starts = range(0, len(self.queries), size)
        return [_Group(self.queries[start : start + size], self.queries) for start in starts]


class CustomQueries:
    """Remembers which queries must be asked alone, and of which type each is."""

    def __init__(self, now: Callable[[], float], most_bytes: int) -> None:
        self._now = now
        self._most_bytes = most_bytes
        self._alone: dict[str, float] = {}  # until when
        self._most_joined, self._small_until = _MOST_JOINED, 0.0
        self._lock = threading.Lock()

    def ask(self, queries: Iterable[str]) -> Plan[Mapping[str, Result]]:
        """Every distinct query's own answer or error."""
        found: dict[str, Result] = {}
        waiting = [_Group(group) for group in self._grouped(sorted(set(queries)))]
        while waiting:
            asked = [_joined(group.queries) for group in waiting]
            results = yield asked
            again: list[_Group] = []
            for group, query in zip(waiting, asked, strict=True):
                again += _settled(group, results[query], found)
            culprits = (group.queries[0] for group in waiting if group.parent and len(group.queries) == 1)
            self._set_apart(query for query in culprits if _spoilt(found[query]))
            self._learn(waiting, found)
            waiting = again
        return found

    def _grouped(self, queries: Sequence[str]) -> list[list[str]]:
        with self._lock:
            now = self._now()
            self._alone = {query: until for query, until in self._alone.items() if until > now}
            alone = set(self._alone)
            if self._small_until <= now:
                self._most_joined = _MOST_JOINED
        groups: list[list[str]] = []
        open_group: list[str] = []
        size = 0
        for query in queries:
            if query in alone or kind(query) not in ("vector", "scalar"):
                groups.append([query])
                continue
            cost = len(query.encode()) + 64
            if open_group and (len(open_group) >= self._most_joined or size + cost > self._most_bytes):
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

    def _learn(self, waiting: Sequence[_Group], found: Mapping[str, Result]) -> None:
        """A joined query whose pieces were all answered had nothing wrong with it but its size."""
        pieces = [group for group in waiting if group.parent and len(group.queries) > 1]
        sizes = [len(group.queries) for group in pieces if all(_fine(found, each) for each in group.parent)]
        if sizes:
            with self._lock:
                self._most_joined = min(self._most_joined, *sizes)
                self._small_until = self._now() + _ALONE_FOR


def _settled(group: _Group, result: Result, found: dict[str, Result]) -> list[_Group]:
    """Put what was answered where it belongs; what must be asked again is given back in pieces."""
    queries = group.queries
    if len(queries) == 1:
        found[queries[0]] = result
    elif _spoilt(result):
        return group.pieces(-(-len(queries) // _PIECES))
    elif isinstance(result, MetricsError):
        found.update(dict.fromkeys(queries, result))
    elif (apart := _taken_apart(queries, result)) is None:
        return group.pieces(1)
    else:
        found.update(apart)
    return []


def _fine(found: Mapping[str, Result], query: str) -> bool:
    result = found.get(query)
    return isinstance(result, Answer) and not _spoilt(result)


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
