"""Answers to the queries that ``autocanary.prometheus`` sends, without data behind them.

Not PromQL: the forms of the queries are known, so the revisions are read out of the matchers and every one
of them gets a row with good values, or bad ones when it is among ``bad``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

__all__ = ["CUSTOM_QUERIES", "Form", "Question", "Row", "read", "rows"]

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

Row = tuple[dict[str, str], float]


class Form(Enum):
    """What a query asks about."""

    TRAFFIC = "requests, failures and age"
    LATENCY = "latency"
    PROBE = "whether there are series of queue-proxy"
    FOREIGN = "whether there are series of another source; there are none"
    JOINED = "several queries of the policies' own"
    SINGLE = "one of them"


@dataclass(frozen=True, slots=True)
class Question:
    """A query's form, and the revisions in it; ``numbers`` are those of a joined query's parts."""

    form: Form
    namespace: str = ""
    revisions: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@lru_cache(maxsize=512)
def read(query: str) -> Question:
    """ValueError for a query that selects no revision."""
    if "autocanary_metric" in query and "revision_request_count" not in query:
        return Question(Form.FOREIGN)
    first = _SELECTOR.search(query)
    if first is None:
        raise ValueError(f"a query of an unknown form: {query[:200]}")
    namespace = first[1]
    if "autocanary_q" in query:
        parts = _JOINED.findall(query)
        return Question(
            Form.JOINED, namespace, tuple(part[0] for part in parts), tuple(part[1] for part in parts)
        )
    names = first[3].split("|") if first[2] else [first[3]]
    revisions = tuple(_DOUBLE_ESCAPED.sub(r"\1", name) for name in names)
    if "autocanary_metric" in query:
        return Question(Form.PROBE, namespace, revisions)
    if '"count0"' in query:
        return Question(Form.TRAFFIC, namespace, revisions)
    if query.startswith("histogram_quantile"):
        return Question(Form.LATENCY, namespace, revisions)
    return Question(Form.SINGLE, namespace, revisions)


def rows(question: Question, bad: Set[str]) -> list[Row]:
    """The answer's series: labels and value."""
    make = _ROWS.get(question.form)
    return list(make(question, bad)) if make is not None else []


def _labels(question: Question, revision: str, **more: str) -> dict[str, str]:
    return {"namespace_name": question.namespace, "revision_name": revision, **more}


def _traffic(question: Question, bad: Set[str]) -> Iterator[Row]:
    for revision in question.revisions:
        failed = _BAD_ERRORS if revision in bad else _GOOD_ERRORS
        yield _labels(question, revision, autocanary="count0"), REQUESTS - failed
        yield _labels(question, revision, autocanary="count0", autocanary_failed="1"), failed
        yield _labels(question, revision, autocanary="age"), _SAMPLE_AGE


def _latency(question: Question, bad: Set[str]) -> Iterator[Row]:
    for revision in question.revisions:
        yield _labels(question, revision), _BAD_SECONDS if revision in bad else _GOOD_SECONDS


def _probe(question: Question, _: Set[str]) -> Iterator[Row]:
    for revision in question.revisions:
        yield _labels(question, revision, autocanary_metric="revision_request_count"), 2.0


def _joined(question: Question, bad: Set[str]) -> Iterator[Row]:
    for revision, number in zip(question.revisions, question.numbers, strict=True):
        yield {"autocanary_q": number}, _BAD_SHARE if revision in bad else _GOOD_SHARE


def _single(question: Question, bad: Set[str]) -> Iterator[Row]:
    yield {}, _BAD_SHARE if question.revisions[0] in bad else _GOOD_SHARE


_ROWS: dict[Form, Callable[[Question, Set[str]], Iterator[Row]]] = {
    Form.TRAFFIC: _traffic,
    Form.LATENCY: _latency,
    Form.PROBE: _probe,
    Form.JOINED: _joined,
    Form.SINGLE: _single,
}
