"""The service without a cluster: what makes it impossible to start is said in a sentence, at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autocanary import logs
from autocanary.app.service import AutocanaryService, run
from autocanary.errors import InputError, NotFound, SettingsError, Unreachable
from autocanary.settings import ClusterAccess, HostPort, Settings
from tests.kube import samples
from tests.kube.fake_api import FakeApi, until
from tests.testbed.servers.http import fetch

PROMETHEUS = "http://127.0.0.1:9"


def kubeconfig(folder: Path, server: str = "http://127.0.0.1:9", bearer: str = "throw-away") -> ClusterAccess:
    path = folder / "config"
    path.write_text(
        f"""\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{server}"}}}}]
users: [{{name: u, user: {{token: {bearer}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
    )
    return ClusterAccess(kubeconfig=str(path))


def settings(**changes: Any) -> Settings:
    defaults: dict[str, Any] = {"prometheus_url": PROMETHEUS, "listen": HostPort("127.0.0.1", 0)}
    return Settings(**{**defaults, **changes})


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "AUTOCANARY_PROMETHEUS_URL", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """A service that could not be made leaves nothing running behind."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) - before == set()


@pytest.mark.usefixtures("no_threads_left")
def test_no_prometheus_says_how_to_name_one(tmp_path: Path) -> None:
    """Flag and variable are in the sentence."""
    with pytest.raises(SettingsError, match=r"--prometheus-url .* AUTOCANARY_PROMETHEUS_URL"):
        AutocanaryService(settings(prometheus_url=None), kubeconfig(tmp_path))


@pytest.mark.usefixtures("no_threads_left")
def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the path as it was given."""
    with pytest.raises(SettingsError, match=r"absent\.yaml does not exist"):
        AutocanaryService(settings(), ClusterAccess(kubeconfig=str(tmp_path / "absent.yaml")))


@pytest.mark.usefixtures("no_threads_left")
def test_no_cluster_at_all_says_where_was_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kubeconfig, no pod."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"no cluster is configured.*--kubeconfig"):
        AutocanaryService(settings(), ClusterAccess())


@pytest.mark.usefixtures("no_threads_left")
def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The other contexts' file is right, this name is not in it."""
    access = kubeconfig(tmp_path)
    with pytest.raises(SettingsError, match="production"):
        AutocanaryService(settings(), ClusterAccess(access.kubeconfig, "production"))


def test_run_raises_configuration_errors(tmp_path: Path) -> None:
    """The command makes an exit code and a sentence of it."""
    with pytest.raises(InputError):
        run(settings(prometheus_url=None), kubeconfig(tmp_path))


@pytest.mark.usefixtures("no_threads_left")
def test_a_server_that_does_not_answer_is_said_at_the_start(tmp_path: Path, captured: logs.CapturedLogs) -> None:
    """Not a minute later by a watch: the first request decides. What never ran has not stopped, either."""
    with pytest.raises(Unreachable):
        run(settings(leader_election=False), kubeconfig(tmp_path))
    assert captured.named("started") == captured.named("stopped") == []


@pytest.mark.usefixtures("no_threads_left")
def test_missing_definitions_are_said_at_the_start(api: FakeApi, tmp_path: Path) -> None:
    """404 for our own resource: with the command that installs them."""
    api.unserved.add("canaryrollouts")
    service = AutocanaryService(settings(leader_election=False), kubeconfig(tmp_path, api.url))
    try:
        with pytest.raises(NotFound, match="autocanary crds"):
            service.start()
    finally:
        service.stop()


def test_a_service_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    """And says what it has not read yet."""
    service = AutocanaryService(settings(), kubeconfig(tmp_path))
    assert service.missing() == ["InferenceServices", "CanaryRollouts", "RolloutPolicies"]
    service.stop()


@pytest.mark.usefixtures("no_threads_left")
def test_it_starts_reads_everything_and_stops(api: FakeApi, tmp_path: Path) -> None:
    """Against an empty cluster: ready, nothing to do, and gone in a moment."""
    service = AutocanaryService(settings(leader_election=False), kubeconfig(tmp_path, api.url, api.token))
    try:
        service.start()
        until(lambda: service.missing() == [], seconds=10)
        assert service.controller.rollouts() == []
        assert service.port > 0
    finally:
        began = time.monotonic()
        service.stop()
    assert time.monotonic() - began < 10
    assert [request for request in api.requests if request.method not in ("GET",)] == []


def test_a_dry_run_writes_nothing_and_asks_for_no_lease(api: FakeApi, tmp_path: Path) -> None:
    """It decides beside the instance that acts."""
    service = AutocanaryService(settings(dry_run=True), kubeconfig(tmp_path, api.url, api.token))
    try:
        service.start()
        until(lambda: service.missing() == [], seconds=10)
    finally:
        service.stop()
    assert {request.method for request in api.requests} == {"GET"}


def test_services_that_the_guard_holds_without_a_policy_are_named(
    api: FakeApi, tmp_path: Path, captured: logs.CapturedLogs
) -> None:
    """At the start: in the log, in the metrics, and in what a ready instance says."""
    api.put("inferenceservices", samples.service(weight=0))
    api.put("inferenceservices", samples.service(namespace="other", weight=0))
    guarded = settings(leader_election=False, guard={"namespaces": ["ml"]})
    service = AutocanaryService(guarded, kubeconfig(tmp_path, api.url, api.token))
    try:
        service.start()
        until(lambda: captured.named("guarded_without_policy"), seconds=20)
        url = f"http://127.0.0.1:{service.port}"
        metrics = fetch(f"{url}/metrics", seconds=5)[1].decode()
        answer = fetch(f"{url}/readyz", seconds=5)[1].decode()
    finally:
        service.stop()
    [line] = captured.named("guarded_without_policy")
    assert (line["namespace"], line["service"], line["waits"]) == ("ml", "mnist", True)
    labels = 'component="predictor",namespace="ml",service="mnist"'
    assert f"autocanary_guarded_service_without_policy{{{labels}}} 1.0" in metrics
    assert "the guard holds services that have no policy: 1;" in answer


def test_readiness_follows_watches_and_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that is not whole, and a leader whose evaluations are late, are named; objects left out are remarks."""
    with FakeApi() as api:
        api.put("rolloutpolicies", {"metadata": {"name": "odd", "namespace": "ml"}, "spec": _nested(200)})
        api.put("rolloutpolicies", {"metadata": {"name": "fine", "namespace": "ml"}, "spec": {}})
        service = AutocanaryService(settings(leader_election=False), kubeconfig(tmp_path, api.url))
        service.start()
        try:
            until(lambda: service.not_ready() == [], seconds=10)
            base = f"http://127.0.0.1:{service.port}"
            code, body = fetch(f"{base}/readyz")
            assert (code, b"1 of kind RolloutPolicy cannot be read" in body) == (200, True)
            metrics = fetch(f"{base}/metrics")[1].decode()
            assert 'autocanary_objects_skipped{kind="RolloutPolicy"} 1.0' in metrics
            assert 'autocanary_watch_healthy{kind="RolloutPolicy"} 1.0' in metrics
            monkeypatch.setattr(service._policy_objects, "is_healthy", lambda: False)
            assert fetch(f"{base}/readyz") == (503, b"not ready: waiting for RolloutPolicies\n")
            assert 'autocanary_watch_healthy{kind="RolloutPolicy"} 0.0' in fetch(f"{base}/metrics")[1].decode()
            monkeypatch.undo()
            monkeypatch.setattr(service.controller, "next_due_at", lambda: time.time() - 125)
            until(lambda: service.not_ready() != [], seconds=10)
            code, body = fetch(f"{base}/readyz")
            assert (code, b"evaluations (the next was due 2m" in body) == (503, True)
            monkeypatch.setattr(service._leadership, "is_leader", lambda: False)
            assert service.not_ready() == []
        finally:
            service.stop()


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value
