"""The services that Prometheus knows, and what a policy's metrics are on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autocanary.cli.measured_services import known_revisions, measure_services
from autocanary.errors import MetricsRefused
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Source, Unit
from autocanary.model.policy import Analysis, Metric, Range, Selector
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from tests.cli.fake_client import POLICY

RATE = Metric("error-rate", Range(max=1), Unit.PERCENT)
OWN = Metric("drift", Range(max=0), Unit.NUMBER, query='drift{revision="{{ revision }}"}', query_type="vector")


def series(*labels: Mapping[str, str]) -> QueryResponse:
    return QueryResponse(tuple(VectorSample(each, 1.0, 0.0) for each in labels))


def prometheus(query: str) -> QueryResponse:
    """Queue-proxy names two revisions of mnist; Kourier one of fraud, and Istio is too much for this server."""
    if "namespace_name" in query:
        return series(
            {"namespace_name": "models", "revision_name": "mnist-predictor-00009"},
            {"namespace_name": "models", "revision_name": "mnist-predictor-00010"},
            {"namespace_name": "models", "revision_name": "no-service-of-kserve"},
        )
    if "envoy_cluster_name" in query:
        return series({"envoy_cluster_name": "team-a/fraud-transformer-00001"})
    if "destination_service" in query:
        raise MetricsRefused("too many series")
    return series()


class FakeMetrics:
    """One measurement for every query, by the metric's name."""

    def __init__(self, **found: Measurement) -> None:
        self.found = found
        self.asked: list[MetricQuery] = []

    def query(self, questions: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        self.asked += questions
        return {each: self.found["drift" if each.query else "rate"] for each in questions}


FOUND = FakeMetrics(
    rate=Measurement(
        MeasurementKind.VALUE,
        0.5,
        Unit.PERCENT,
        requests=1200,
        age=4,
        source=Source.KNATIVE,
        exporter="revision_request_count{namespace_name,revision_name}",
        window=60,
        scrape_interval=15.002,
    ),
    drift=Measurement(MeasurementKind.AMBIGUOUS, detail="the query gives 2 series, for example {a} and {b}"),
)


def test_revisions_are_found_by_every_form_of_labels() -> None:
    """The newest last; what is no revision of KServe's is left out."""
    assert known_revisions(prometheus) == {
        ("models", "mnist", "predictor"): ["mnist-predictor-00009", "mnist-predictor-00010"],
        ("team-a", "fraud", "transformer"): ["fraud-transformer-00001"],
    }


def test_selected_services_are_measured_as_the_service_does() -> None:
    """The newest revision against the one before, with its value, rate, source, scrapes; many series are a warning."""
    policy = replace(POLICY, selector=Selector(names=("mn*",)), analysis=Analysis((RATE, OWN)), origin="policy.yaml:1")
    found = measure_services(prometheus, FOUND, [policy])
    assert list(found.lines) == [
        "prod: models/mnist: error-rate of mnist-predictor-00010: 0.5 %; 1,200 requests in 1m (20 a second); "
        "source knative; revision_request_count{namespace_name,revision_name}; scraped every 15s; newest sample 4s old",
        "prod: models/mnist: drift of mnist-predictor-00010: several series where one was expected: the query gives 2 "
        "series, for example {a} and {b}",
    ]
    assert [str(problem) for problem in found.problems] == [
        "policy.yaml:1: warning: prod: drift of models/mnist: the query gives 2 series, for example {a} and {b}"
    ]
    assert {(each.revision, each.stable) for each in FOUND.asked} == {
        ("mnist-predictor-00010", "mnist-predictor-00009")
    }
    assert FOUND.asked[1].query == 'drift{revision="mnist-predictor-00010"}'


def test_policy_without_a_known_service_says_so() -> None:
    """Another namespace, another name, another component: nothing was measured, which is no error."""
    for changes in (
        {"namespace": "elsewhere"},
        {"selector": Selector(names=("other",))},
        {"selector": Selector(namespaces=("team-*",))},
    ):
        found = measure_services(prometheus, FOUND, [replace(POLICY, **changes)])
        assert list(found.lines) == ["prod: no selected service has series in this Prometheus: nothing was measured"]
        assert list(found.problems) == []
