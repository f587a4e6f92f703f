"""The Metrics port, put together: questions in, readings out, nothing raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.model.measurement import Question, Reading
from autocanary.ports import Clock, Pool
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.counter_account import Account
from autocanary.prometheus.counter_collection import Subject
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import Discovery
from autocanary.prometheus.query_batch import Limits, answer_all
from autocanary.prometheus.query_plan import Flight

__all__ = ["Probe", "PrometheusMetrics"]


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether Prometheus answers; ``text`` is its version, or one sentence that says what is wrong."""

    ok: bool
    text: str


class PrometheusMetrics:
    """Implements ``autocanary.ports.Metrics``; safe to use from many threads.

    ``pool`` runs the queries; ``ask`` waits for it, so it must not itself be called on one of its threads.
    ``count`` is told the outcome of every HTTP query: "ok", "partial", "refused" or "unreachable".
    """

    def __init__(
        self,
        config: PrometheusConfig,
        pool: Pool,
        clock: Clock,
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._client = PrometheusClient(config, count)
        self._flight = Flight(self._client.query, pool)
        self._limits = Limits(config.max_revisions, config.max_query_bytes)
        self._discovery = Discovery(clock.now, most=config.max_revisions, most_bytes=config.max_query_bytes)
        self._custom = CustomQueries(clock.now, config.max_query_bytes)
        self._account: Account[Subject] = Account(clock.now)

    def ask(self, questions: Sequence[Question]) -> Mapping[Question, Reading]:
        """Exactly one reading for every question, in the order of the questions."""
        return self._flight.fly(
            answer_all(questions, self._discovery, self._custom, self._limits, self._account)
        )

    def probe(self) -> Probe:
        """One query and the version; takes at most two timeouts."""
        try:
            self._client.query("vector(1)")
        except MetricsError as error:
            return Probe(False, str(error))
        return Probe(True, self._client.version() or "unknown version")

    def refusal(self, query: str) -> str | None:
        """Why Prometheus refuses the query, None when it runs it; MetricsUnreachable without an answer."""
        try:
            self._client.query(query)
        except MetricsRefused as error:
            return str(error)
        return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
