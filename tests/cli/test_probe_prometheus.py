"""What Prometheus says of policies, asked through a function that stands for it."""

from __future__ import annotations

import socket
from dataclasses import replace

import promql_parser
import pytest

from autocanary.cli.probe_prometheus import check_queries, probe
from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Source, Unit
from autocanary.model.policy import Analysis, Metric, Range
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from tests.cli.fake_client import POLICY

PRESET = Metric("request-success-rate", Range(min=99), Unit.PERCENT)
PRESET_OF_3M = replace(PRESET, window=180)
CUSTOM = Metric("drift", Range(max=0), Unit.NUMBER, query='drift{revision="{{ revision }}"}[{{ window }}]')


class Prometheus:
    """Refuses what holds ``bad``, has series of ``has``, scraped at ``interval``, and keeps what it was asked."""

    def __init__(self, *, bad: str = "\0", has: str = "\0", interval: float | None = None) -> None:
        self.bad, self.has, self.interval = bad, has, interval
        self.asked: list[str] = []

    def __call__(self, promql: str) -> QueryResponse:
        self.asked.append(promql)
        if self.bad in promql:
            raise MetricsRefused("parse error: unexpected character")
        if "offset" in promql:
            assert isinstance(promql_parser.parse(promql), promql_parser.Expr)
            known = self.interval is not None and self.has in promql
            return QueryResponse((VectorSample({}, self.interval, 0.0),) if known else ())
        return QueryResponse((VectorSample({"__name__": self.has}, 1.0, 0.0),) if self.has in promql else ())


def warnings_of(prometheus: Prometheus, *metrics: Metric, source: Source = Source.AUTO) -> list[str]:
    of = replace(POLICY, analysis=Analysis(metrics, source=source, window_follows=False), origin="policy.yaml:1")
    return [str(problem) for problem in check_queries(prometheus, [of])]


def test_a_query_that_runs_is_no_problem_with_or_without_data() -> None:
    """Whether it has data depends on a service that is not named; the query runs with its gaps filled."""
    prometheus = Prometheus(has="drift")
    assert warnings_of(prometheus, CUSTOM) == []
    assert prometheus.asked == ["vector(1)", 'drift{revision="sample"}[1m]', 'count({__name__="drift"})']


def test_a_metric_that_does_not_exist_is_a_warning_that_names_it() -> None:
    """A query with a misspelt name runs, and never has data."""
    misspelt = replace(CUSTOM, query="sum(rate(erors_total[{{ window }}])) / sum(rate(requests_total[{{ window }}]))")
    [warning] = warnings_of(Prometheus(has='requests_total"'), misspelt)
    assert warning.startswith(
        "policy.yaml:1: warning: prod: the query of drift reads erors_total, of which this Prometheus has no series"
    )


def test_a_refused_query_is_an_error() -> None:
    """In Prometheus' words, with the policy's place."""
    assert warnings_of(Prometheus(bad="drift"), CUSTOM) == [
        "policy.yaml:1: prod: the query of drift is refused: parse error: unexpected character"
    ]


def test_a_preset_that_something_measures_is_no_problem() -> None:
    """Any of the sources will do for auto."""
    prometheus = Prometheus(has="istio_requests_total")
    assert warnings_of(prometheus, PRESET) == []
    assert "revision_request_count" in prometheus.asked[1]


@pytest.mark.parametrize(
    ("interval", "window"),
    [(15, None), (30.02, None), (60, 120), (None, None), (float("nan"), None)],
    ids=str,
)
def test_a_window_of_two_scrapes_is_no_problem(interval: float | None, window: float | None) -> None:
    """Nor is an interval that is not known, because the series are younger than five minutes."""
    prometheus = Prometheus(has="istio_requests_total", interval=interval)
    assert warnings_of(prometheus, replace(PRESET, window=window)) == []
    assert "istio_requests_total{" in prometheus.asked[-1]
    assert "count_over_time" in prometheus.asked[-1]


def test_a_window_that_follows_the_scrapes_is_no_problem() -> None:
    """It is as long as they need."""
    of = replace(POLICY, analysis=Analysis((PRESET,), window_follows=True))
    assert check_queries(Prometheus(has="istio_requests_total", interval=60), [of]) == []


def test_a_window_under_two_scrapes_is_one_warning_with_the_numbers() -> None:
    """Both presets rest on the same series, which Prometheus reports once."""
    prometheus = Prometheus(has="revision_request_count", interval=60)
    errors = Metric("error-rate", Range(max=1), Unit.PERCENT)
    (warning,) = warnings_of(prometheus, PRESET, errors, source=Source.KNATIVE)
    assert warning.startswith(
        "policy.yaml:1: warning: prod: revision_request_count is scraped every 1m, the window is 1m: use at least 3m"
    )
    assert len(prometheus.asked) == len(set(prometheus.asked)) == 3


def test_the_window_of_a_metric_overrides_that_of_the_analysis() -> None:
    prometheus = Prometheus(has="revision_request_count", interval=60)
    (warning,) = warnings_of(prometheus, replace(PRESET, window=90), PRESET_OF_3M, source=Source.KNATIVE)
    assert "the window is 1m30s" in warning


def test_a_refused_scrape_interval_query_is_no_problem_of_the_policy() -> None:
    """Too many samples for this server, say: the presets were checked all the same."""
    assert warnings_of(Prometheus(has="revision_request_count", bad="offset"), PRESET, source=Source.KNATIVE) == []


def test_a_preset_that_nothing_measures_is_a_warning() -> None:
    """It names what was looked for, and where that comes from."""
    (warning,) = warnings_of(Prometheus(), PRESET, source=Source.KNATIVE)
    assert warning.startswith(
        "policy.yaml:1: warning: prod: nothing in this Prometheus measures request-success-rate: "
        "there are no series of revision_request_count"
    )
    assert "they come from knative" in warning


def test_a_preset_that_the_source_cannot_give_is_an_error() -> None:
    """Waiting would not help; Prometheus is not even asked."""
    prometheus = Prometheus()
    tokens = Metric("time-to-first-token", Range(max=1), Unit.SECONDS)
    (error,) = warnings_of(prometheus, tokens, source=Source.KNATIVE)
    assert error == "policy.yaml:1: prod: knative does not measure time-to-first-token"
    assert prometheus.asked == ["vector(1)"]


def test_a_prometheus_that_is_down_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for every metric, and not as a fault of the policy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MetricsUnreachable):
            probe(url, [POLICY])
