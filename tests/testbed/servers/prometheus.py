"""A real Prometheus (2 or 3) or VictoriaMetrics that scrapes what a test names, every second by default."""

from __future__ import annotations

import http.client
import json
import os
import signal
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed.servers.http import fetch
from tests.testbed.servers.process import ServerProcess, free_port, program, wait_until


@dataclass(frozen=True)
class Scrape:
    """One scrape job: a target as host:port, labels to add, and Prometheus' own relabelling rules.

    `relabels` works on the target before the scrape, `metric_relabels` on each sample after it. `honor` lets
    labels of the samples win over those of the target. `options` are further settings of the job.
    """

    job: str
    target: str
    labels: Mapping[str, str] = field(default_factory=dict)
    relabels: Sequence[Mapping[str, Any]] = ()
    metric_relabels: Sequence[Mapping[str, Any]] = ()
    path: str = "/metrics"
    honor: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


class QueryError(Exception):
    """A query gave an error, whose text is Prometheus' own, or something else than series."""


class Prometheus(ServerProcess):
    """Prometheus on a free port; stop, kill and restart keep its data folder and its port."""

    name = "prometheus"

    def __init__(
        self,
        scrapes: Sequence[Scrape] = (),
        *,
        interval: float = 1.0,
        rules: Sequence[Path] = (),
        flags: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        super().__init__(folder)
        self._port = free_port()
        self._interval = interval
        self._rules = tuple(rules)
        self._flags = tuple(flags)
        self.url = f"http://127.0.0.1:{self._port}"
        self._configure(scrapes)

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        return [
            program(self.name),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            *self._flags,
        ]

    def ready(self) -> bool:
        """Whether it has loaded its data and answers queries."""
        try:
            return fetch(f"{self.url}/-/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def scrape(self, scrapes: Sequence[Scrape]) -> None:
        """Replace the scrape jobs of the running server."""
        self._configure(scrapes)
        os.kill(self.pid, signal.SIGHUP)

    def query(self, expression: str, *, seconds: float = 10.0) -> list[dict[str, Any]]:
        """The series an instant query gives now."""
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        _, body = fetch(address, seconds=seconds)
        answer = json.loads(body)
        if answer["status"] != "success":
            raise QueryError(f"{expression}: {answer['error']}")
        if answer["data"]["resultType"] != "vector":
            raise QueryError(f"{expression}: gives a {answer['data']['resultType']}, not series")
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def wait_for(self, expression: str, *, seconds: float = 30.0) -> list[dict[str, Any]]:
        """The series of a query, as soon as it gives any."""
        wait_until(lambda: bool(self.query(expression)), seconds=seconds, what=f"samples of {expression}", every=0.2)
        return self.query(expression)

    def _configure(self, scrapes: Sequence[Scrape]) -> None:
        interval = f"{round(self._interval * 1000)}ms"
        config = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(path) for path in self._rules],
            "scrape_configs": [
                {
                    "job_name": scrape.job,
                    "metrics_path": scrape.path,
                    "honor_labels": scrape.honor,
                    "static_configs": [{"targets": [scrape.target], "labels": dict(scrape.labels)}],
                    "relabel_configs": [dict(rule) for rule in scrape.relabels],
                    "metric_relabel_configs": [dict(rule) for rule in scrape.metric_relabels],
                    **scrape.options,
                }
                for scrape in scrapes
            ],
        }
        self._write(config)

    def _write(self, config: dict[str, Any]) -> None:
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML, and needs no library


class Prometheus3(Prometheus):
    """Prometheus 3."""

    name = "prometheus3"


class VictoriaMetrics(Prometheus):
    """VictoriaMetrics in one process: the same scrape jobs, the same API."""

    name = "victoria-metrics"

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        return [
            program(self.name),
            f"-promscrape.config={self.folder / 'prometheus.yml'}",
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self._port}",
            "-search.latencyOffset=0s",
            "-retentionPeriod=1",
            *self._flags,
        ]

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return fetch(f"{self.url}/health")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _write(self, config: dict[str, Any]) -> None:
        del config["rule_files"], config["global"]["evaluation_interval"]
        super()._write(config)
