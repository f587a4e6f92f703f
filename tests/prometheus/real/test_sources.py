"""Every source against each real server: the numbers that come out are the numbers that were put in.

One exporter simulates all sources at once, each for a service of its own, with the names and labels of the real
exporters. It is scraped before and after a known number of requests, so that rates and quantiles are exact;
counts are extrapolated by ``increase`` and held against PromQL written by hand, at the same instant.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from autocanary.cli.measured_services import known_revisions
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Source
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from autocanary.prometheus.counter_queries import counter_family, counters_query, process_history_query
from autocanary.prometheus.counter_samples import parse_counter_rows, parse_history_rows
from autocanary.prometheus.counter_tracking import BAD, GOOD, SEPARATE_FAILURE, WITHIN_BOUND
from autocanary.prometheus.exporters import PRESETS, ExporterVariant, native_form
from autocanary.prometheus.preset_queries import preset_query, preset_rows, traffic_query, traffic_rows
from autocanary.prometheus.query_answer import QueryResponse, parse_response
from autocanary.prometheus.revision_labels import (
    ENVOY_CLUSTER,
    KNATIVE_LABELS,
    MESH_DESTINATION,
    POD_NAME,
    PRIVATE_SERVICE,
    PROMOTED,
    RELABELLED,
    TARGET_INFO,
    RevisionLabels,
    RevisionTarget,
)
from autocanary.prometheus.sources import exporter_variants
from tests.prometheus import exposition
from tests.prometheus.exposition import Load
from tests.prometheus.scripted_prometheus import ManualClock, metric_query
from tests.testbed.servers import Exporter, Prometheus, Prometheus3, Scrape, VictoriaMetrics, require_servers
from tests.testbed.servers.http import fetch

pytestmark = pytest.mark.real

WINDOW = 600.0  # longer than the tests may take on a busy machine
LONG = "a-service-with-a-name-of-some-length-predictor-00002"  # 52 characters: Knative hashes longer ones


@dataclass(frozen=True)
class ReplayedExporter:
    """One service, measured by one variant: what its revisions went through between the two scrapes.

    ``sided``: its revisions are those of KFServing's default and canary.
    """

    variant: ExporterVariant
    service: str
    stable: Load
    canary: Load
    sided: bool = False

    def load(self, number: int) -> Load:
        return self.stable if number == 1 else self.canary

    def revision(self, number: int) -> str:
        if self.sided:
            return f"{self.service}-predictor-{'default' if number == 1 else 'canary'}-00001"
        return f"{self.service}-predictor-{number:05}"

    def metric_query(self, metric: str, *, number: int = 2, source: Source = Source.AUTO) -> MetricQuery:
        asked = metric_query(metric, service=self.service, source=source, window=WINDOW)
        return replace(asked, revision=self.revision(number), stable=self.revision(1))


def _cases() -> tuple[ReplayedExporter, ...]:
    """A service per variant; on target_info only the first meter, as one pod shows all of its metrics."""
    variants = [
        variant
        for number, variant in enumerate(exporter_variants(Source.AUTO))
        if variant.revision_labels is not TARGET_INFO or number < 10
    ]
    cases = []
    for number, variant in enumerate(variants):
        failed = 0 if number % 3 == 0 else 10 + number
        canary = _delta(1000, failed, 800 + 3 * number)
        cases.append(ReplayedExporter(variant, f"s{number:02}", _delta(3000, 0, 2900), canary))
    return tuple(cases)


def _delta(total: int, failed: int, within_half: int) -> Load:
    return Load(total - failed, failed, ((0.1, total // 2), (0.5, within_half), (1.0, total)))


def _p99(load: Load) -> float:
    """By hand: the 0.99 quantile lies in the last bucket, 0.5 s to 1 s, and is interpolated there."""
    below = load.bucket_counts[1][1]
    return 0.5 + (0.99 * load.total - below) / (load.total - below) * 0.5


def _since_start(load: Load, *, later: bool) -> Load:
    """The counters of a revision that was busy long before the test, without and with the test's own load."""
    base = Load(50_000, 5_000 if load.failed else 0, ())
    start = base.total
    before = ((0.1, start // 2), (0.5, start * 3 // 4), (1.0, start))
    if not later:
        return replace(base, bucket_counts=before)
    bucket_counts = tuple((bound, old + new) for (bound, old), (_, new) in zip(before, load.bucket_counts, strict=True))
    return Load(base.good + load.good, base.failed + load.failed, bucket_counts)


def _pod(revision: str) -> str:
    """What Kubernetes calls a pod: 58 characters of its owner's name at most, and five of its own."""
    return f"{revision}-deployment-5d8f9c7b6-"[:58] + "x2x4z"


def _located(revision_labels: RevisionLabels, namespace: str, revision: str) -> dict[str, str]:
    return {
        RELABELLED: {"namespace": namespace, "revision_name": revision},
        PROMOTED: {"k8s_namespace_name": namespace, "kn_revision_name": revision},
        PRIVATE_SERVICE: {"namespace": namespace, "service": f"{revision}-private"},
        POD_NAME: {"namespace": namespace, "pod": _pod(revision)},
        TARGET_INFO: {},
        KNATIVE_LABELS: {},
        MESH_DESTINATION: {},
        ENVOY_CLUSTER: {},
    }[revision_labels]


def _exposed(variant: ExporterVariant, namespace: str, revision: str, load: Load) -> str:
    located = _located(variant.revision_labels, namespace, revision)
    exporter = variant.exporter.counted[0].metric.removesuffix("_count")
    match variant.source:
        case Source.KNATIVE:
            return exposition.knative(namespace, revision, load)
        case Source.KNATIVE_OTEL:
            tagged = {"kn_route_tag": "kn:disabled"} if variant.exporter.matchers else {}
            return exposition.knative_otel(exporter, {**located, **tagged}, load)
        case Source.ISTIO:
            return exposition.istio(namespace, revision, load)
        case Source.KOURIER:
            return exposition.kourier(namespace, revision, load)
        case Source.VLLM:
            return exposition.vllm(located, load, new_names=variant.revision_labels is RELABELLED)
        case Source.TRITON:
            quantiles = (("0.5", 0.2), ("0.99", 0.7))
            return exposition.triton(located, load, quantiles=quantiles)
        case Source.TENSORFLOW_SERVING:
            return exposition.tensorflow_serving(located, load)
        case Source.TORCHSERVE:
            return exposition.torchserve(located, load)
        case Source.MLSERVER:
            return exposition.mlserver(located, load)
        case _:
            return exposition.kserve(exporter, located, load)


CASES = _cases()
ON_PAGE = [case for case in CASES if case.variant.revision_labels is not TARGET_INFO]
JOINED = next(case for case in CASES if case.variant.revision_labels is TARGET_INFO)
SIDED = [replace(case, service=f"tensorflow-mnist-{number:02}", sided=True) for number, case in enumerate(ON_PAGE)]


def _page(*, later: bool) -> str:
    text = ""
    for case in (*ON_PAGE, *SIDED):
        for number in (1, 2):
            load = _since_start(case.load(number), later=later)
            text += _exposed(case.variant, "models", case.revision(number), load)
    # The same names in another namespace, all failing: they must not leak into the answers.
    other = _since_start(_delta(500, 500, 400), later=later)
    text += exposition.knative("team-a", "s00-predictor-00002", other)
    return text + _special(later=later)


def _special(*, later: bool) -> str:
    """Revisions that are in one of the states a real service goes through."""
    text = ""
    for revision, load in (("gone-predictor-00001", 2000), ("gone-predictor-00002", 1000)):
        text += exposition.knative("models", revision, _since_start(_delta(load, 0, load), later=later))
    quiet = _since_start(_delta(0, 0, 0), later=False)
    text += exposition.knative("models", "quiet-predictor-00001", _since_start(_delta(900, 0, 900), later=later))
    text += exposition.knative("models", "quiet-predictor-00002", quiet)
    text += exposition.knative("models", "staged-predictor-00001", _since_start(_delta(900, 0, 900), later=later))
    located = {"namespace": "models", "pod": _pod(LONG)}
    return text + exposition.mlserver(located, _since_start(_delta(800, 8, 700), later=later))


class World:
    """The exporters and Prometheus, after both scrapes."""

    def __init__(self, kind: str, page: Exporter, pods: Sequence[Exporter], prometheus: Prometheus) -> None:
        self.kind = kind
        self.page = page
        self.pods = pods
        self.prometheus = prometheus

    def stored(self, variant: ExporterVariant) -> ExporterVariant:
        """The variant as this server stores its histograms."""
        return native_form(variant) if self.kind == NATIVE and variant.histogram is not None else variant

    def show(self, *, later: bool) -> None:
        self.page.text = _page(later=later)
        for number, pod in enumerate(self.pods, start=1):
            revision = JOINED.revision(number)
            load = _since_start(JOINED.load(number), later=later)
            owner = {"kn_revision_name": revision, "k8s_namespace_name": "models", "k8s_pod_name": "x"}
            pod.text = exposition.line("target_info", owner, 1) + _exposed(JOINED.variant, "", "", load)

    def await_scrapes(self, count: int) -> None:
        """Until every exporter has been scraped so many times more, and Prometheus has stored it."""
        targets = [self.page, *self.pods]
        wanted = [len(target.requests) + count for target in targets]
        for target, number in zip(targets, wanted, strict=True):
            target.wait_for(number)


NATIVE = "prometheus3-native"
VICTORIA_METRICS = "victoria-metrics"
SERVERS: Mapping[str, type[Prometheus]] = {
    "prometheus2": Prometheus,
    "prometheus3": Prometheus3,
    NATIVE: Prometheus3,
    VICTORIA_METRICS: VictoriaMetrics,
}
"""The servers; ``NATIVE`` keeps no classic histogram: it converts them to native ones with custom buckets."""


@pytest.fixture(scope="module", params=SERVERS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """All sources, scraped a few times before and a few times after the load of the cases."""
    kind: str = request.param
    require_servers(SERVERS[kind].name)
    options = {"convert_classic_histograms_to_nhcb": True} if kind == NATIVE else {}
    with Exporter() as page, Exporter() as first, Exporter() as second:
        scrapes = [
            Scrape("page", page.target, options=options),
            Scrape("pods", first.target, path="/metrics", options=options),
            Scrape("pods-too", second.target, options=options),
        ]
        with SERVERS[kind](scrapes, interval=1.0) as prometheus:
            made = World(kind, page, (first, second), prometheus)
            made.show(later=False)
            made.await_scrapes(3)
            made.show(later=True)
            made.await_scrapes(3)
            yield made


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@dataclass
class CountingMetrics:
    """The port over the real server, and the outcome of each of its HTTP queries."""

    metrics: PrometheusMetrics
    outcomes: list[str]
    clock: ManualClock

    def query(self, *metric_queries: MetricQuery) -> list[Measurement]:
        measurements = self.metrics.query(metric_queries)
        assert list(measurements) == list(dict.fromkeys(metric_queries))
        return [measurements[metric_query] for metric_query in metric_queries]


@pytest.fixture
def counted(world: World, pool: ThreadPoolExecutor) -> Iterator[CountingMetrics]:
    outcomes: list[str] = []
    clock = ManualClock()
    config = PrometheusConfig(world.prometheus.url, timeout=10)
    metrics = PrometheusMetrics(config, pool=pool, clock=clock, count=outcomes.append)
    yield CountingMetrics(metrics, outcomes, clock)
    metrics.close()


def _names(case: ReplayedExporter) -> str:
    return f"{case.variant.source.value}-{'+'.join(case.variant.revision_labels.required_labels)}-{case.service}"


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("case", [*CASES, *SIDED], ids=_names)
def test_auto_source_gives_correct_values(case: ReplayedExporter, number: int, counted: CountingMetrics) -> None:
    """Each variant is found by its series alone; success, errors and latency of stable and of the candidate
    are what was put in, in KServe's names and in those of KFServing's two sides, whose pods' names are cut."""
    success, errors, slow, count = counted.query(
        case.metric_query("request-success-rate", number=number),
        case.metric_query("error-rate", number=number),
        case.metric_query("request-duration", number=number),
        case.metric_query("request-count", number=number),
    )
    load = case.load(number)
    share = load.failed / load.total * 100
    assert count.kind is MeasurementKind.VALUE, count.detail
    assert count.source is case.variant.source
    assert count.value == count.requests == pytest.approx(load.total, rel=0.5)
    assert count.age is not None
    assert 0 <= count.age < WINDOW
    if case.variant.source is Source.KSERVE:
        assert success.kind is errors.kind is MeasurementKind.UNSUPPORTED
        assert "counts no errors" in success.detail
    else:
        assert (success.kind, errors.kind) == (MeasurementKind.VALUE, MeasurementKind.VALUE)
        assert errors.value == pytest.approx(share, abs=1e-9)
        assert success.value == pytest.approx(100 - share, abs=1e-9)
        assert success.requests == pytest.approx(load.total, rel=0.5)
    if case.variant.source is Source.TORCHSERVE:
        assert slow.kind is MeasurementKind.UNSUPPORTED
    elif case.variant.source is Source.TRITON:
        assert slow.value == pytest.approx(0.7)
    else:
        assert slow.value == pytest.approx(_p99(load), rel=1e-9), slow.detail


def test_grouped_measurements_equal_single_ones(counted: CountingMetrics) -> None:
    """One round over every service of every source gives what a round for each gives."""
    metric_queries = [case.metric_query("error-rate") for case in CASES] + [
        case.metric_query("request-duration") for case in CASES
    ]
    together = counted.query(*metric_queries)
    apart = [counted.query(asked)[0] for asked in metric_queries]
    for asked, one, other in zip(metric_queries, together, apart, strict=True):
        assert (one.kind, one.source) == (other.kind, other.source), asked
        assert (one.value is None) == (other.value is None)
        assert one.value is None or one.value == pytest.approx(other.value, rel=1e-9, abs=1e-9)


def _complete_instant() -> float:
    """A moment whose samples are all stored: a scrape is stamped when it begins and stored when it ends."""
    return time.time() - 1


def _at(world: World, query: str, instant: float) -> QueryResponse:
    address = f"{world.prometheus.url}/api/v1/query"
    body = urllib.parse.urlencode({"query": query, "time": f"{instant:.3f}"}).encode()
    _, answer = fetch(address, method="POST", body=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    return parse_response(json.loads(answer))


def _by_hand(world: World, query: str, instant: float) -> float:
    [sample] = _at(world, query, instant).samples
    assert sample.value is not None
    return sample.value


@pytest.mark.parametrize("case", CASES, ids=_names)
def test_a_grouped_query_equals_a_query_per_revision(case: ReplayedExporter, world: World) -> None:
    """Asked together with other revisions, a revision's counts, age and quantile are its own."""
    instant = _complete_instant()
    both = [RevisionTarget("models", f"{case.service}-predictor-{number:05}") for number in (1, 2)]
    crowd = [
        *both,
        RevisionTarget("team-a", both[1].revision),
        RevisionTarget("models", "someone-else-predictor-00001"),
    ]
    variant = world.stored(case.variant)
    grouped = traffic_rows(variant, crowd, _at(world, traffic_query(variant, WINDOW, crowd), instant))
    slow = {}
    if "request-duration" in variant.exporter.measures:
        query = preset_query(variant, "request-duration", 0.99, WINDOW, crowd)
        slow = dict(preset_rows(variant, crowd, _at(world, query, instant)))
    for target in both:
        alone = traffic_rows(variant, [target], _at(world, traffic_query(variant, WINDOW, [target]), instant))
        assert grouped[target].count == pytest.approx(alone[target].count, rel=1e-12)
        assert grouped[target].failed == pytest.approx(alone[target].failed, rel=1e-12)
        assert grouped[target].age == alone[target].age
        if slow:
            query = preset_query(variant, "request-duration", 0.99, WINDOW, [target])
            assert slow[target] == preset_rows(variant, [target], _at(world, query, instant))[target]
    assert RevisionTarget("models", "someone-else-predictor-00001") not in grouped


@pytest.mark.parametrize("case", CASES, ids=_names)
@pytest.mark.parametrize("metric", ["error-rate", "request-duration"])
def test_raw_counters_equal_exposed_values(case: ReplayedExporter, metric: str, world: World) -> None:
    """Requests, failures and buckets of each revision as its exporter shows them, or why not."""
    variant = world.stored(case.variant)
    family = counter_family(variant, metric)
    if isinstance(family, str):
        assert case.variant.source in (Source.KSERVE, Source.TRITON, Source.TORCHSERVE)
        return
    both = [RevisionTarget("models", f"{case.service}-predictor-{number:05}") for number in (1, 2)]
    parsed = parse_counter_rows(family, both, _at(world, counters_query(family, both), _complete_instant()))
    history = _at(world, process_history_query(family, both), _complete_instant())
    for number, target in enumerate(both, start=1):
        load = _since_start(case.load(number), later=True)
        if case.variant.exporter.also_exported_by and case.variant.revision_labels is not POD_NAME:
            assert "the activator" in parsed[target].problem
            continue
        assert parsed[target].problem == ""
        [scrape] = parsed[target].update.scrapes
        counts: dict[str, float] = {}
        for (kind, code), value in scrape.values.items():
            key = kind if kind != WITHIN_BOUND else f"within {code}"
            counts[key] = counts.get(key, 0.0) + value
        others = {Source.VLLM: 5000, Source.TORCHSERVE: 7000} if metric == "error-rate" else {}
        failed = counts.get(BAD, 0.0) + counts.get(SEPARATE_FAILURE, 0.0)
        requests = counts.get(GOOD, 0.0) + counts.get(BAD, 0.0)
        separates_failures = case.variant.source not in (Source.KNATIVE, Source.ISTIO, Source.MLSERVER)
        if metric == "error-rate" or separates_failures:  # those three show no failures in the simulated histogram
            assert failed == load.failed
        assert requests == load.total + others.get(case.variant.source, 0)
        if metric == "request-duration":
            bounds = {float(key.split()[1]): value for key, value in counts.items() if key.startswith(WITHIN_BOUND)}
            if world.kind == NATIVE:  # of an empty bucket the count is known as well
                assert set(bounds) >= {0.1, 0.5, 1.0}
                assert all(
                    value == min(bounds[each] for each in (0.1, 0.5, 1.0) if each >= bound or each == 1.0)
                    for bound, value in bounds.items()
                    if bound >= 0.1
                )
            else:
                assert set(bounds) == {0.1, 0.5, 1.0}
        assert parse_history_rows(family, both, history)[target] == {scrape.process}


BY_HAND = {
    Source.KNATIVE: (
        'sum(increase(revision_request_count{namespace_name="models",revision_name="$"}[10m]))',
        "histogram_quantile(0.99, sum by (le) (rate(revision_request_latencies_bucket"
        '{namespace_name="models",revision_name="$"}[10m]))) / 1000',
    ),
    Source.ISTIO: (
        'sum(increase(istio_requests_total{reporter="source",response_flags!="DC",'
        'destination_service=~"$[.]models[.]svc[.]cluster[.]local"}[10m]))',
        "histogram_quantile(0.99, sum by (le) (rate(istio_request_duration_milliseconds_bucket"
        '{reporter="source",destination_service=~"$[.]models[.]svc[.]cluster[.]local"}[10m]))) / 1000',
    ),
    Source.KOURIER: (
        'sum(increase(envoy_cluster_upstream_rq{envoy_cluster_name="models/$"}[10m]))',
        "histogram_quantile(0.99, sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket"
        '{envoy_cluster_name="models/$"}[10m]))) / 1000',
    ),
}


@pytest.mark.parametrize("source", BY_HAND)
def test_presets_equal_hand_written_promql(source: Source, world: World) -> None:
    """Counts and quantiles equal the queries of the sources' own documentation, at the same instant."""
    case = next(case for case in CASES if case.variant.source is source)
    target = RevisionTarget("models", f"{case.service}-predictor-00002")
    instant = _complete_instant()
    count, slow = (query.replace("$", target.revision) for query in BY_HAND[source])
    variant = world.stored(case.variant)
    if variant.native:
        slow = slow.replace("_bucket{", "{").replace("sum by (le)", "sum")
    traffic = traffic_rows(variant, [target], _at(world, traffic_query(variant, WINDOW, [target]), instant))
    assert traffic[target].count == pytest.approx(_by_hand(world, count, instant), rel=1e-12)
    query = preset_query(variant, "request-duration", 0.99, WINDOW, [target])
    measured = preset_rows(variant, [target], _at(world, query, instant))
    assert measured[target] == pytest.approx(_by_hand(world, slow, instant), rel=1e-12)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("case", [case for case in (*CASES, *SIDED) if case.variant.source is Source.VLLM], ids=_names)
def test_vllm_token_metrics_work_with_old_and_new_names(
    case: ReplayedExporter, number: int, counted: CountingMetrics
) -> None:
    """vLLM's own presets answer whichever generation of names it exports, in seconds and percent."""
    names = ("time-to-first-token", "time-per-output-token", "queue-time")
    for measurement in counted.query(*(case.metric_query(name, number=number) for name in names)):
        assert measurement.value == pytest.approx(_p99(case.load(number)), rel=1e-9), measurement.detail
    [cache] = counted.query(case.metric_query("kv-cache-usage", number=number))
    assert cache.value == pytest.approx(40.0)


def test_a_service_with_a_long_name_is_found_by_its_pods(counted: CountingMetrics) -> None:
    """Kubernetes has cut the pod's name, and its revision is still recognised."""
    asked = replace(metric_query("error-rate", source=Source.AUTO, window=WINDOW), revision=LONG, stable="")
    [measurement] = counted.query(asked)
    assert measurement.value == pytest.approx(1.0), measurement.detail


def test_hundreds_of_rollouts_take_as_many_queries_as_one(world: World, counted: CountingMetrics) -> None:
    """Four presets of one source: two HTTP queries, whether one revision is asked about or 500."""

    def presets(service: str) -> list[MetricQuery]:
        names = ("request-success-rate", "request-duration", "error-rate", "request-count")
        return [metric_query(name, service=service, window=WINDOW) for name in names]

    one = counted.query(*presets("s00"))
    # Where the histogram is a native one, the first round finds that out and asks again.
    assert counted.outcomes == ["ok"] * (5 if world.kind == NATIVE else 2)
    crowd = [asked for number in range(500) for asked in presets(f"s{number:02}")]
    counted.query(*crowd)
    counted.outcomes.clear()
    many = counted.query(*crowd)
    # VictoriaMetrics takes 16 KiB a query, which the first round has learnt; services with and
    # without a native histogram are queried apart.
    assert len(counted.outcomes) <= {VICTORIA_METRICS: 10, NATIVE: 4}.get(world.kind, 2)
    assert set(counted.outcomes) == {"ok"}
    assert (
        [measurement.kind for measurement in many[:4]]
        == [measurement.kind for measurement in one]
        == [MeasurementKind.VALUE] * 4
    )


def test_canary_without_requests_differs_from_unmeasured(counted: CountingMetrics) -> None:
    """A quiet canary, one that never had a request, and an unknown service are three answers."""
    quiet, staged, unknown = counted.query(
        metric_query(service="quiet", window=WINDOW),
        metric_query(service="staged", window=WINDOW),
        metric_query(service="unknown", window=WINDOW),
    )
    assert (quiet.kind, quiet.requests) == (MeasurementKind.NO_SERIES, 0)
    assert (staged.kind, staged.requests) == (MeasurementKind.NO_SERIES, 0)
    assert (unknown.kind, unknown.requests) == (MeasurementKind.NO_SERIES, None)
    assert "revision_request_count" in unknown.detail


def test_custom_queries_share_a_request(world: World, counted: CountingMetrics) -> None:
    """Good, scalar, empty, NaN, many-series and refused queries in one round each get their own answer."""
    if world.kind == VICTORIA_METRICS:
        pytest.skip("MetricsQL drops NaN, and takes ranges and duplicates that PromQL refuses")
    queries = {
        "sum(up) # all": MeasurementKind.VALUE,
        "1 + 1": MeasurementKind.VALUE,
        "vector(0) / 0": MeasurementKind.NOT_A_NUMBER,
        'up{job="none"}': MeasurementKind.NO_SERIES,
        "up": MeasurementKind.AMBIGUOUS,
        "up[5m]": MeasurementKind.AMBIGUOUS,
        "no_such_function(up)": MeasurementKind.REFUSED,
        'label_replace(up, "job", "same", "", "") + on (job) label_replace(up, "job", "same", "", "")': (
            MeasurementKind.REFUSED
        ),
    }
    asked = [metric_query(query=query, service="s00", window=WINDOW) for query in queries]
    measurements = counted.query(*asked)
    assert [measurement.kind for measurement in measurements] == list(queries.values())
    assert [measurement.value for measurement in measurements[:2]] == [3, 2]
    assert measurements[0].requests == pytest.approx(1000, rel=0.5)
    first = len(counted.outcomes)
    counted.query(*asked)
    # the traffic, one joined query, the ages, and alone: the range, the unknown function, the one that spoilt the rest
    assert len(counted.outcomes) - first == 6


def test_custom_query_has_the_age_of_its_samples(world: World, counted: CountingMetrics) -> None:
    """On every server: what is scraped each second is a few seconds old, a constant has no age."""
    world.await_scrapes(1)
    own = 'sum(rate(envoy_cluster_upstream_rq{envoy_response_code=~"2.."}[5m])) / sum(up)'
    measured, constant = counted.query(metric_query(query=own, service="s00"), metric_query(query="vector(1)"))
    assert measured.kind is MeasurementKind.VALUE
    assert measured.age is not None
    assert 0 <= measured.age < 15
    assert (constant.value, constant.age) == (1, None)


def test_probe_returns_server_version(world: World, counted: CountingMetrics) -> None:
    """The start-up check gives the version where the server says it, and a query's refusal in its own words."""
    probe = counted.metrics.probe()
    assert probe.ok
    assert probe.text[0].isdigit() or (world.kind, probe.text) == (VICTORIA_METRICS, "unknown version")
    assert counted.metrics.refusal("sum(up)") is None
    refusal = "unknown func" if world.kind == VICTORIA_METRICS else "unknown function"
    assert refusal in (counted.metrics.refusal("nope(up)") or "")


def test_validate_finds_the_services_by_their_series(counted: CountingMetrics) -> None:
    """With every form of labels but target_info, whose revisions are not in the series themselves."""
    found = known_revisions(counted.metrics.run)
    for case in ON_PAGE:
        assert list(found["models", case.service, "predictor"]) == [case.revision(1), case.revision(2)]


def test_every_preset_has_a_variant_that_answers_it(counted: CountingMetrics) -> None:
    """No preset exists on paper only."""
    for metric in PRESETS:
        measurements = counted.query(*(case.metric_query(metric) for case in CASES))
        assert any(measurement.kind is MeasurementKind.VALUE for measurement in measurements), metric


def test_stopped_scrape_is_stale_and_down_server_is_outage(world: World, counted: CountingMetrics) -> None:
    """Old samples, a frozen server and its return are distinguished. Last, as it changes the world."""
    gone = metric_query(service="gone", window=WINDOW)
    assert counted.query(gone)[0].kind is MeasurementKind.VALUE
    world.page.text = exposition.knative("models", "s00-predictor-00002", Load(60_000, 6_000, ((1.0, 66_000),)))
    world.await_scrapes(3)
    [stale] = counted.query(gone)
    if world.kind == VICTORIA_METRICS:  # it shows the last sample for five minutes, which grows older
        assert stale.kind is MeasurementKind.VALUE
        assert stale.age is not None
        assert stale.age >= 2
        return
    assert stale.kind is MeasurementKind.STALE
    assert "has stopped" in stale.detail
    with ThreadPoolExecutor(2) as pool:
        config = PrometheusConfig(world.prometheus.url, timeout=0.5)
        hasty = PrometheusMetrics(config, pool=pool, clock=ManualClock())
        world.prometheus.pause()
        try:
            outage = hasty.query([gone])[gone]
        finally:
            world.prometheus.resume()
        assert outage.kind is MeasurementKind.OUTAGE
        assert "did not answer within 0.5 s" in outage.detail
        hasty.close()
    assert counted.query(gone)[0].kind is MeasurementKind.STALE
