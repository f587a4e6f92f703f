"""The routes behind services: from Route objects where these may be read, else from the status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.app.user_client import UserClient
from autocanary.kube import api_client
from autocanary.model.observation import ConditionStatus
from autocanary.model.rollout import Rollout
from tests.kube.fake_api import FakeApi, Reply, status
from tests.kube.samples import rollout, service

ROUTE = "mnist-predictor"


def route(name: str = ROUTE, **shares: int) -> dict[str, Any]:
    """A Knative Route; revisions by number: ``r1=50``."""
    return {
        "metadata": {"name": name, "namespace": "ml"},
        "status": {
            "url": f"http://{name}.live",
            "conditions": [{"type": "Ready", "status": "True"}],
            "traffic": [{"revisionName": revision, "percent": share} for revision, share in shares.items()],
        },
    }


@pytest.fixture
def store(api: FakeApi) -> UserClient:
    api.put("inferenceservices", service())
    return UserClient(api.client())


def shares(store: UserClient, *rollouts: Rollout) -> dict[str, dict[str, int]]:
    found = store.routes(rollouts or [rollout()])
    assert all(namespace == "ml" for namespace, _ in found)
    return {each.name: dict(each.traffic) for _, each in found}


def test_prefers_route_objects(api: FakeApi, store: UserClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """They win over the service's status, wherever they stand in a long list; others are not shown."""
    monkeypatch.setattr(api_client, "_PAGE_SIZE", 2)
    for number in range(3):
        api.put("routes", route(f"a-{number}", r1=100))
    api.put("routes", route(r1=70, r2=30))
    assert shares(store) == {ROUTE: {"r1": 70, "r2": 30}}
    [(_, found)] = store.routes([rollout()])
    assert (found.url, found.ready) == ("http://mnist-predictor.live", ConditionStatus.TRUE)
    assert api.made("GET", "/apis/serving.knative.dev/v1/namespaces/ml/routes")


@pytest.mark.parametrize("code", [403, 404, 503])
def test_without_routes_the_status_is_read(api: FakeApi, store: UserClient, code: int) -> None:
    """No right to read them, no Knative, a server that stumbles: an optional look fails nothing."""
    api.reply("GET", "/routes", Reply(code, status(code, "No", "no routes for you")))
    found = shares(store)
    assert set(found) == {ROUTE}
    assert found[ROUTE]["mnist-predictor-00002"] == 10


def test_a_service_that_cannot_be_read_has_none(api: FakeApi, store: UserClient) -> None:
    """Gone, forbidden, or of a kind that this version does not speak."""
    assert shares(store, replace(rollout(), api_version="x/v9")) == {}
    assert shares(store, replace(rollout(), service="gone")) == {}
    api.reply("GET", "/inferenceservices/mnist", Reply(403, status(403, "Forbidden", "no")))
    assert shares(store) == {}


def test_no_rollouts_no_calls(api: FakeApi, store: UserClient) -> None:
    """Without services there is no query."""
    assert store.routes([]) == []
    assert api.requests == []
