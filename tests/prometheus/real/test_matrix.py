"""Sources, servers, scrape intervals and topologies against each other: each cell has a known truth.

Time is simulated: the samples of ten minutes are written into the server at once, and it is asked as of two instants.
All cells of a server are measured in one round each, as the service does it, and every test looks at its own cell.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pytest

from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, RequestCounters, Source
from autocanary.prometheus.query_answer import QueryResponse, parse_response
from autocanary.prometheus.sources import exporter_variants
from tests.prometheus import exposition
from tests.prometheus.exposition import Load
from tests.prometheus.scripted_prometheus import MetricsHarness, metric_query
from tests.testbed import setup
from tests.testbed.servers import Prometheus, Prometheus3, VictoriaMetrics, require_servers
from tests.testbed.servers.http import fetch

pytestmark = pytest.mark.real

SERVERS: Mapping[str, type[Prometheus]] = {
    "prometheus2": Prometheus,
    "prometheus3": Prometheus3,
    "victoria-metrics": VictoriaMetrics,
}
SOURCES = tuple(source for source in Source if source is not Source.AUTO)
INTERVALS = (1, 15, 60)  # seconds
TOPOLOGIES = ("one-job", "two-jobs", "staggered", "no-candidate")

SIMULATED_SECONDS = 600
BETWEEN = 240.0
"""Seconds from the first instant to the second, which is a multiple of each interval."""
PER_SECOND = {1: 20, 2: 10}
"""Requests by revision number."""
FAILED_PER_SECOND = 1
BEFORE = 100_000
"""Requests of each process before the simulated time: far above zero, so that increase() extrapolates alike."""


@dataclass(frozen=True)
class Cell:
    """One service: how it is measured, how often, and by which scrapes."""

    source: Source
    interval: int
    topology: str

    @property
    def service(self) -> str:
        return f"{self.source.value}-{self.interval}s-{self.topology}"

    def __str__(self) -> str:
        return self.service

    def revision(self, number: int) -> str:
        return f"{self.service}-predictor-{number:05}"

    def pods(self, number: int) -> int:
        """In the staggered topology the candidate has two, scraped at different moments."""
        return 2 if self.topology == "staggered" and number == 2 else 1

    def scrapes(self, number: int, pod: int) -> Iterator[tuple[str, float]]:
        """Each job that scrapes the pod, and by how much of an interval it is late."""
        if self.topology == "no-candidate" and number == 2:
            return
        yield "pods", {"staggered": 0.3 * number + 0.2 * pod}.get(self.topology, 0.0)
        if self.topology == "two-jobs":
            yield "pods-again", 0.4

    def query(self, metric: str, **more: object) -> MetricQuery:
        asked = metric_query(metric, service=self.service, source=Source.AUTO)
        return replace(asked, follows_scrapes=True, quantile=0.9, **more)  # type: ignore[arg-type]


CELLS = tuple(Cell(*each) for each in product(SOURCES, INTERVALS, TOPOLOGIES))


def _load(requests: int, failed: int) -> Load:
    half, most = requests // 2, requests * 4 // 5
    return Load(requests - failed, failed, ((0.1, half), (0.5, most), (1.0, requests)))


def _page(cell: Cell, number: int, load: Load) -> str:
    """What the exporter shows of one pod."""
    revision = cell.revision(number)
    located = {"namespace": "models", "revision_name": revision}
    write: Mapping[Source, Callable[[], str]] = {
        Source.KNATIVE: lambda: exposition.knative("models", revision, load),
        Source.KNATIVE_OTEL: lambda: exposition.knative_otel("kn_serving_invocation_duration_seconds", located, load),
        Source.ISTIO: lambda: exposition.istio("models", revision, load),
        Source.KOURIER: lambda: exposition.kourier("models", revision, load),
        Source.VLLM: lambda: exposition.vllm(located, load),
        Source.TRITON: lambda: exposition.triton(located, load, quantiles=(("0.9", 0.75),)),
        Source.TENSORFLOW_SERVING: lambda: exposition.tensorflow_serving(located, load),
        Source.TORCHSERVE: lambda: exposition.torchserve(located, load),
        Source.MLSERVER: lambda: exposition.mlserver(located, load),
        Source.KSERVE: lambda: exposition.kserve("request_predict_seconds", located, load),
    }
    return write[cell.source]()


def _series(cell: Cell, number: int, pod: int) -> Iterator[tuple[str, float, float]]:
    """Each series of the pod: its name and labels, its value at the beginning, and what it grows by a second."""
    pods = cell.pods(number)
    requests, failed = BEFORE // pods, BEFORE // 10 // pods
    # In ten seconds two pods share the requests evenly; every counter grows by a whole number in them.
    before = _page(cell, number, _load(requests, failed))
    more = _load(10 * PER_SECOND[number] // pods, 10 * FAILED_PER_SECOND // pods)
    bounds = zip(_load(requests, failed).bucket_counts, more.bucket_counts, strict=True)
    after = Load(
        requests - failed + more.good,
        failed + more.failed,
        tuple((bound, old + new) for (bound, old), (_, new) in bounds),
    )
    for old, new in zip(before.splitlines(), _page(cell, number, after).splitlines(), strict=True):
        if not old.startswith("#"):
            name, value = old.rsplit(" ", 1)
            name = name.replace("-abcde", f"-abcd{pod}")  # queue-proxy's label of the pod
            yield name, float(value), (float(new.rsplit(" ", 1)[1]) - float(value)) / 10


def samples(begin: float) -> Iterator[str]:
    """All cells' samples as lines of the text format, with their times in seconds."""
    for cell in CELLS:
        for number in (1, 2):
            for pod in range(cell.pods(number)):
                known = list(_series(cell, number, pod))
                for job, late in cell.scrapes(number, pod):
                    times = [begin + late * cell.interval + at for at in range(0, SIMULATED_SECONDS + 1, cell.interval)]
                    if cell.interval == 1:
                        times = times[-420:]  # the window, the five minutes of the interval, and between
                    target = f'job="{job}",instance="{cell.service}-{number}-{pod}:9091"'
                    for name, value, per_second in known:
                        labelled = name.replace("}", f",{target}}}") if "{" in name else f"{name}{{{target}}}"
                        for at in times:
                            # A counter is whole: it shows the last ten seconds that are over.
                            grown = value + per_second * 10 * ((at - begin) // 10)
                            yield f"{labelled} {grown:.10g} {at:.3f}\n"


@dataclass
class Measured:
    """What one server said of every cell, at the first instant and at the second."""

    kind: str
    first: Mapping[MetricQuery, Measurement]
    second: Mapping[MetricQuery, Measurement]
    short: Mapping[MetricQuery, Measurement]
    queries: int

    def counters(self, asked: MetricQuery) -> tuple[RequestCounters, RequestCounters]:
        found = (self.first[asked].counters, self.second[asked].counters)
        assert found[0] is not None, self.first[asked].detail
        assert found[1] is not None, self.second[asked].detail
        return found[0], found[1]


def _ask(server: Prometheus, query: str, instant: float) -> QueryResponse:
    """As of the instant; a sentence of the server where it refuses."""
    body = urllib.parse.urlencode({"query": query, "time": f"{instant:.3f}", "nocache": "1"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    _, answer = fetch(f"{server.url}/api/v1/query", method="POST", body=body, headers=headers, seconds=60)
    payload = json.loads(answer)
    assert payload["status"] == "success", f"{payload.get('error')}: {query[:300]}"
    return parse_response(payload)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, Path]:
    """The instant at which the samples begin, and the file that has them."""
    begin = (time.time() - SIMULATED_SECONDS - 60) // 60 * 60
    path = tmp_path_factory.mktemp("matrix") / "samples.txt"
    with path.open("w") as file:
        file.writelines(samples(begin))
        file.write("# EOF\n")
    return begin, path


@pytest.fixture(scope="module")
def blocks(simulated: tuple[float, Path]) -> Path:
    """The samples as blocks that every Prometheus reads."""
    require_servers("promtool")
    folder = simulated[1].parent / "blocks"
    command = [str(setup.find("promtool")), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    subprocess.run([*command, str(simulated[1]), str(folder)], check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module", params=SERVERS)
def measured(
    request: pytest.FixtureRequest,
    simulated: tuple[float, Path],
    blocks: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Measured:
    """Every cell measured twice on one server."""
    kind: str = request.param
    server_type = SERVERS[kind]
    require_servers(server_type.name)
    folder = tmp_path_factory.mktemp(kind)
    flags: tuple[str, ...] = ("-search.maxQueryLen=1MB", "-search.maxUniqueTimeseries=1000000")
    if server_type is not VictoriaMetrics:
        shutil.copytree(blocks, folder / "data")
        flags = ()
    begin, path = simulated
    with server_type(folder=folder, flags=flags) as server:
        if server_type is VictoriaMetrics:
            _import(server, path)
        last = begin + SIMULATED_SECONDS + 5.0
        harness = MetricsHarness(lambda query: _ask(server, query, harness.clock.time))
        asked = [cell.query(metric, counters=counters) for cell in CELLS for metric, counters in METRICS]
        harness.clock.time = last - BETWEEN
        first = harness.query(*asked)
        harness.clock.time = last
        before = len(harness.fake.queries)
        second = harness.query(*asked)
        queries = len(harness.fake.queries) - before
        fixed = [replace(cell.query("error-rate"), follows_scrapes=False) for cell in CELLS]
        return Measured(kind, first, second, harness.query(*fixed), queries)


METRICS = (("error-rate", True), ("request-duration", True), ("request-count", False))


def _import(server: Prometheus, path: Path) -> None:
    """VictoriaMetrics takes the text format with times in milliseconds."""
    lines: list[str] = []

    def send() -> None:
        status, _ = fetch(
            f"{server.url}/api/v1/import/prometheus", method="POST", body="".join(lines).encode(), seconds=60
        )
        assert status in (200, 204)
        lines.clear()

    with path.open() as file:
        for line in file:
            if not line.startswith("#"):
                name, value, at = line.rsplit(" ", 2)
                lines.append(f"{name} {value} {float(at) * 1000:.0f}\n")
            if len(lines) >= 50_000:
                send()
    send()
    fetch(f"{server.url}/internal/force_flush", seconds=60)


def _cells(*, candidate: bool) -> list[Cell]:
    return [cell for cell in CELLS if (cell.topology != "no-candidate") is candidate]


@pytest.mark.parametrize("cell", _cells(candidate=True), ids=str)
def test_thresholds_see_the_truth(measured: Measured, cell: Cell) -> None:
    """10 % of ten requests a second fail, in every source, however often, and by however many jobs."""
    errors, slow, count = (measured.second[cell.query(metric, counters=counters)] for metric, counters in METRICS)
    window = 180 if cell.interval == 60 else 60
    assert (count.kind, count.source, count.window) == (MeasurementKind.VALUE, cell.source, window), count.detail
    assert count.scrape_interval == pytest.approx(cell.interval, rel=0.02)
    assert count.value == count.requests == pytest.approx(PER_SECOND[2] * window, rel=0.35)
    assert count.age is not None
    assert count.age <= 6 + cell.interval
    if cell.source is Source.KSERVE:
        assert errors.kind is MeasurementKind.UNSUPPORTED
    else:
        assert errors.value == pytest.approx(10.0, rel=0.12), errors.detail
    if cell.source is Source.TORCHSERVE:
        assert slow.kind is MeasurementKind.UNSUPPORTED
    else:
        assert slow.value == pytest.approx(0.75, rel=0.02), slow.detail


@pytest.mark.parametrize("cell", _cells(candidate=True), ids=str)
def test_comparisons_see_the_truth(measured: Measured, cell: Cell) -> None:
    """Between the two instants each side's requests are counted once, to the last one."""
    asked = cell.query("error-rate", counters=True)
    if cell.source is Source.KSERVE:
        assert measured.second[asked].kind is MeasurementKind.UNSUPPORTED
        return
    first, second = measured.counters(asked)
    assert first.account_id == second.account_id
    assert (second.candidate_current, second.stable_current) == (True, True)
    for number, (old, new) in {
        1: (first.stable, second.stable),
        2: (first.candidate, second.candidate),
    }.items():
        assert new.requests - old.requests == PER_SECOND[number] * BETWEEN
        assert new.errors - old.errors == FAILED_PER_SECOND * BETWEEN


@pytest.mark.parametrize("cell", _cells(candidate=True), ids=str)
def test_latency_comparisons_see_the_truth(measured: Measured, cell: Cell) -> None:
    """The successes within each bound, or the reason why this source has none."""
    asked = cell.query("request-duration", counters=True)
    if cell.source in (Source.KSERVE, Source.TRITON, Source.TORCHSERVE):
        assert measured.second[asked].counters is None
        return
    first, second = measured.counters(asked)
    requests = PER_SECOND[2] * BETWEEN
    assert second.candidate.requests - first.candidate.requests == requests
    assert second.bounds == (0.1, 0.5, 1.0)
    at = second.bounds.index(0.5)
    within = second.candidate.bucket_counts[at] - first.candidate.bucket_counts[at]
    # Where the histogram has no codes, every failure is taken for a fast one and subtracted.
    codes = cell.source not in (Source.KOURIER, Source.VLLM)
    assert within == requests * (0.8 if codes else 0.7)


@pytest.mark.parametrize("cell", _cells(candidate=False), ids=str)
def test_a_candidate_without_series_has_had_no_requests(measured: Measured, cell: Cell) -> None:
    """It is not called unmeasured, because stable is measured; a comparison has one current side."""
    for metric, counters in METRICS:
        found = measured.second[cell.query(metric, counters=counters)]
        if found.kind is MeasurementKind.UNSUPPORTED:
            assert (cell.source, metric) in {
                (Source.KSERVE, "error-rate"),
                (Source.TORCHSERVE, "request-duration"),
            }
            continue
        assert (found.kind, found.requests) == (MeasurementKind.NO_SERIES, 0), found.detail
        assert found.source is cell.source
    if cell.source is not Source.KSERVE:
        _, second = measured.counters(cell.query("error-rate", counters=True))
        assert (second.candidate.requests, second.candidate_current, second.stable_current) == (0, False, True)


@pytest.mark.parametrize("cell", [cell for cell in _cells(candidate=True) if cell.interval == 60], ids=str)
def test_a_window_of_one_scrape_is_held_with_the_numbers(measured: Measured, cell: Cell) -> None:
    """Where the policy gives a minute; VictoriaMetrics looks one sample back and has a value all the same."""
    found = measured.short[replace(cell.query("error-rate"), follows_scrapes=False)]
    if cell.source is Source.KSERVE:
        assert found.kind is MeasurementKind.UNSUPPORTED
    elif measured.kind == "victoria-metrics":
        assert found.value == pytest.approx(10.0, rel=0.12)
    else:
        assert found.kind is MeasurementKind.UNSUPPORTED
        assert "is scraped every 1m, the window is 1m: use at least 3m" in found.detail


def test_all_cells_are_measured_in_few_queries(measured: Measured) -> None:
    """120 services over ten sources, three metrics each, and two windows; no discovery is needed any more."""
    assert measured.queries <= 120
    assert len(exporter_variants(Source.AUTO)) > len(SOURCES)
