"""Finding the source: few probes, a memory, and no haste."""

from __future__ import annotations

import re
from collections.abc import Collection

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import MeasurementKind, MetricQuery, Source
from autocanary.prometheus.exporter_discovery import (
    DiscoveredExporters,
    ExporterDiscovery,
    discovery_keys_of,
    revision_targets,
    search_hint,
)
from autocanary.prometheus.exporters import ExporterVariant
from autocanary.prometheus.preset_queries import probed_name
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import QueryResult
from autocanary.prometheus.revision_labels import RevisionLabels, RevisionTarget
from autocanary.prometheus.sources import exporter_variants
from tests.prometheus.scripted_prometheus import (
    FakePrometheus,
    ManualClock,
    MetricsHarness,
    metric_query,
    row,
    rows,
)

AUTO = metric_query(source=Source.AUTO)
CANDIDATE = RevisionTarget("models", "mnist-predictor-00002")
STABLE = RevisionTarget("models", "mnist-predictor-00001")
FORMS = list(dict.fromkeys(variant.revision_labels for variant in exporter_variants(Source.AUTO)))


def variant(source: Source, revision_labels: int = 0, exporter: int = 0) -> ExporterVariant:
    exporters = list(dict.fromkeys(one.exporter for one in exporter_variants(source)))
    return ExporterVariant(exporters[exporter], exporters[exporter].revision_label_schemes[revision_labels])


class FakeSeries:
    """A Prometheus that has series of the given variants for the given revisions."""

    def __init__(self, *variants: ExporterVariant, targets: Collection[RevisionTarget] = (CANDIDATE, STABLE)) -> None:
        self.variants = variants
        self.targets = targets
        self.fault: dict[tuple[str, ...], QueryResult] = {}

    def __call__(self, query: str) -> QueryResult:
        revision_labels = self.form(query)
        if revision_labels.required_labels in self.fault:
            return self.fault[revision_labels.required_labels]
        names = [name for names in re.findall(r'__name__=~"([^"]*)"', query) for name in names.split("|")]
        found = []
        for one in self.variants:
            metric = one.exporter.counted[0].metric
            if one.revision_labels is revision_labels and metric in names:
                metric = probed_name(metric, one.exporter.matchers)
                for target in self.targets:
                    labels = dict(zip(revision_labels.group_labels, revision_labels.label_values(target), strict=True))
                    found.append(row(1, **labels, autocanary_metric=metric))
        return rows(*found)

    @staticmethod
    def form(query: str) -> RevisionLabels:
        """Which form of labels a probe looks for."""
        group_labels = re.match(r"count by \(([^)]*), autocanary_metric\)", query)
        assert group_labels is not None, query
        same = [one for one in FORMS if ", ".join(one.group_labels) == group_labels[1]]
        return next(one for one in same if one.needs_target_info == ("target_info" in query))


class DiscoveryHarness:
    """A discovery over a scripted Prometheus."""

    def __init__(self, prometheus: FakeSeries) -> None:
        self.clock = ManualClock()
        self.prometheus = prometheus
        self.fake = FakePrometheus(prometheus)
        self.discovery = ExporterDiscovery(self.clock.now, max_targets=1000, max_query_bytes=200_000)

    def find(self, *metric_queries: MetricQuery) -> DiscoveredExporters:
        """What is known of the first query's stable revision, after asking for all the queries' revisions."""
        asked = [key for each in metric_queries or (AUTO,) for key in discovery_keys_of(each)]
        return self.fake.run(self.discovery.resolve(asked))[asked[1]]

    @property
    def probes(self) -> int:
        count = len(self.fake.queries)
        self.fake.rounds.clear()
        return count


def test_one_probe_per_label_scheme() -> None:
    """Hundreds of services are looked for in one round of eight queries."""
    search = DiscoveryHarness(FakeSeries())
    search.find(*(metric_query(service=f"s{number}", source=Source.AUTO) for number in range(300)))
    assert len(search.fake.rounds) == 1
    assert search.probes == len(FORMS) == 8


def test_discovered_service_is_not_probed_again() -> None:
    """Found once, remembered."""
    search = DiscoveryHarness(FakeSeries(variant(Source.ISTIO)))
    assert search.find().variants == (variant(Source.ISTIO),)
    assert search.probes == 8
    search.clock.time += 1000
    assert search.find().variants == (variant(Source.ISTIO),)
    assert search.find().ever_had_series
    assert search.probes == 0


def test_undiscovered_service_is_probed_again_later() -> None:
    """Every 30 seconds at most, until there is something."""
    search = DiscoveryHarness(FakeSeries())
    assert search.find() == DiscoveredExporters()
    search.clock.time += 29
    assert search.find() == DiscoveredExporters()
    assert search.probes == 8
    search.clock.time += 1
    search.prometheus.variants = (variant(Source.KOURIER),)
    assert search.find().variants == (variant(Source.KOURIER),)
    assert search.probes == 8


def test_source_with_one_label_scheme_needs_no_probe() -> None:
    """knative, istio and kourier are what they are; whether they have been seen is learnt from answers."""
    search = DiscoveryHarness(FakeSeries())
    asked = metric_query(source=Source.KNATIVE)
    assert search.find(asked) == DiscoveredExporters(exporter_variants(Source.KNATIVE))
    assert search.probes == 0
    search.discovery.series_found(discovery_keys_of(asked)[1], series=True)
    assert search.find(asked).ever_had_series


def test_label_scheme_of_named_source_is_found() -> None:
    """knative-otel is one source with many forms: only its own metrics are looked for."""
    discovery_key = variant(Source.KNATIVE_OTEL, revision_labels=3, exporter=1)
    search = DiscoveryHarness(FakeSeries(discovery_key, variant(Source.KNATIVE)))
    assert search.find(metric_query(source=Source.KNATIVE_OTEL)).variants == (discovery_key,)
    assert search.probes == 5


def test_first_source_in_order_is_preferred() -> None:
    """Queue-proxy before gateways before model servers; per metric the first that can give it."""
    everything = exporter_variants(Source.AUTO)
    found = DiscoveryHarness(FakeSeries(*everything)).find()
    assert found.variants == everything
    assert found.preferred("error-rate") == variant(Source.KNATIVE)
    tokens = found.preferred("time-to-first-token")
    assert tokens is not None
    assert tokens.source is Source.VLLM
    only_kserve = DiscoveredExporters((variant(Source.KSERVE),))
    assert only_kserve.preferred("error-rate") == variant(Source.KSERVE)
    assert DiscoveredExporters().preferred("error-rate") is None


def test_silent_service_is_probed_again_and_kept() -> None:
    """Its exporter may have been replaced; or its revisions are scaled to zero, which is no news."""
    search = DiscoveryHarness(FakeSeries(variant(Source.KNATIVE)))
    search.find()
    for key in discovery_keys_of(AUTO):
        search.discovery.series_found(key, series=False)
    search.clock.time += 30
    search.prometheus.variants = ()
    assert search.find().variants == (variant(Source.KNATIVE),)
    assert search.probes == 16
    search.clock.time += 30
    search.prometheus.variants = (variant(Source.KNATIVE_OTEL),)
    assert search.find().variants == (variant(Source.KNATIVE_OTEL),)
    for key in discovery_keys_of(AUTO):
        search.discovery.series_found(key, series=True)
    search.clock.time += 30
    search.find()
    assert search.probes == 8


def test_failed_probe_is_repeated() -> None:
    """Not found is distinguished from not answered; what was found is used, and better is looked for again."""
    outage = MetricsUnreachable("away")
    search = DiscoveryHarness(FakeSeries(variant(Source.KOURIER)))
    search.prometheus.fault = {form.required_labels: outage for form in FORMS}
    assert search.find().error is outage
    search.clock.time += 30
    search.prometheus.fault = {("namespace_name", "revision_name"): outage}
    assert search.find().variants == (variant(Source.KOURIER),)
    assert not search.find().conclusive
    search.clock.time += 30
    search.prometheus.fault = {}
    search.prometheus.variants = (variant(Source.KNATIVE), variant(Source.KOURIER))
    assert search.find().variants[0] == variant(Source.KNATIVE)
    assert search.find().conclusive


def test_refused_label_scheme_counts_as_absent() -> None:
    """A join that this Prometheus cannot do must not keep the others from being decided."""
    search = DiscoveryHarness(FakeSeries(variant(Source.VLLM)))
    search.prometheus.fault = {("job", "instance", "target_info"): MetricsRefused("many-to-many")}
    assert search.find().conclusive


def test_warning_is_kept_while_nothing_is_found() -> None:
    """With a store missing, absence proves nothing."""
    search = DiscoveryHarness(FakeSeries())
    search.prometheus.fault = {form.required_labels: QueryResponse((), ("a store is down",)) for form in FORMS}
    assert search.find().warning == "a store is down"


def test_unused_services_expire() -> None:
    """An hour later a deleted service is out of memory."""
    search = DiscoveryHarness(FakeSeries())
    search.find()
    search.clock.time += 3601
    search.find(metric_query(service="other", source=Source.AUTO))
    assert len(search.discovery._states) == 2


def test_each_revision_has_exporters_of_its_own() -> None:
    """A candidate without series stays in doubt and is probed every 30 seconds; stable is decided."""
    search = DiscoveryHarness(FakeSeries(variant(Source.VLLM), targets=(STABLE,)))
    keys = discovery_keys_of(AUTO)
    found = search.fake.run(search.discovery.resolve(keys))
    assert [found[key].variants for key in keys] == [(), (variant(Source.VLLM),)]
    search.clock.time += 30
    search.prometheus.variants, search.prometheus.targets = (variant(Source.TRITON),), (CANDIDATE,)
    found = search.fake.run(search.discovery.resolve(keys))
    assert [found[key].variants for key in keys] == [(variant(Source.TRITON),), (variant(Source.VLLM),)]
    assert all("mnist-predictor-00001" not in query for query in search.fake.rounds[-1])


def test_exporter_that_measures_both_revisions_is_preferred() -> None:
    """Queue-proxy's series of the candidate begin with its first request; until then both have Triton's."""
    own = DiscoveredExporters((variant(Source.KNATIVE), variant(Source.TRITON)))
    stable = DiscoveredExporters((variant(Source.TRITON),))
    assert own.preferred("error-rate", stable) == variant(Source.TRITON)
    assert own.preferred("error-rate", own) == variant(Source.KNATIVE)
    only_kserve = DiscoveredExporters((variant(Source.KSERVE),))
    both = DiscoveredExporters((variant(Source.KNATIVE), variant(Source.KSERVE)))
    assert both.preferred("error-rate", only_kserve) == variant(Source.KNATIVE)


def test_search_hint_lists_series_selectors() -> None:
    """Metric names with the labels that are needed."""
    assert search_hint(Source.KNATIVE) == "revision_request_count with {namespace_name,revision_name}"
    assert "or {namespace,service}" in search_hint(Source.KNATIVE_OTEL)


def test_stable_revision_is_probed_too() -> None:
    """It shows that the source exists; without one the revision stands alone."""
    assert revision_targets(AUTO) == (RevisionTarget("models", "mnist-predictor-00002"), STABLE)


@pytest.mark.parametrize("failing", [MetricsUnreachable("away"), MetricsRefused("no")])
def test_measurement_of_undiscovered_service(failing: MetricsUnreachable | MetricsRefused) -> None:
    """Through the batcher: an outage of the probes is an outage, a refusal means that nothing was found."""
    measurement = MetricsHarness(lambda _query: failing).query_one(AUTO)
    expected = MeasurementKind.OUTAGE if isinstance(failing, MetricsUnreachable) else MeasurementKind.NO_SERIES
    assert measurement.kind is expected
