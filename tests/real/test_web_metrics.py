"""Web metrics on the real servers: the whole process, with the operator's settings and a service that answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.real.installation import Installation
from tests.testbed.servers.http import fetch
from tests.web_metrics import evaluation_service as behaviours
from tests.web_metrics.evaluation_service import EvaluationService, Handler

pytestmark = pytest.mark.real


def analysis(url: str, **web: Any) -> dict[str, Any]:
    metric = {"name": "quality", "web": {"url": url, **web}, "thresholdRange": {"min": 0.9}}
    return {"interval": "1s", "warmup": "1s", "window": "10s", "minRequests": 1, "metrics": [metric]}


def test_web_metric_decides_and_what_hangs_or_is_not_allowed_holds_its_own(
    installation: Installation, namespace: str
) -> None:
    """With credentials for the host that the operator names; the words of an answer appear nowhere."""
    token = installation.folder / "web-token"
    token.write_text("s3cret")

    def scores(handler: Handler) -> None:
        if "hangs" in handler.path:
            behaviours.hangs(handler)
        elif "bad" in handler.path and handler.path.endswith("00002"):
            behaviours.says({"value": 0.5, "note": "w0rds"})(handler)
        else:
            behaviours.says({"value": 0.97, "note": "w0rds"})(handler)

    with EvaluationService().running() as service:
        service.behaviour = scores
        url = f"{service.origin}/{{{{ service }}}}?r={{{{ revision }}}}"
        named = {"credentialsRef": {"name": "eval"}}
        analyses = {
            "good": analysis(url, **named),
            "bad": analysis(url, **named),
            "hangs": analysis(url, timeout="2s"),
            "refused": analysis(url.replace("127.0.0.1", "localhost")),
        }
        for name, measured in analyses.items():
            installation.policy(name, selector={"names": [name]}, analysis=measured)
            installation.released(namespace, name)
        credentials = [{"name": "eval", "hosts": ["127.0.0.1"], "token_file": str(token)}]
        environment = {
            "AUTOCANARY_WEBHOOK_HOSTS": "127.0.0.1",
            "AUTOCANARY_WEB_CREDENTIALS": json.dumps(credentials),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        running = installation.run("--namespace", namespace, "--no-leader-election", environment=environment)
        for name in analyses:
            installation.serve(namespace, name, "v2", 0)
        ended = {
            name: installation.wait_for_phase(namespace, f"{name}-00002", "Promoted", "RolledBack", seconds=180)
            for name in ("good", "bad")
        }
        held = {
            name: installation.wait_for_phase(namespace, f"{name}-00002", "Holding", seconds=120)["status"]
            for name in ("hangs", "refused")
        }
        _, page = fetch(f"http://127.0.0.1:{running.port}/metrics")
        asked = list(service.asked)
    assert ended["good"]["status"]["phase"] == "Promoted"
    assert (ended["bad"]["status"]["phase"], ended["bad"]["status"]["reason"]) == ("RolledBack", "MetricViolation")
    assert {(each["reason"], each["weight"]) for each in held.values()} == {("MetricsOutage", 10)}
    assert "did not answer" in held["hangs"]["message"]
    assert "AUTOCANARY_WEBHOOK_HOSTS does not allow it" in held["refused"]["message"]
    assert {headers.get("Authorization") for path, headers in asked if "hangs" not in path} == {"Bearer s3cret"}
    assert {headers.get("Authorization") for path, headers in asked if "hangs" in path} == {None}
    assert "w0rds" not in json.dumps([*ended.values(), *held.values()]) + running.text()
    for outcome in ("ok", "unreachable", "refused"):
        [line] = [
            each for each in page.splitlines() if f'web_metric_requests_total{{outcome="{outcome}"}}'.encode() in each
        ]
        assert float(line.rpartition(b" ")[2]) > 0
