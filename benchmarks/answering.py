"""Answers to the queries that ``autocanary.prometheus`` sends, without data behind them.

Not PromQL: the forms of the queries are known, so the revisions are read out of the matchers and every one
of them gets a row with good values, or bad ones when it is among ``bad``. Where scrapes are asked for, each revision
has a sample every so many seconds, at instants of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from zlib import crc32

__all__ = [
    "CUSTOM_QUERIES",
    "ParsedQuery",
    "QueryKind",
    "SeriesRow",
    "newest_sample",
    "read",
    "rows",
    "rows_of_samples",
]

REQUESTS = 1000.0
"""Requests of every revision within the window."""
_GOOD_ERRORS, _BAD_ERRORS = 1.0, 500.0  # of these
_GOOD_SECONDS, _BAD_SECONDS = 0.020, 5.0
_GOOD_SHARE, _BAD_SHARE = 0.001, 0.5
_SAMPLE_AGE = 2.0

_OWN = '{namespace="{{ namespace }}",revision="{{ revision }}"}'
CUSTOM_QUERIES = {
    "model-errors": f"sum(rate(model_errors{_OWN}[{{{{ window }}}}]))",
    "model-drift": f"avg(model_drift{_OWN})",
}
"""Two PromQL metrics of a user's own, as Flagger's MetricTemplates in the peers' set-up: each a share."""

_SELECTOR = re.compile(r'namespace\w*="([^"]*)",revision\w*=(~?)"([^"]*)"')
_JOINED = re.compile(r'revision="([^"]*)"[^"]*"autocanary_q", "(\d+)"')
_DOUBLE_ESCAPED = re.compile(r"\\\\(.)")

SeriesRow = tuple[dict[str, str], float]


class QueryKind(Enum):
    """What a query asks about."""

    TRAFFIC = "requests, failures and age"
    LATENCY = "latency"
    PROBE = "whether there are series of queue-proxy"
    FOREIGN = "whether there are series of another source; there are none"
    JOINED = "several queries of the policies' own"
    SINGLE = "one of them"


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query's form, and the revisions in it; ``numbers`` are those of a joined query's parts."""

    kind: QueryKind
    namespace: str = ""
    revisions: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@lru_cache(maxsize=512)
def read(query: str) -> ParsedQuery:
    """ValueError for a query that selects no revision."""
    if "autocanary_metric" in query and "revision_request_count" not in query:
        return ParsedQuery(QueryKind.FOREIGN)
    first = _SELECTOR.search(query)
    if first is None:
        raise ValueError(f"a query of an unknown form: {query[:200]}")
    namespace = first[1]
    if "autocanary_q" in query:
        parts = _JOINED.findall(query)
        return ParsedQuery(
            QueryKind.JOINED, namespace, tuple(part[0] for part in parts), tuple(part[1] for part in parts)
        )
    names = first[3].split("|") if first[2] else [first[3]]
    revisions = tuple(_DOUBLE_ESCAPED.sub(r"\1", name) for name in names)
    if "autocanary_metric" in query:
        return ParsedQuery(QueryKind.PROBE, namespace, revisions)
    if '"count0"' in query:
        return ParsedQuery(QueryKind.TRAFFIC, namespace, revisions)
    if query.startswith("histogram_quantile"):
        return ParsedQuery(QueryKind.LATENCY, namespace, revisions)
    return ParsedQuery(QueryKind.SINGLE, namespace, revisions)


def rows(parsed: ParsedQuery, bad: Set[str]) -> list[SeriesRow]:
    """The answer's series: labels and value."""
    make = _ROWS.get(parsed.kind)
    return list(make(parsed, bad)) if make is not None else []


def newest_sample(revision: str, now: float, scrape: float) -> float:
    """When the revision was scraped last before ``now``, in epoch seconds; ``scrape`` seconds are between two."""
    phase = crc32(revision.encode()) % 1000 / 1000 * scrape
    return (now - phase) // scrape * scrape + phase


def rows_of_samples(parsed: ParsedQuery, bad_since: Mapping[str, float], now: float, scrape: float) -> list[SeriesRow]:
    """The answer's series where each revision is as its newest sample found it; ``bad_since`` in epoch seconds."""
    newest = {revision: newest_sample(revision, now, scrape) for revision in parsed.revisions}
    bad = {revision for revision, at in newest.items() if at >= bad_since.get(revision, math.inf)}
    found = rows(parsed, bad)
    if parsed.kind is not QueryKind.TRAFFIC:
        return found
    found = [
        (labels, now - newest[labels["revision_name"]] if labels["autocanary"] == "age" else value)
        for labels, value in found
    ]
    found += [(_labels(parsed, revision, autocanary="interval"), scrape) for revision in parsed.revisions]
    return [*found, ({"autocanary": "now"}, now)]


def _labels(parsed: ParsedQuery, revision: str, **more: str) -> dict[str, str]:
    return {"namespace_name": parsed.namespace, "revision_name": revision, **more}


def _traffic(parsed: ParsedQuery, bad: Set[str]) -> Iterator[SeriesRow]:
    for revision in parsed.revisions:
        failed = _BAD_ERRORS if revision in bad else _GOOD_ERRORS
        yield _labels(parsed, revision, autocanary="count0"), REQUESTS - failed
        yield _labels(parsed, revision, autocanary="count0", autocanary_failed="1"), failed
        yield _labels(parsed, revision, autocanary="age"), _SAMPLE_AGE


def _latency(parsed: ParsedQuery, bad: Set[str]) -> Iterator[SeriesRow]:
    for revision in parsed.revisions:
        yield _labels(parsed, revision), _BAD_SECONDS if revision in bad else _GOOD_SECONDS


def _probe(parsed: ParsedQuery, _: Set[str]) -> Iterator[SeriesRow]:
    for revision in parsed.revisions:
        yield _labels(parsed, revision, autocanary_metric="revision_request_count"), 2.0


def _joined(parsed: ParsedQuery, bad: Set[str]) -> Iterator[SeriesRow]:
    for revision, number in zip(parsed.revisions, parsed.numbers, strict=True):
        yield {"autocanary_q": number}, _BAD_SHARE if revision in bad else _GOOD_SHARE


def _single(parsed: ParsedQuery, bad: Set[str]) -> Iterator[SeriesRow]:
    yield {}, _BAD_SHARE if parsed.revisions[0] in bad else _GOOD_SHARE


_ROWS: dict[QueryKind, Callable[[ParsedQuery, Set[str]], Iterator[SeriesRow]]] = {
    QueryKind.TRAFFIC: _traffic,
    QueryKind.LATENCY: _latency,
    QueryKind.PROBE: _probe,
    QueryKind.JOINED: _joined,
    QueryKind.SINGLE: _single,
}
