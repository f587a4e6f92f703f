"""The example exporter: events in, counters out, equal to what the client sent, on a real Prometheus too."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocanary.controller.metric_queries import MeasuredRevisions, build_metric_query
from autocanary.model.measurement import Measurement, MeasurementKind, RequestTotals
from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.policy_files import load_paths
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from autocanary.scheduler import SteadyClock, ThreadPool
from autocanary.web_metrics import MetricSources, WebClient, WebMetrics
from examples.quality_exporter.quality_exporter import KINDS, MOST_LINES, make_server
from tests.testbed.servers import Prometheus, Scrape, require_servers, wait_until

POLICY = Path("examples/quality_exporter/policy.yaml")
CANDIDATE, STABLE = "assistant-predictor-00002", "assistant-predictor-00001"
GOOD: Mapping[str, Mapping[str, Any]] = {
    "thumb": {"thumb": "up"},
    "judge": {"judge": "pass"},
    "label": {"predicted": "cat", "label": "cat"},
}
BAD: Mapping[str, Mapping[str, Any]] = {
    "thumb": {"thumb": "down"},
    "judge": {"judge": "fail"},
    "label": {"predicted": ["cat", 1], "label": ["dog", 1]},
}


class Exporter:
    """The example, on a free port."""

    def __init__(self) -> None:
        self._server = make_server("127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def post(self, *events: Mapping[str, Any] | str) -> tuple[int, Any]:
        lines = [each if isinstance(each, str) else json.dumps(each) for each in events]
        return self.ask("POST", "/events", "\n".join(lines).encode())

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if path.startswith(("/events", "/counts")) else text
        finally:
            connection.close()

    def counts(self, revision: str, kind: str = "") -> Any:
        return self.ask("GET", f"/counts?namespace=models&revision={revision}&kind={kind}")[1]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    running = Exporter()
    yield running
    running.stop()


def event(revision: str, opinion: Mapping[str, Any], **more: str) -> dict[str, Any]:
    return {"namespace": "models", "revision": revision, **opinion, **more}


def random_events(seed: int, count: int, bad: Mapping[str, float]) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    found = []
    for number in range(count):
        revision, kind = chance.choice([CANDIDATE, STABLE]), chance.choice(KINDS)
        opinion = BAD[kind] if chance.random() < bad[revision] else GOOD[kind]
        found.append(event(revision, opinion, id=str(number)))
    return found


def expected(events: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """What the client sent, by revision, kind and verdict."""
    found: Counter[tuple[str, str, str]] = Counter()
    for each in events:
        [kind] = [kind for kind in KINDS if kind in each]
        found[each["revision"], kind, "good" if GOOD[kind].items() <= each.items() else "bad"] += 1
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_event_is_counted(exporter: Exporter, kind: str) -> None:
    """Bad ones and all of them; the time is that of the question."""
    sent = [event(CANDIDATE, GOOD[kind])] * 3 + [event(CANDIDATE, BAD[kind])]
    assert exporter.post(*sent) == (200, {"counted": 4, "repeated": 0})
    found = exporter.counts(CANDIDATE, kind)
    assert (found["bad"], found["total"], found["at"] > 1e9) == (1, 4, True)
    assert exporter.counts(CANDIDATE)["total"] == 4


def test_revision_without_events_is_unknown(exporter: Exporter) -> None:
    """No data, not a perfect score."""
    assert list(exporter.counts(CANDIDATE)) == ["unknown"]
    exporter.post(event(CANDIDATE, GOOD["thumb"]))
    assert list(exporter.counts(CANDIDATE, "judge")) == ["unknown"]
    assert list(exporter.counts(STABLE)) == ["unknown"]


def test_repeated_request_counts_once(exporter: Exporter) -> None:
    """A client whose answer was lost sends the same again."""
    sent = [event(CANDIDATE, BAD["judge"], id=str(number)) for number in range(5)]
    exporter.post(*sent)
    assert exporter.post(*sent, event(CANDIDATE, GOOD["judge"], id="5")) == (200, {"counted": 1, "repeated": 5})
    assert exporter.counts(CANDIDATE)["total"] == 6


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2: it is not JSON"),
        ("[" * 5000, "line 2: it is not JSON"),
        ("[]", "line 2: it is not a JSON object"),
        (json.dumps({"namespace": "models", "thumb": "up"}), "line 2: revision is not a name"),
        (json.dumps(event("UPPER", GOOD["thumb"])), "line 2: revision is not a name"),
        (json.dumps(event('a"} 1\nx{b="', GOOD["thumb"])), "line 2: revision is not a name"),
        (json.dumps(event(CANDIDATE, {})), "one of thumb, judge, or label"),
        (json.dumps(event(CANDIDATE, {**GOOD["thumb"], **GOOD["judge"]})), "one of thumb, judge, or label"),
        (json.dumps(event(CANDIDATE, {"thumb": "sideways"})), "thumb is neither up nor down"),
        (json.dumps(event(CANDIDATE, {"thumb": ["up"]})), "thumb is neither up nor down"),
        (json.dumps(event(CANDIDATE, {"label": "cat"})), "predicted is missing"),
        (json.dumps(event(CANDIDATE, GOOD["thumb"], id="x" * 101)), "id is not a text"),
    ],
)
def test_wrong_line_counts_nothing_of_its_request(exporter: Exporter, line: str, why: str) -> None:
    """The client can repair it and send all of it again."""
    status, answer = exporter.post(event(CANDIDATE, GOOD["thumb"]), line)
    assert (status, why in answer["error"]) == (400, True)
    assert list(exporter.counts(CANDIDATE)) == ["unknown"]


def test_requests_are_bounded(exporter: Exporter) -> None:
    """In bytes, in lines, and in what is asked for."""
    assert exporter.ask("POST", "/events", b"x", **{"Content-Length": str((1 << 20) + 1)})[0] == 413
    assert exporter.ask("POST", "/events", b"x", **{"Content-Length": "-1"})[0] == 413
    assert exporter.ask("POST", "/events", b"\xff")[0] == 400
    assert exporter.ask("POST", "/events", b"{}\n" * (MOST_LINES + 1))[0] == 400
    assert exporter.ask("GET", "/counts?namespace=models")[0] == 400
    assert exporter.ask("GET", "/counts?namespace=models&revision=a&kind=b")[0] == 400
    assert exporter.ask("GET", "/events")[0] == 404
    assert exporter.ask("GET", "/healthz")[0] == 200


def test_concurrent_clients_lose_nothing(exporter: Exporter) -> None:
    """Eight at once."""
    sent = random_events(1, 800, {CANDIDATE: 0.3, STABLE: 0.1})
    threads = [
        threading.Thread(target=lambda part=part: [exporter.post(each) for each in part])
        for part in (sent[start::8] for start in range(8))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (revision, kind, verdict), count in expected(sent).items():
        found = exporter.counts(revision, kind)
        assert {"bad": found["bad"], "good": found["total"] - found["bad"]}[verdict] == count


@pytest.mark.real
def test_prometheus_has_what_the_client_sent(exporter: Exporter, tmp_path: Path) -> None:
    """Events, scrape, query: each counter is the client's own; the policy of the example measures both revisions."""
    require_servers("prometheus")
    loaded = load_paths([POLICY])
    [policy] = loaded.policies
    sent = random_events(2, 400, {CANDIDATE: 0.4, STABLE: 0.1})
    judged, thumbs = policy.analysis.metrics[1], policy.analysis.metrics[2]
    revisions = MeasuredRevisions("models", "assistant", "predictor", CANDIDATE, STABLE)
    with Prometheus([Scrape("quality", exporter.address, honor=True)], folder=tmp_path) as prometheus:
        exporter.post(*[event(revision, GOOD[kind]) for revision in (CANDIDATE, STABLE) for kind in KINDS])
        prometheus.wait_for("quality_events_total == 1")
        for start in range(0, len(sent), 100):
            assert exporter.post(*sent[start : start + 100]) == (200, {"counted": 100, "repeated": 0})
        assert exporter.post(*sent[:100]) == (200, {"counted": 0, "repeated": 100})
        wanted = expected(sent) + Counter({(each, kind, "good"): 1 for each in (CANDIDATE, STABLE) for kind in KINDS})

        def stored() -> Counter[tuple[str, str, str]]:
            series = prometheus.query("quality_events_total")
            return Counter(
                {
                    (each["metric"]["revision"], each["metric"]["kind"], each["metric"]["verdict"]): int(
                        each["value"][1]
                    )
                    for each in series
                    if each["metric"]["namespace"] == "models"
                }
            )

        wait_until(lambda: sum(stored().values()) == sum(wanted.values()), seconds=30, what="the last scrape")
        assert +stored() == +wanted
        measured = _measured(exporter, prometheus, [build_metric_query(revisions, policy.analysis, thumbs)])[0]
        bad, good = wanted[CANDIDATE, "thumb", "bad"], wanted[CANDIDATE, "thumb", "good"]
        assert measured.kind is MeasurementKind.VALUE
        # What the first scrape saw is no increase: one thumb up. The ends of the window are extrapolated.
        assert measured.value == pytest.approx(100 * bad / (bad + good - 1), rel=0.05)
        asked = build_metric_query(revisions, policy.analysis, judged)
        assert asked.web is not None
        service = "http://quality-exporter.ml.svc:9109"
        url, stable_url = (
            each.replace(service, f"http://{exporter.address}") for each in (asked.web.url, asked.web.stable_url)
        )
        asked = replace(asked, web=replace(asked.web, url=url, stable_url=stable_url))
        counters = _measured(exporter, prometheus, [asked])[0].counters
        assert counters is not None
        assert (counters.candidate, counters.stable) == tuple(
            RequestTotals(
                float(wanted[each, "judge", "bad"] + wanted[each, "judge", "good"]), float(wanted[each, "judge", "bad"])
            )
            for each in (CANDIDATE, STABLE)
        )


def _measured(exporter: Exporter, prometheus: Prometheus, queries: list[Any]) -> list[Measurement]:
    """As the service measures them: Prometheus and the exporter behind one port."""
    pool, clock = ThreadPool(8, "query"), SteadyClock()
    hosts = WebhookHosts(("127.0.0.1",))
    main = PrometheusMetrics(PrometheusConfig(prometheus.url), pool=pool, clock=clock)
    web = WebMetrics(WebClient(HttpClient(hosts=hosts)), hosts, pool, clock)
    try:
        found = MetricSources(main, web, clock).query(queries)
        return [found[query] for query in queries]
    finally:
        main.close()
        pool.stop()
