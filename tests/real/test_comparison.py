"""A comparison on the real servers: a real Prometheus scrapes both revisions, and the service reads its counters."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.real.installation import Installation

pytestmark = pytest.mark.real

STABLE_ERRORS, CANDIDATE_ERRORS = 0.01, 0.03
TIMES: dict[str, Any] = {"interval": "1s", "warmup": "2s", "window": "10s", "source": "knative"}
COUNTS = re.compile(r"canary (\d+)/(\d+) = [\d.]+ %, stable (\d+)/(\d+) = [\d.]+ %")


def analysis(**metric: Any) -> dict[str, Any]:
    return {**TIMES, "minRequests": 50, "metrics": [{"name": "error-rate", **metric}]}


def test_comparison_detects_3_percent_against_1_percent(installation: Installation, namespace: str) -> None:
    """Two services with the same two revisions at 100 requests a second; only what is asked of them differs."""
    installation.policy(
        "compared",
        selector={"names": ["compared"]},
        stepWeights=[50, 100],
        stepDuration="5s",
        analysis=analysis(compare={"to": "stable"}) | {"preset": "fast"},
    )
    installation.policy(
        "limited",
        selector={"names": ["limited"]},
        stepWeights=[50, 100],
        stepDuration="15s",
        analysis=analysis(thresholdRange={"max": "5%"}, failureLimit=1),
    )
    for name in ("compared", "limited"):
        prefix = installation.released(namespace, name)
        installation.traffic.behave(f"{prefix}-00001", errors=STABLE_ERRORS)
        installation.traffic.behave(f"{prefix}-00002", errors=CANDIDATE_ERRORS)
    autocanary = installation.run("--namespace", namespace, "--no-leader-election")
    for name in ("compared", "limited"):
        installation.serve(namespace, name, "v2", 0)

    limited = installation.wait_for_phase(namespace, "limited-00002", "Promoted", "RolledBack", seconds=120)
    assert limited["status"]["phase"] == "Promoted"
    assert installation.weights_written(namespace, "limited") == [50, 100]

    compared = installation.wait_for_phase(namespace, "compared-00002", "Promoted", "RolledBack", seconds=180)
    assert compared["status"]["phase"] == "RolledBack"
    assert compared["status"]["reason"] == "WorseThanStable"
    assert installation.weights_written(namespace, "compared") == [50, 0]

    (said,) = [each for each in autocanary.events("rollback_started") if each["service"] == "compared"]
    assert (said["reason"], said["metric"]) == ("WorseThanStable", "error-rate")
    decision = next(each for each in compared["status"]["decisions"] if each["event"] == "rollback_started")
    assert decision["message"].startswith("error rate is worse than stable's: canary ")
    assert decision["message"].endswith("(confidence 95 %)")
    found = COUNTS.search(decision["message"])
    assert found is not None, decision["message"]
    bad, requests, stable_bad, stable_requests = map(int, found.groups())
    assert bad / requests == pytest.approx(CANDIDATE_ERRORS, rel=0.15)
    assert stable_bad / stable_requests == pytest.approx(STABLE_ERRORS, rel=0.3)
    assert requests == pytest.approx(stable_requests, rel=0.15)
