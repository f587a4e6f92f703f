"""The Metrics port with the real grouping of questions into queries, and answers that cost nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from autocanary.model.measurement import Question, Reading
from autocanary.ports import Clock
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.counter_account import Account
from autocanary.prometheus.counter_collection import Subject
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import Discovery
from autocanary.prometheus.query_answer import Answer, Sample
from autocanary.prometheus.query_batch import Limits, answer_all
from autocanary.prometheus.query_plan import Plan
from benchmarks import answering

__all__ = ["GroupedMetrics"]


class GroupedMetrics:
    """``queries`` counts what would have been sent to Prometheus, ``questions`` what was asked.

    HTTP and JSON are not in it: ``benchmarks.fleet`` measures them.
    """

    def __init__(self, clock: Clock) -> None:
        limits = PrometheusConfig("http://127.0.0.1")
        self._limits = Limits(limits.max_revisions, limits.max_query_bytes)
        self._discovery = Discovery(clock.now, most=limits.max_revisions, most_bytes=limits.max_query_bytes)
        self._custom = CustomQueries(clock.now, limits.max_query_bytes)
        self._account: Account[Subject] = Account(clock.now)
        self.queries = self.questions = 0

    def ask(self, questions: Sequence[Question]) -> Mapping[Question, Reading]:
        self.questions += len(questions)
        plan: Plan[Mapping[Question, Reading]] = answer_all(
            questions, self._discovery, self._custom, self._limits, self._account
        )
        try:
            queries = next(plan)
            while True:
                self.queries += len(queries)
                queries = plan.send({query: _answer(query) for query in queries})
        except StopIteration as stop:
            readings: Mapping[Question, Reading] = stop.value
            return readings


@lru_cache(maxsize=1024)
def _answer(query: str) -> Answer:
    found = answering.rows(answering.read(query), frozenset())
    return Answer(tuple(Sample(labels, value, 0.0) for labels, value in found))
