"""The Metrics port of web metrics: questions in, measurements out, nothing raised.

Each namespace has a share of the threads and a time for all its questions, so services that hang delay no metric of
another namespace. An origin that did not answer twice is asked no more in the same round.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import NamedTuple
from urllib.parse import urlsplit

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, WebAnswerForm
from autocanary.outbound.http_client import url_origin
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.ports import Clock, Pool
from autocanary.web_metrics.web_answer import BadAnswer, WebAnswer, read_answer
from autocanary.web_metrics.web_client import UnreachableOriginError, WebClient
from autocanary.web_metrics.web_history import WebHistory, WindowCounts
from autocanary.web_metrics.web_measurement import SideAnswer, measurement_of

__all__ = ["WebMetrics"]

_PER_NAMESPACE = 3
_ROUND_SECONDS = 20.0
_OVERHEAD_SECONDS = 2.0
"""What an answer may take beyond its timeout: resolving the name, and waiting for a thread."""
_FAILURES_OF_ORIGIN = 2
_MAX_REMEMBERED = 10_000


class _Question(NamedTuple):
    """One GET, the same for all metrics that ask it."""

    namespace: str
    url: str
    form: WebAnswerForm
    timeout: float
    credentials: str


class WebMetrics:
    """Implements ``autocanary.ports.Metrics`` for queries that have ``web``; safe to use from many threads.

    ``pool`` runs the calls; ``query`` waits for them, so it must not itself be called on one of its threads. ``count``
    gets the outcome of every call: "ok", "unknown", "refused", "unreadable" or "unreachable".
    """

    def __init__(
        self,
        client: WebClient,
        hosts: WebhookHosts,
        pool: Pool,
        clock: Clock,
        count: Callable[[str], None] = lambda _outcome: None,
        *,
        round_seconds: float = _ROUND_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._hosts, self._pool, self._clock, self._count = client, hosts, pool, clock, count
        self._round_seconds, self._monotonic = round_seconds, monotonic
        self._history = WebHistory(clock.now)
        self._last_counts: dict[_Question, WebAnswer] = {}
        self._running: Counter[str] = Counter()  # calls by namespace, abandoned ones included
        self._postponed: dict[str, frozenset[_Question]] = {}  # not asked in the last round of the namespace
        self._lock = threading.Lock()

    def query(self, metric_queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        """Exactly one measurement for every query, in the order of the queries."""
        asked = {each: _questions(each) for each in metric_queries}
        by_namespace: dict[str, dict[_Question, None]] = {}
        for questions in asked.values():
            for question in questions:
                by_namespace.setdefault(question.namespace, {})[question] = None
        answers: dict[_Question, SideAnswer] = {}
        for namespace, distinct in by_namespace.items():
            answers.update(self._ask_all(namespace, list(distinct)))
        return {each: self._measurement(each, questions, answers) for each, questions in asked.items()}

    # --- the calls ---------------------------------------------------------------------------------------

    def _ask_all(self, namespace: str, questions: list[_Question]) -> dict[_Question, SideAnswer]:
        """Every question's answer or error; what was not asked last time is asked first."""
        ends = self._monotonic() + self._round_seconds
        postponed = self._postponed.get(namespace, frozenset())
        questions.sort(key=lambda each: each not in postponed)
        failures: Counter[str] = Counter()
        found: dict[_Question, SideAnswer] = {}
        left: list[_Question] = []
        for start in range(0, len(questions), _PER_NAMESPACE):
            if self._monotonic() >= ends:
                left += questions[start:]
                break
            some = questions[start : start + _PER_NAMESPACE]
            silent = [each for each in some if failures[url_origin(each.url)] >= _FAILURES_OF_ORIGIN]
            for each in silent:
                origin = url_origin(each.url)
                found[each] = MetricsUnreachable(f"{origin} was not asked: it did not answer the questions before")
            for each, answer in self._ask_together([each for each in some if each not in silent]).items():
                found[each] = answer
                failures[url_origin(each.url)] += isinstance(answer, UnreachableOriginError)
        why = f"the other web metrics of namespace {namespace} took {self._round_seconds:g} s"
        found.update({each: MetricsUnreachable(f"{url_origin(each.url)} was not asked: {why}") for each in left})
        with self._lock:
            self._postponed.pop(namespace, None)
            if left:
                self._postponed[namespace] = frozenset(left)
        return found

    def _ask_together(self, questions: Sequence[_Question]) -> dict[_Question, SideAnswer]:
        pending = {question: self._submit(question) for question in questions}
        if pending:
            wait(pending.values(), timeout=max(each.timeout for each in pending) + _OVERHEAD_SECONDS)
        return {question: _result(question, future) for question, future in pending.items()}

    def _submit(self, question: _Question) -> Future[SideAnswer]:
        """One call on the pool; an error at once while the namespace's share of threads hangs."""
        refused: Future[SideAnswer] = Future()
        with self._lock:
            if self._running[question.namespace] >= _PER_NAMESPACE:
                origin = url_origin(question.url)
                refused.set_result(MetricsUnreachable(f"{origin} was not asked: earlier questions are still open"))
                return refused
            self._running[question.namespace] += 1
        try:
            future = self._pool.submit(lambda: self._ask(question))
        except Exception as error:  # noqa: BLE001 - the port raises nothing
            self._end(question.namespace)
            refused.set_result(MetricsUnreachable(f"{url_origin(question.url)} was not asked: {error}"))
            return refused
        future.add_done_callback(lambda _: self._end(question.namespace))
        return future

    def _end(self, namespace: str) -> None:
        with self._lock:
            self._running[namespace] -= 1
            if self._running[namespace] <= 0:
                del self._running[namespace]

    def _ask(self, question: _Question) -> SideAnswer:
        asked_at = self._clock.now()
        origin = url_origin(question.url)
        try:
            body = self._client.get(question.url, question.timeout, question.credentials, question.namespace)
            answer = read_answer(body, question.form, asked_at)
        except BadAnswer as error:
            self._count("unreadable")
            return MetricsUnreachable(f"the answer of {origin} cannot be used: {error}")
        except MetricsError as error:
            self._count("refused" if isinstance(error, MetricsRefused) else "unreachable")
            return error
        except Exception as error:  # noqa: BLE001 - a defect that one answer triggers is that question's outage
            self._count("unreadable")
            return MetricsUnreachable(f"autocanary cannot process the answer of {origin}: {type(error).__name__}")
        self._count("ok" if answer.unknown is None else "unknown")
        return answer

    # --- the measurements --------------------------------------------------------------------------------

    def _measurement(
        self, metric_query: MetricQuery, questions: Sequence[_Question], answers: Mapping[_Question, SideAnswer]
    ) -> Measurement:
        web = metric_query.web
        if web is None:
            return Measurement(MeasurementKind.UNSUPPORTED, detail="the metric is not one of a web service")
        candidate, *stable = (answers[question] for question in questions)
        for question in questions[1:]:
            self._remember(question, answers[question])
        counted = self._window_counts(metric_query, questions[0], candidate)
        return measurement_of(
            metric_query,
            web,
            candidate,
            stable[0] if stable else None,
            counted,
            self._clock.now(),
            origin=url_origin(web.url),
            shows_reason=self._hosts.allows_name(urlsplit(web.url).hostname or ""),
            last_of_stable=self._last_counts.get(questions[-1]),
        )

    def _remember(self, question: _Question, answer: SideAnswer) -> None:
        if isinstance(answer, WebAnswer) and answer.total is not None:
            with self._lock:
                self._last_counts.pop(question, None)
                self._last_counts[question] = answer
                if len(self._last_counts) > _MAX_REMEMBERED:
                    del self._last_counts[next(iter(self._last_counts))]

    def _window_counts(self, metric_query: MetricQuery, question: _Question, answer: SideAnswer) -> WindowCounts | None:
        if not isinstance(answer, WebAnswer) or answer.total is None:
            return None
        return self._history.add(question, metric_query.window, answer.at, answer.bad, answer.total)


def _questions(metric_query: MetricQuery) -> tuple[_Question, ...]:
    """That about the candidate, and that about stable where the metric is compared."""
    web = metric_query.web
    if web is None:
        return ()
    urls = [web.url, web.stable_url] if web.stable_url else [web.url]
    return tuple(_Question(metric_query.namespace, url, web.form, web.timeout, web.credentials) for url in urls)


def _result(question: _Question, future: Future[SideAnswer]) -> SideAnswer:
    if not future.done() and not future.cancel() and not future.done():
        return UnreachableOriginError(f"{url_origin(question.url)} did not answer within {question.timeout:g} s")
    if future.cancelled():
        return MetricsUnreachable(f"{url_origin(question.url)} was not asked: no thread was free")
    return future.result()
