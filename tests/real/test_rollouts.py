"""Whole rollouts on the real servers: the service as its own process, under its own rights."""

from __future__ import annotations

import json

import pytest

from tests.real.installation import Installation, Sampler
from tests.real.manifests import policy_document

pytestmark = pytest.mark.real


def test_a_healthy_release_goes_through_its_weights(installation: Installation, namespace: str) -> None:
    """10, 25, 50, 100 are written, nothing else; kubectl's columns agree at every step."""
    installation.policy()
    installation.released(namespace)
    autocanary = installation.run("--namespace", namespace)  # with leader election

    def shown() -> tuple[str, str]:
        columns = installation.columns(namespace, "mnist")
        return columns["PREV"], columns["LATEST"]

    with Sampler(shown) as columns:
        installation.serve(namespace, "mnist", "v2", 0)
        rollout = installation.wait_for_phase(namespace, "mnist-00002", "Promoted", "RolledBack")
    assert rollout["status"]["phase"] == "Promoted"
    assert installation.weights_written(namespace, "mnist") == [10, 25, 50, 100]
    splits = [pair for pair in columns.seen if pair != ("", "100") and pair != ("100", "0")]
    assert splits == [("90", "10"), ("75", "25"), ("50", "50")]
    assert columns.seen[-1] == ("", "100")
    installation.api.kubectl("-n", namespace, "wait", "--for=condition=Promoted", "crl/mnist-00002", "--timeout=1s")
    row = installation.api.kubectl("-n", namespace, "get", "crl", "mnist-00002").splitlines()[1].split()
    assert row[:5] == ["mnist-00002", "mnist", "Promoted", "4", "100"]
    assert row[5:7] == ["mnist-predictor-00001", "mnist-predictor-00002"]
    assert autocanary.audit_trail() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]
    assert autocanary.terminate() < 10
    assert autocanary.process.returncode == 0


def test_errors_at_a_quarter_of_the_traffic_roll_back(installation: Installation, namespace: str) -> None:
    """20 % errors at 25 %: weight 0, nothing else changed, and the messages say why, with the value."""
    installation.policy()
    prefix = installation.released(namespace)
    autocanary = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_weight(namespace, "mnist", 25)
    before = installation.isvc(namespace, "mnist")
    installation.traffic.behave(f"{prefix}-00002", errors=0.2)
    try:
        rollout = installation.wait_for_phase(namespace, "mnist-00002", "RolledBack", "Promoted")
    finally:
        installation.traffic.behave(f"{prefix}-00002")
    assert rollout["status"]["phase"] == "RolledBack"
    assert installation.weights_written(namespace, "mnist") == [10, 25, 0]
    after = installation.isvc(namespace, "mnist")
    before["spec"]["predictor"]["canaryTrafficPercent"] = 0
    assert after["spec"] == before["spec"]
    for unchanged in ("labels", "annotations", "name", "uid"):
        assert after["metadata"].get(unchanged) == before["metadata"].get(unchanged)
    assert installation.split()[namespace, "mnist"] == {f"{prefix}-00001": 100, f"{prefix}-00002": 0}
    log = autocanary.events("rollback_started")[0]
    assert (log["reason"], log["metric"]) == ("MetricViolation", "request-success-rate")
    assert log["value"] < 99
    assert log["threshold"] == "at least 99 %"
    assert rollout["status"]["reason"] == "MetricViolation"
    assert "success rate" in rollout["status"]["message"]
    installation.eventually(
        lambda: any(event["reason"] == "MetricViolation" for event in installation.kube_events(namespace)),
        "an Event on the InferenceService",
    )
    assert any(event["reason"] == "MetricViolation" for event in installation.kube_events(namespace, "CanaryRollout"))
    installation.eventually(
        lambda: any(
            f"{namespace}/mnist: rolled back" in text and "success rate" in text
            for text in map(json.dumps, installation.slack.messages)
        ),
        "a Slack message that names the metric",
    )


def test_latency_above_the_threshold_rolls_back(installation: Installation, namespace: str) -> None:
    """All answers are right and take two seconds."""
    installation.policy()
    prefix = installation.released(namespace, "slow")
    installation.traffic.behave(f"{prefix}-00002", latency_ms=2000)
    installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "slow", "v2", 0)
    rollout = installation.wait_for_phase(namespace, "slow-00002", "RolledBack", "Promoted")
    assert rollout["status"]["phase"] == "RolledBack"
    assert "p99 latency" in rollout["status"]["message"]
    assert installation.weights_written(namespace, "slow") == [10, 0]


def test_a_policy_as_a_custom_resource(installation: Installation, namespace: str) -> None:
    """No file: the policy is an object, its status says that it is valid and what it governs."""
    installation.api.apply(policy_document("cr", namespace=namespace))
    installation.released(namespace)
    installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_phase(namespace, "mnist-00002", "Promoted")

    def status() -> dict[str, object]:
        found = json.loads(installation.api.kubectl("-n", namespace, "get", "rolloutpolicy", "cr", "-o", "json"))
        answer: dict[str, object] = found.get("status") or {}
        return answer

    installation.eventually(lambda: status().get("matchedServices") == 1, "the policy's status to count its service")
    conditions = status()["conditions"]
    assert isinstance(conditions, list)
    assert [(each["type"], each["status"]) for each in conditions] == [("Valid", "True")]


def test_an_invalid_custom_resource_is_answered_in_its_status(installation: Installation, namespace: str) -> None:
    """All errors at once, where the author looks."""
    wrong = policy_document("wrong", namespace=namespace, stepWeights=[50, 25])
    installation.api.apply(wrong)
    installation.run("--namespace", namespace, "--no-leader-election")

    def condition() -> dict[str, str]:
        found = json.loads(installation.api.kubectl("-n", namespace, "get", "rolloutpolicy", "wrong", "-o", "json"))
        conditions = (found.get("status") or {}).get("conditions") or [{}]
        answer: dict[str, str] = conditions[0]
        return answer

    installation.eventually(lambda: condition().get("status") == "False", "the condition Valid to be False")
    assert "stepWeights" in condition()["message"]


def test_unstaged_release_is_intercepted_before_it_is_ready(installation: Installation, namespace: str) -> None:
    """Applied without the field: at 0 within a second of the new revision's appearance, then rolled out."""
    installation.policy()
    prefix = installation.released(namespace)
    installation.run("--namespace", namespace, "--no-leader-election")
    with Sampler(lambda: installation.split()[namespace, "mnist"].get(f"{prefix}-00002", 0), every=0.05) as seen:
        installation.serve(namespace, "mnist", "v2-slow4")
        rollout = installation.wait_for_phase(namespace, "mnist-00002", "Promoted", "RolledBack", "Missed")
    assert rollout["status"]["phase"] == "Promoted"
    assert installation.weights_written(namespace, "mnist") == [0, 10, 25, 50, 100]
    assert seen.seen == [0, 10, 25, 50, 100], "the unjudged candidate got traffic that no write gave it"
    assert installation.intercept_delay(namespace, "mnist") < 1.0
