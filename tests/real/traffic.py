"""Simulates the pods of many revisions: counters that grow as the split says, scraped by a real Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.testbed.servers import Exporter

BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
_BEAT = 0.2

Split = Callable[[], Mapping[tuple[str, str], Mapping[str, int]]]
"""The traffic of each (namespace, service), in percent by revision, as the cluster says it is now."""
ReadyPods = Callable[[], Mapping[tuple[str, str], int]]
"""How many pods of each (namespace, revision) are ready; one that is absent has no pods at all."""


@dataclass(frozen=True)
class Behaviour:
    """How one revision answers: share of 5xx, and the latency of every request."""

    errors: float = 0.0
    latency_ms: float = 20.0


@dataclass
class _Counts:
    good: float = 0.0
    bad: float = 0.0
    buckets: dict[int, float] | None = None


class RevisionTraffic:
    """An exporter with Knative's queue-proxy metrics, in the names of before Knative 1.19."""

    def __init__(self, split: Split, *, rps: float = 100.0, ready_pods: ReadyPods | None = None) -> None:
        """Without `ready_pods` every revision always has some. A revision's series end with its last pod."""
        self.exporter = Exporter()
        self.rps = rps
        self.behaviours: dict[str, Behaviour] = {}
        self.quality_of: Callable[[str, str], float] = lambda *_: 0.0  # share of 5xx by namespace, revision
        self.unanswered: set[tuple[str, str]] = set()  # (namespace, revision) whose pods answer nothing
        self._split = split
        self._ready_pods = ready_pods
        self._counts: dict[tuple[str, str], _Counts] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def behave(self, revision: str, *, errors: float = 0.0, latency_ms: float = 20.0) -> None:
        """From now on."""
        self.behaviours[revision] = Behaviour(errors, latency_ms)

    def __enter__(self) -> RevisionTraffic:
        self.exporter.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self.exporter.__exit__(None, None, None)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(_BEAT):
            now = time.monotonic()
            pods = self._ready_pods() if self._ready_pods is not None else None
            if pods is not None:
                self._counts = {key: counts for key, counts in self._counts.items() if key in pods}
            for (namespace, _), shares in self._split().items():
                for revision, percent in shares.items():
                    key = (namespace, revision)
                    if percent and key not in self.unanswered and (pods is None or pods.get(key)):
                        self._serve(namespace, revision, self.rps * (now - before) * percent / 100)
            before = now
            self.exporter.text = self._page()

    def _serve(self, namespace: str, revision: str, requests: float) -> None:
        behaviour = self.behaviours.get(revision) or Behaviour(self.quality_of(namespace, revision))
        counts = self._counts.setdefault((namespace, revision), _Counts(buckets=dict.fromkeys(BUCKETS_MS, 0.0)))
        counts.bad += requests * behaviour.errors
        counts.good += requests * (1 - behaviour.errors)
        assert counts.buckets is not None
        for bound in BUCKETS_MS:
            if behaviour.latency_ms <= bound:
                counts.buckets[bound] += requests

    def _page(self) -> str:
        lines: list[str] = []
        for (namespace, revision), counts in sorted(self._counts.items()):
            service = revision.rpartition("-")[0]
            labels = (
                f'namespace_name="{namespace}",service_name="{service}",configuration_name="{service}",'
                f'revision_name="{revision}",pod_name="{revision}-deployment-x",container_name="queue-proxy"'
            )
            for code, kind, number in ((200, "2xx", counts.good), (500, "5xx", counts.bad)):
                if number:
                    lines.append(
                        f'revision_request_count{{{labels},response_code="{code}",'
                        f'response_code_class="{kind}"}} {int(number)}'
                    )
            total = counts.good + counts.bad
            for bound, number in (counts.buckets or {}).items():
                lines.append(f'revision_request_latencies_bucket{{{labels},le="{bound}"}} {int(number)}')
            lines.append(f'revision_request_latencies_bucket{{{labels},le="+Inf"}} {int(total)}')
            lines.append(f"revision_request_latencies_count{{{labels}}} {int(total)}")
        return "\n".join(lines) + "\n"
