"""Every query of the Grafana dashboard, asked of a real Prometheus that has scraped real rollouts."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import pytest

from tests.http_server.dashboard import filled, queries, variables
from tests.real.installation import Installation
from tests.testbed.servers import Scrape
from tests.testbed.servers.http import fetch

pytestmark = pytest.mark.real

_PACED: dict[str, Any] = {
    "stepWeights": [20, 50, 100],
    "stepDuration": "10m",
    "bake": "1s",
    "analysis": {
        "maxFailedRequests": 1_000_000,
        "interval": "1s",
        "warmup": "2s",
        "window": "5s",
        "minRequests": 5,
        "source": "knative",
        "preset": "fast",
        "metrics": [
            {"name": "request-success-rate", "compare": {"to": "stable"}, "thresholdRange": {"min": 95}},
            {"name": "request-duration", "compare": {"to": "stable"}, "thresholdRange": {"max": "500ms"}},
        ],
    },
}
"""Two comparisons with objectives beside them, so that every kind of series is there."""


def test_every_query_of_the_dashboard_has_data(installation: Installation, namespace: str) -> None:
    """One release is rolled back and one promoted by a user; no panel, variable or annotation is empty."""
    installation.policy(**_PACED, selector={"names": ["bad", "good"]})
    bad = installation.released(namespace, "bad")
    installation.released(namespace, "good")
    installation.released(namespace, "held")  # by the guard: no policy selects it
    installation.traffic.behave(f"{bad}-00002", errors=0.3)
    guard = {"AUTOCANARY_GUARD": json.dumps({"namespaces": [namespace]})}
    autocanary = installation.run("--namespace", namespace, environment=guard)
    installation.prometheus.scrape(
        [
            Scrape("revisions", installation.traffic.exporter.target),
            Scrape("autocanary", f"127.0.0.1:{autocanary.port}", {"namespace": "autocanary"}, honor=True),
        ]
    )
    installation.prometheus.wait_for("autocanary_leader == 1")
    began = time.time()
    installation.serve(namespace, "bad", "v2", 0)
    installation.serve(namespace, "good", "v2", 0)
    installation.wait_for_phase(namespace, "bad-00002", "RolledBack")
    installation.prometheus.wait_for(
        f'autocanary_comparison_bad_percent{{namespace="{namespace}",service="good",side="candidate"}}'
    )
    shown = {name: _values(installation, began, *asked) for name, asked in _asked(_WHOLE | {"service": "good"})}
    assert shown == {
        "job": ["autocanary"],
        "namespace": [namespace],
        "service": ["bad", "good"],
        "rollout": ["good-00002"],
    }
    request = {"spec": {"request": {"id": "all", "verb": "promote-full"}}}
    patch = ["patch", "crl", "good-00002", "--type", "merge", "-p", json.dumps(request)]
    installation.api.kubectl("-n", namespace, *patch)
    installation.wait_for_phase(namespace, "good-00002", "Promoted")
    installation.prometheus.wait_for('sum(increase(autocanary_rollouts_finished_total{outcome="Promoted"}[1m])) > 0')
    chosen = {**_WHOLE, "namespace": namespace, "service": "good", "rollout": "good-00002"}
    rolled_back = {**chosen, "service": "bad", "rollout": "bad-00002"}
    empty = [
        query.where
        for query in queries()
        if not _points(
            installation, began, filled(query.expression, rolled_back if "Rollbacks" in query.where else chosen)
        )
    ]
    assert empty == []


_WHOLE = {"job": ".+", "namespace": ".+", "__rate_interval": "5s", "__range": "10m"}
"""All installations and namespaces, as when the dashboard is opened."""


def _asked(known: Mapping[str, str]) -> list[tuple[str, tuple[str, str]]]:
    return [(name, (filled(selector, known), label)) for name, (selector, label) in variables().items()]


def _values(installation: Installation, began: float, selector: str, label: str) -> list[str]:
    """What the menu of a variable offers."""
    found: list[str] = _get(
        installation,
        f"label/{label}/values",
        {"match[]": selector, "start": str(began), "end": str(time.time())},
    )
    return found


def _points(installation: Installation, began: float, expression: str) -> list[Any]:
    """The series of a query over the whole run, every second and until after the last sample."""
    span = {"start": str(began), "end": str(time.time() + 2), "step": "1"}
    found: dict[str, Any] = _get(installation, "query_range", {"query": expression, **span})
    return list(found["result"])


def _get(installation: Installation, path: str, asked: Mapping[str, str]) -> Any:
    _, body = fetch(f"{installation.prometheus.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}")
    answer = json.loads(body)
    assert answer["status"] == "success", f"{asked}: {answer.get('error')}"
    return answer["data"]
