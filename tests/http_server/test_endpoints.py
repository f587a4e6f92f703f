"""Tests of autocanary.http_server.endpoints through a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from autocanary.http_server.endpoints import Health, make_application
from autocanary.http_server.server import Server
from tests.http_server.examples import World, rollout
from tests.testbed.servers.http import fetch


class FakeHealth:
    """What the probes ask about; change it between requests."""

    def __init__(self) -> None:
        self.age = 0.0
        self.waiting_for: list[str] = []
        self.forbidden_errors: list[str] = []


@pytest.fixture
def fake_health() -> FakeHealth:
    return FakeHealth()


@pytest.fixture
def world() -> World:
    return World(rollout())


@pytest.fixture
def base(fake_health: FakeHealth, world: World) -> Iterator[str]:
    health = Health(lambda: fake_health.age, lambda: fake_health.waiting_for, lambda: fake_health.forbidden_errors)
    server = Server("127.0.0.1", 0, make_application(world.exposition, health))
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_metrics_page(base: str) -> None:
    """The scrape is the exposition, in the text format."""
    status, body = fetch(f"{base}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert status == 200
    assert b'autocanary_rollout_info{namespace="models",service="mnist"' in body
    assert b"# EOF" not in body


@pytest.mark.parametrize(("age", "status"), [(0.0, 200), (59.9, 200), (60.0, 503), (3700.0, 503)])
def test_healthz_follows_the_heartbeat(base: str, fake_health: FakeHealth, age: float, status: int) -> None:
    """A heartbeat as old as the limit is too old."""
    fake_health.age = age
    assert fetch(f"{base}/healthz")[0] == status


def test_unhealthy_says_why_in_one_sentence(base: str, fake_health: FakeHealth) -> None:
    """A user who curls the probe reads what is wrong."""
    fake_health.age = 125.0
    assert fetch(f"{base}/healthz")[1] == (
        b"the last tick was 2m5s ago, and 1m is the limit: the scheduler has stopped or a call hangs\n"
    )


def test_readyz_waits_for_what_is_missing(base: str, fake_health: FakeHealth, world: World) -> None:
    """Readiness names what it waits for, and does not depend on leadership."""
    fake_health.waiting_for = ["InferenceServices", "policies"]
    assert fetch(f"{base}/readyz") == (503, b"not ready: waiting for InferenceServices, policies\n")
    fake_health.waiting_for = []
    world.leads = False
    assert fetch(f"{base}/readyz") == (200, b"ok\n")


def test_readyz_lists_forbidden_resources(base: str, fake_health: FakeHealth) -> None:
    """It is ready all the same; without it a user would never look for the right that is missing."""
    fake_health.forbidden_errors = ["cannot list a.b: forbidden", "cannot list c.d: forbidden"]
    body = b"ok\nbut: cannot list a.b: forbidden\nbut: cannot list c.d: forbidden\n"
    assert fetch(f"{base}/readyz") == (200, body)


def test_health_does_not_depend_on_readiness(base: str, fake_health: FakeHealth) -> None:
    """An API server that is down must not make the kubelet restart us."""
    fake_health.waiting_for = ["InferenceServices"]
    assert fetch(f"{base}/healthz") == (200, b"ok\n")


def test_probe_answers_while_a_scrape_is_under_way(base: str, world: World) -> None:
    """A scrape that takes long, here for as long as we like, does not hold up the kubelet."""
    entered, released = threading.Event(), threading.Event()

    def slow() -> bytes:
        entered.set()
        released.wait(10)
        return b""

    world.exposition.render = slow  # type: ignore[method-assign]
    scrape = threading.Thread(target=fetch, args=(f"{base}/metrics",))
    scrape.start()
    assert entered.wait(10)
    assert fetch(f"{base}/healthz") == (200, b"ok\n")
    released.set()
    scrape.join()


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/admin"])
def test_other_pages_do_not_exist(base: str, path: str) -> None:
    """Nothing else is served."""
    assert fetch(f"{base}{path}")[0] == 404


def test_pages_are_read_only(base: str) -> None:
    """A POST is refused."""
    assert fetch(f"{base}/metrics", method="POST", body=b"x")[0] == 405
