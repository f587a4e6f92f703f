"""What must not touch each other, and what must survive: neighbours, crashes, outages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.real.installation import Installation
from tests.real.manifests import analysis
from tests.testbed.servers import HttpSink
from tests.testbed.servers.http import fetch

pytestmark = pytest.mark.real
CRD = "full"
NOWHERE = "http://127.0.0.1:1"
HELD = ("hanging", "forbidden")


def test_a_bad_release_does_not_touch_its_neighbour(installation: Installation, namespace: str) -> None:
    """Two services in two namespaces: one goes bad, the other is promoted."""
    other = f"{namespace[:40]}-other"
    installation.namespace(other)
    installation.policy()
    bad = installation.released(namespace, "bad")
    installation.released(other, "good")
    installation.traffic.behave(f"{bad}-00002", errors=0.2)
    installation.run("--namespace", namespace, "--namespace", other, "--no-leader-election")
    installation.serve(namespace, "bad", "v2", 0)
    installation.serve(other, "good", "v2", 0)
    assert (
        installation.wait_for_phase(namespace, "bad-00002", "RolledBack", "Promoted")["status"]["phase"] == "RolledBack"
    )
    assert installation.wait_for_phase(other, "good-00002", "RolledBack", "Promoted")["status"]["phase"] == "Promoted"
    assert installation.weights_written(namespace, "bad") == [10, 0]
    assert installation.weights_written(other, "good") == [10, 25, 50, 100]


def test_kill_9_at_25_percent_goes_on_from_there(installation: Installation, namespace: str) -> None:
    """No step is repeated or skipped, nothing is notified twice."""
    installation.policy()
    installation.released(namespace)
    first = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_weight(namespace, "mnist", 25)
    installation.eventually(
        lambda: len(installation.rollouts(namespace)["mnist-00002"]["status"].get("notified") or []) >= 3,
        "the step to 25 % to be notified",
    )
    first.kill()
    second = installation.run("--namespace", namespace, "--no-leader-election")
    rollout = installation.wait_for_phase(namespace, "mnist-00002", "Promoted", "RolledBack")
    assert rollout["status"]["phase"] == "Promoted"
    assert installation.weights_written(namespace, "mnist") == [10, 25, 50, 100]
    installation.eventually(lambda: len(installation.messages(namespace)) >= 6, "six messages")
    assert [*first.audit_trail(), *second.audit_trail()] == [
        "rollout_started",
        *["step_taken"] * 4,
        "rollout_promoted",
    ]
    texts = installation.messages(namespace)
    assert len(texts) == len(set(texts)) == 6
    assert {event.get("count", 1) for event in installation.kube_events(namespace)} == {1}


def test_each_policy_has_its_own_prometheus(installation: Installation, namespace: str) -> None:
    """One server that takes connections and never answers holds the rollouts of its policy alone.

    The name of a server that is for other namespaces holds too, and reaches nothing.
    """
    token = installation.folder / "token"
    token.write_text("s3cret")
    with HttpSink() as hanging, HttpSink() as forbidden:
        hanging.answer(200, delay=60)
        servers: list[dict[str, Any]] = [
            {"name": "own", "url": installation.prometheus.url, "params": {"dedup": True}},
            {"name": "hanging", "url": hanging.url.rstrip("/"), "timeout": "3s", "token_file": str(token)},
            {"name": "forbidden", "url": forbidden.url.rstrip("/"), "namespaces": ["elsewhere"]},
        ]
        for server in servers:
            name = str(server["name"])
            measured = {**analysis(), "prometheusRef": {"name": name}}
            installation.policy(name, selector={"names": [name]}, analysis=measured)
            installation.released(namespace, name)
        environment = {"AUTOCANARY_PROMETHEUS_SERVERS": json.dumps(servers), "AUTOCANARY_PROMETHEUS_URL": NOWHERE}
        running = installation.run("--namespace", namespace, "--no-leader-election", environment=environment)
        for server in servers:
            installation.serve(namespace, str(server["name"]), "v2", 0)
        promoted = installation.wait_for_phase(namespace, "own-00002", "Promoted", "RolledBack")
        assert promoted["status"]["phase"] == "Promoted"
        held = {name: installation.wait_for_phase(namespace, f"{name}-00002", "Holding")["status"] for name in HELD}
        assert {(each["reason"], each["weight"]) for each in held.values()} == {("MetricsOutage", 10)}
        assert "no Prometheus 'forbidden' is configured" in held["forbidden"]["message"]
        assert forbidden.requests == []
        assert {each.headers["authorization"] for each in hanging.requests} == {"Bearer s3cret"}
        _, page = fetch(f"http://127.0.0.1:{running.port}/metrics")
    outcomes = {
        server: f'autocanary_prometheus_queries_total{{outcome="{outcome}",server="{server}"}} '.encode()
        for server, outcome in (("own", "ok"), ("hanging", "unreachable"))
    }
    lines = {
        each.rpartition(b" ")[0] + b" ": float(each.rpartition(b" ")[2])
        for each in page.splitlines()
        if each.startswith(b"autocanary_prometheus_queries_total{")
    }
    assert all(lines[name] > 0 for name in outcomes.values()), lines


def test_prometheus_away_for_a_while_holds_and_goes_on(installation: Installation, namespace: str) -> None:
    """Stopped at 25 %: held and said so, never rolled back; back again: the rollout goes on to the end."""
    installation.policy()
    installation.released(namespace)
    autocanary = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_weight(namespace, "mnist", 25)
    installation.prometheus.kill()
    try:
        held = installation.wait_for_phase(namespace, "mnist-00002", "Holding")
        assert held["status"]["reason"] == "MetricsOutage"
        assert held["status"]["weight"] == 25
        installation.eventually(lambda: bool(autocanary.events("rollout_held")), "the hold to be notified")
    finally:
        installation.prometheus.start()
    rollout = installation.wait_for_phase(namespace, "mnist-00002", "Promoted", "RolledBack", seconds=120)
    assert rollout["status"]["phase"] == "Promoted"
    assert installation.weights_written(namespace, "mnist") == [10, 25, 50, 100]
