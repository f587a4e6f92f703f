"""Fixtures of the tests of web metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.scheduler import SteadyClock, ThreadPool
from autocanary.web_metrics import WebClient, WebMetrics
from tests.notifications.conftest import no_proxy
from tests.web_metrics.evaluation_service import EvaluationService

__all__ = ["no_proxy"]

LOOPBACK = WebhookHosts(("127.0.0.1",))


@pytest.fixture
def service() -> Iterator[EvaluationService]:
    with EvaluationService().running() as running:
        yield running


@pytest.fixture
def client() -> WebClient:
    return WebClient(HttpClient(hosts=LOOPBACK))


@pytest.fixture
def outcomes() -> list[str]:
    return []


@pytest.fixture
def metrics(client: WebClient, outcomes: list[str]) -> Iterator[WebMetrics]:
    pool = ThreadPool(12, "web")
    yield WebMetrics(client, LOOPBACK, pool, SteadyClock(), outcomes.append)
    pool.stop()
