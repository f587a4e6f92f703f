"""How many queries a fleet sends to Prometheus: ``python -m benchmarks.queries``.

The adapter of the service asks a stand-in for Prometheus over HTTP, which has good series of every revision. Rollouts
are spread evenly over the sources; all are due together, as those of one interval are. Prints the requests that 30
seconds of steady state cost, for the default policy (errors and latencies compared with stable), for four presets, and
for four presets of which one is a query of the policy's own.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autocanary.model.measurement import MeasurementKind, MetricQuery, Source
from autocanary.ports import Clock
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from autocanary.prometheus.exporters import ExporterVariant
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.sources import exporter_variants
from benchmarks.figures import table

__all__ = ["main", "queries_per_30_seconds"]

FIVE_SOURCES = (Source.KNATIVE, Source.ISTIO, Source.KOURIER, Source.VLLM, Source.TENSORFLOW_SERVING)
INTERVAL = 15.0
"""Seconds between two evaluations: the policy's default."""
POLICIES: Mapping[str, Sequence[tuple[str, bool]]] = {
    "compared (the default policy)": (("error-rate", True), ("request-duration", True)),
    "four presets": (
        ("request-success-rate", False),
        ("request-duration", False),
        ("error-rate", False),
        ("request-count", False),
    ),
    "three presets and a query": (
        ("request-success-rate", False),
        ("request-duration", False),
        ("request-count", False),
        ("", False),
    ),
}


class _Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time


class StandIn:
    """Answers the adapter's queries with good values for every revision of the sources."""

    def __init__(self, variants: Mapping[ExporterVariant, Sequence[RevisionTarget]], clock: Clock) -> None:
        self._variants = variants
        self._clock = clock
        self.requests = 0

    def rows(self, query: str) -> Iterator[dict[str, str]]:
        """Labels of each series, with its value under the empty name."""
        self.requests += 1
        if '"autocanary", "now"' in query:
            yield {"autocanary": "now", "": f"{self._clock.now()}"}
        for number in re.findall(r'"autocanary_q", "(\d+)"', query):
            yield {"autocanary_q": number, "": "1"}
        for variant, targets in self._variants.items():
            counted = variant.exporter.counted[0].metric
            histogram = _histogram(variant)
            if not re.search(rf"(?<![\w:]){counted}(?!\w)|(?<![\w:]){histogram}(?!\w)|{histogram}_bucket", query):
                continue
            for target in targets:
                values = variant.revision_labels.label_values(target)
                yield from self._of_target(
                    query, counted, dict(zip(variant.revision_labels.group_labels, values, strict=True))
                )

    def _of_target(self, query: str, counted: str, where: dict[str, str]) -> Iterator[dict[str, str]]:
        if "autocanary_metric" in query:
            for name in re.findall(r'"(\$\{?1\}?[^"]*(?:\\"[^"]*)*)", "__name__"', query):
                yield {**where, "autocanary_metric": re.sub(r"\$\{?1\}?", counted, name).replace('\\"', '"'), "": "1"}
            return
        scraped = {**where, "instance": f"{'-'.join(where.values())}:9091", "job": "pods"}
        if '"autocanary", "at"' in query:
            at = {"autocanary": "at", "autocanary_at": f"{self._clock.now() - 2}"}
            yield {**scraped, "autocanary": "count0", "": f"{self._clock.now()}"}
            yield {**scraped, **at, "": "1"}
            if '"autocanary", "le"' in query:
                yield {**scraped, "autocanary": "le", "le": "1.0", "": f"{self._clock.now()}"}
        elif '"autocanary", "count0"' in query:
            yield {**where, "autocanary": "count0", "": "1000"}
            yield {**where, "autocanary": "age", "": "2"}
            yield {**where, "autocanary": "interval", "": "15"}
        else:
            yield {**where, "": "0.1"}


def _histogram(variant: ExporterVariant) -> str:
    metric: str = variant.exporter.measures["request-duration"][0].metric
    return metric


def _server(stand_in: StandIn) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            query = urllib.parse.parse_qs(body)["query"][0]
            result = [
                {"metric": {name: text for name, text in row.items() if name}, "value": [1, row[""]]}
                for row in stand_in.rows(query)
            ]
            answer = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
            self.send_response_only(200)  # without a Date: time is simulated
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def _query(source: Source, number: int, metric: str, *, counters: bool) -> MetricQuery:
    service = f"{source.value}-{number:04}"
    own = f'sum(rate(model_errors{{revision="{service}-predictor-00002"}}[1m]))' if not metric else ""
    return MetricQuery(
        namespace="models",
        service=service,
        component="predictor",
        revision=f"{service}-predictor-00002",
        stable=f"{service}-predictor-00001",
        source=source,
        window=60.0,
        metric=metric,
        query=own,
        query_type="vector" if own else "",
        counters=counters,
    )


def queries_per_30_seconds(
    sources: Sequence[Source], rollouts: int, metrics: Sequence[tuple[str, bool]], *, auto: bool = False
) -> float:
    """Requests to Prometheus within 30 s of steady state; ``auto``: the policies name no source."""
    clock = _Clock()
    each = rollouts // len(sources)
    variants = {
        exporter_variants(source)[0]: [
            RevisionTarget("models", f"{source.value}-{number:04}-predictor-{revision:05}")
            for number in range(each)
            for revision in (1, 2)
        ]
        for source in sources
    }
    asked = [
        _query(source, number, metric, counters=counters)
        for source in sources
        for number in range(each)
        for metric, counters in metrics
    ]
    if auto:
        asked = [replace(query, source=Source.AUTO) for query in asked]
    stand_in = StandIn(variants, clock)
    server = _server(stand_in)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with ThreadPoolExecutor(16) as pool:
        config = PrometheusConfig(f"http://127.0.0.1:{server.server_address[1]}", timeout=60)
        adapter = PrometheusMetrics(config, pool=pool, clock=clock)
        for _ in range(2):  # discovery, and the beginning of the counts
            adapter.query(asked)
            clock.time += 60
        stand_in.requests = 0
        rounds = round(30 / INTERVAL)
        for _ in range(rounds):
            kinds = {measurement.kind for measurement in adapter.query(asked).values()}
            if kinds != {MeasurementKind.VALUE}:
                raise SystemExit(f"the stand-in does not answer everything: {kinds}")
            clock.time += INTERVAL
        adapter.close()
    server.shutdown()
    server.server_close()
    return float(stand_in.requests)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=500)
    count = parser.parse_args().rollouts
    found = [
        (
            name,
            *(
                f"{queries_per_30_seconds(sources, count, metrics, auto=auto):.0f}"
                for sources, auto in (((Source.KNATIVE,), False), ((Source.KNATIVE,), True), (FIVE_SOURCES, True))
            ),
        )
        for name, metrics in POLICIES.items()
    ]
    print(table(("policy", "one source, named", "one source, auto", "five sources, auto"), found))


if __name__ == "__main__":
    main()
