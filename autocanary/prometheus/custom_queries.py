"""Custom PromQL: many users' queries in few requests, none able to spoil another.

Queries whose type is known are joined as ``label_replace(<query>, "autocanary_q", "<number>", "", "") or …``
and taken apart again by that label. A joined query that is refused, too slow, or answered with a remark on
some query's semantics is asked again in ever smaller pieces; the ones at fault then stay alone for a while.
When none was at fault, it was too much at once, and smaller ones are sent for that time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.prometheus.preset_queries import NOW_PART, PART_LABEL, answer_delay, with_label
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.query_errors import QueryTimedOut
from autocanary.prometheus.query_plan import OwnQuery, ProcessingError, QueryPlan, QueryResult
from autocanary.promql import sample_times

__all__ = ["CustomQueries"]

_QUERY_LABEL = "autocanary_q"
_MAX_JOINED = 400
_MAX_AGES = 1000
_SPLIT_FACTOR = 8
_ISOLATE_SECONDS = 600.0
_MAX_ISOLATED = 1000


@dataclass(frozen=True, slots=True)
class _QueryGroup:
    """Queries that are asked as one; ``parent`` is the larger group that this is a piece of, if any."""

    queries: Sequence[str]
    parent: Sequence[str] = ()

    def split(self, size: int) -> list[_QueryGroup]:
        starts = range(0, len(self.queries), size)
        return [_QueryGroup(self.queries[start : start + size], self.queries) for start in starts]


class CustomQueries:
    """Remembers which queries must be asked alone, and of which type each is."""

    def __init__(self, now: Callable[[], float], max_query_bytes: int) -> None:
        self._now = now
        self._max_query_bytes = max_query_bytes
        self._isolated: dict[str, float] = {}  # until when
        self._max_joined, self._reduced_until = _MAX_JOINED, 0.0
        self._lock = threading.Lock()

    def limit_query_bytes(self, query_bytes: int) -> None:
        """No joined query is longer from now on."""
        self._max_query_bytes = min(self._max_query_bytes, query_bytes)

    def query_all(self, types: Mapping[str, str]) -> QueryPlan[Mapping[str, QueryResult]]:
        """Every query's own answer or error; ``types`` are ``MetricQuery.query_type`` by query."""
        found: dict[str, QueryResult] = {}
        pending = [_QueryGroup(group) for group in self._grouped(types)]
        while pending:
            asked = [_join(group.queries, types) for group in pending]
            results = yield asked
            retry: list[_QueryGroup] = []
            for group, query in zip(pending, asked, strict=True):
                retry += _distribute_safely(group, results[query], found)
            failed_alone = (group.queries[0] for group in pending if group.parent and len(group.queries) == 1)
            self._isolate(query for query in failed_alone if _needs_split(found[query]))
            self._learn_group_size(pending, found)
            pending = retry
        return found

    def query_ages(self, queries: Iterable[str]) -> QueryPlan[Mapping[str, float]]:
        """How old the newest sample behind each query is, in seconds; of several metrics, the oldest counts.

        A query of which that cannot be found out is left out: no metric of it has a sample, it is not understood,
        or the server does not say.
        """
        parts: dict[str, None] = {}
        for query in queries:
            parts.update(dict.fromkeys(sample_times(query)))
        ages: dict[str, float] = {}
        chunks = self._age_chunks(list(parts))
        asked = [_ages_query(chunk) for chunk in chunks]
        results = (yield asked) if asked else {}
        for chunk, promql in zip(chunks, asked, strict=True):
            ages.update(_ages(chunk, results[promql]))
        by_query = {query: [ages[part] for part in sample_times(query) if part in ages] for query in queries}
        return {query: max(found) for query, found in by_query.items() if found}

    def _age_chunks(self, parts: Sequence[str]) -> list[list[str]]:
        chunks: list[list[str]] = []
        size = 0
        for part in parts:
            cost = len(part.encode()) + 64
            if not chunks or len(chunks[-1]) >= _MAX_AGES or size + cost > self._max_query_bytes:
                chunks.append([])
                size = 0
            chunks[-1].append(part)
            size += cost
        return chunks

    def _grouped(self, types: Mapping[str, str]) -> list[list[str]]:
        with self._lock:
            now = self._now()
            self._isolated = {query: until for query, until in self._isolated.items() if until > now}
            isolated = set(self._isolated)
            if self._reduced_until <= now:
                self._max_joined = _MAX_JOINED
        groups: list[list[str]] = []
        open_group: list[str] = []
        size = 0
        for query in sorted(types):
            if query in isolated or types[query] not in ("vector", "scalar"):
                groups.append([query])
                continue
            cost = len(query.encode()) + 64
            if open_group and (len(open_group) >= self._max_joined or size + cost > self._max_query_bytes):
                groups.append(open_group)
                open_group, size = [], 0
            open_group.append(query)
            size += cost
        return [*groups, open_group] if open_group else groups

    def _isolate(self, queries: Iterable[str]) -> None:
        with self._lock:
            until = self._now() + _ISOLATE_SECONDS
            for query in queries:
                if len(self._isolated) < _MAX_ISOLATED:
                    self._isolated[query] = until

    def _learn_group_size(self, pending: Sequence[_QueryGroup], found: Mapping[str, QueryResult]) -> None:
        """A joined query whose pieces were all answered had nothing wrong with it but its size."""
        split = [group for group in pending if group.parent and len(group.queries) > 1]
        sizes = [len(group.queries) for group in split if all(_succeeded(found, each) for each in group.parent)]
        if sizes:
            with self._lock:
                self._max_joined = min(self._max_joined, *sizes)
                self._reduced_until = self._now() + _ISOLATE_SECONDS


def _ages_query(parts: Sequence[str]) -> str:
    ages = (with_label(f"time() - {part}", _QUERY_LABEL, str(number)) for number, part in enumerate(parts))
    return " or ".join([*ages, NOW_PART])


def _ages(parts: Sequence[str], result: QueryResult) -> Mapping[str, float]:
    if isinstance(result, MetricsError):
        return {}
    delay = answer_delay(result)
    found = {}
    for sample in result.samples:
        number = sample.labels.get(_QUERY_LABEL, "")
        if PART_LABEL in sample.labels or not number.isdigit() or int(number) >= len(parts):
            continue
        if sample.value is not None and math.isfinite(sample.value):
            found[parts[int(number)]] = sample.value + delay
    return found


def _distribute_safely(group: _QueryGroup, result: QueryResult, found: dict[str, QueryResult]) -> list[_QueryGroup]:
    try:
        return _distribute(group, result, found)
    except Exception as error:  # noqa: BLE001 - what one answer triggers must not fail the others
        return _distribute(group, ProcessingError(error), found)


def _distribute(group: _QueryGroup, result: QueryResult, found: dict[str, QueryResult]) -> list[_QueryGroup]:
    """Put what was answered where it belongs; what must be asked again is given back in pieces."""
    queries = group.queries
    if len(queries) == 1:
        found[queries[0]] = result
    elif _needs_split(result):
        return group.split(-(-len(queries) // _SPLIT_FACTOR))
    elif isinstance(result, MetricsError):
        found.update(dict.fromkeys(queries, result))
    elif (by_query := _split_response(queries, result)) is None:
        return group.split(1)
    else:
        found.update(by_query)
    return []


def _succeeded(found: Mapping[str, QueryResult], query: str) -> bool:
    result = found.get(query)
    return isinstance(result, QueryResponse) and not _needs_split(result)


def _needs_split(result: QueryResult) -> bool:
    """Whether one query of a joined one may have failed the others; an outage is no query's fault."""
    if isinstance(result, MetricsError):
        return isinstance(result, MetricsRefused | QueryTimedOut)
    return any(warning.startswith("PromQL") for warning in result.warnings)


def _join(group: Sequence[str], types: Mapping[str, str]) -> str:
    """One query for the group; a single one goes as it is, and its answer shows its true type."""
    if len(group) == 1:
        return OwnQuery(group[0])
    vectors = (_as_vector(query, types[query]) for query in group)
    return OwnQuery(" or ".join(with_label(vector, _QUERY_LABEL, str(number)) for number, vector in enumerate(vectors)))


def _as_vector(query: str, query_type: str) -> str:
    # The line breaks end a comment that the query may end with.
    return f"\nvector({query}\n)" if query_type == "scalar" else f"\n{query}\n"


def _split_response(group: Sequence[str], result: QueryResult) -> Mapping[str, QueryResponse] | None:
    """Each query's own answer; None when a series lost its number (a server with its own idea of PromQL)."""
    if isinstance(result, MetricsError):
        return None
    numbers = {str(number): query for number, query in enumerate(group)}
    samples: dict[str, list[VectorSample]] = {query: [] for query in group}
    for sample in result.samples:
        query = numbers.get(sample.labels.get(_QUERY_LABEL, ""))
        if query is None:
            return None
        labels = {label: value for label, value in sample.labels.items() if label != _QUERY_LABEL}
        samples[query].append(VectorSample(labels, sample.value, sample.timestamp))
    return {
        query: QueryResponse(tuple(own), result.warnings, server_time=result.server_time)
        for query, own in samples.items()
    }
