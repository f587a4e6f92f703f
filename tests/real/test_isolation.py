"""What must not touch each other, and what must survive: neighbours, crashes, outages."""

from __future__ import annotations

import pytest

from tests.real.stage import Stage

pytestmark = pytest.mark.real
CRD = "full"


def test_a_bad_release_does_not_touch_its_neighbour(stage: Stage, namespace: str) -> None:
    """Two services in two namespaces: one goes bad, the other is promoted."""
    other = f"{namespace[:40]}-other"
    stage.namespace(other)
    stage.policy()
    bad = stage.released(namespace, "bad")
    stage.released(other, "good")
    stage.traffic.behave(f"{bad}-00002", errors=0.2)
    stage.run("--namespace", namespace, "--namespace", other, "--no-leader-election")
    stage.serve(namespace, "bad", "v2", 0)
    stage.serve(other, "good", "v2", 0)
    assert (
        stage.wait_for_phase(namespace, "bad-00002", "RolledBack", "Promoted")["status"]["phase"]
        == "RolledBack"
    )
    assert (
        stage.wait_for_phase(other, "good-00002", "RolledBack", "Promoted")["status"]["phase"] == "Promoted"
    )
    assert stage.weights_written(namespace, "bad") == [10, 0]
    assert stage.weights_written(other, "good") == [10, 25, 50, 100]


def test_kill_9_at_25_percent_goes_on_from_there(stage: Stage, namespace: str) -> None:
    """No step is repeated or skipped, nothing is told twice."""
    stage.policy()
    stage.released(namespace)
    first = stage.run("--namespace", namespace, "--no-leader-election")
    stage.serve(namespace, "mnist", "v2", 0)
    stage.wait_for_weight(namespace, "mnist", 25)
    stage.eventually(
        lambda: len(stage.rollouts(namespace)["mnist-00002"]["status"].get("notified") or []) >= 3,
        "the step to 25 % to be told",
    )
    first.kill()
    second = stage.run("--namespace", namespace, "--no-leader-election")
    rollout = stage.wait_for_phase(namespace, "mnist-00002", "Promoted", "RolledBack")
    assert rollout["status"]["phase"] == "Promoted"
    assert stage.weights_written(namespace, "mnist") == [10, 25, 50, 100]
    stage.eventually(lambda: len(stage.messages(namespace)) >= 6, "six messages")
    assert [*first.audit_trail(), *second.audit_trail()] == [
        "rollout_started",
        *["step_taken"] * 4,
        "rollout_promoted",
    ]
    texts = stage.messages(namespace)
    assert len(texts) == len(set(texts)) == 6
    assert {event.get("count", 1) for event in stage.kube_events(namespace)} == {1}


def test_prometheus_away_for_a_while_holds_and_goes_on(stage: Stage, namespace: str) -> None:
    """Stopped at 25 %: held and said so, never rolled back; back again: the rollout goes on to the end."""
    stage.policy()
    stage.released(namespace)
    autocanary = stage.run("--namespace", namespace, "--no-leader-election")
    stage.serve(namespace, "mnist", "v2", 0)
    stage.wait_for_weight(namespace, "mnist", 25)
    stage.prometheus.kill()
    try:
        held = stage.wait_for_phase(namespace, "mnist-00002", "Holding")
        assert held["status"]["reason"] == "MetricsOutage"
        assert held["status"]["weight"] == 25
        stage.eventually(lambda: bool(autocanary.events("rollout_held")), "the hold to be told")
    finally:
        stage.prometheus.start()
    rollout = stage.wait_for_phase(namespace, "mnist-00002", "Promoted", "RolledBack", seconds=120)
    assert rollout["status"]["phase"] == "Promoted"
    assert stage.weights_written(namespace, "mnist") == [10, 25, 50, 100]
