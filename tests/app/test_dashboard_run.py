"""The dashboard over a cluster: loopback alone, one host, one secret, and the kubeconfig's rights."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from autocanary.app import dashboard_run
from autocanary.app.dashboard_run import Dashboard
from autocanary.errors import Forbidden, SettingsError
from autocanary.model.rollout_json import to_document
from autocanary.settings import ClusterAccess
from tests.app.test_page_access import answer_reviews
from tests.kube.fake_api import FakeApi, until
from tests.kube.samples import rollout


@pytest.fixture(autouse=True)
def credentials(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_run, "find_credentials", lambda *_: api.credentials())
    monkeypatch.setattr(dashboard_run, "_FIRST_LIST_SECONDS", 5.0)


@pytest.fixture
def dashboard(api: FakeApi) -> Iterator[Dashboard]:
    api.put("canaryrollouts", to_document(rollout("mnist-00002", "ml")))
    answer_reviews(api, {"throw-away": "ada"}, lambda *_: True)
    made = Dashboard(ClusterAccess(), None, 0)
    yield made
    made.close()


def _get(address: str, host: str = "") -> tuple[int, str]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", parts.path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_printed_address_is_the_only_way_in(dashboard: Dashboard) -> None:
    """Loopback, with a secret that cannot be guessed; any other name or path gets nothing."""
    parts = urlsplit(dashboard.address)
    token = parts.path.strip("/")
    assert (parts.scheme, parts.hostname, len(token) >= 32) == ("http", "127.0.0.1", True)
    code, text = _get(dashboard.address)
    assert code == 200
    assert "mnist" in text
    assert "ada" in text
    assert _get(f"http://{parts.netloc}/")[0] == 404
    assert _get(dashboard.address, host="evil.example.com")[0] == 421
    assert dashboard.scope == "all namespaces"


def test_what_changes_in_the_cluster_is_on_the_next_page(api: FakeApi, dashboard: Dashboard) -> None:
    """By a watch of its own."""
    api.put("canaryrollouts", to_document(rollout("resnet-00002", "ml")))
    until(lambda: "resnet-00002" in _get(f"{dashboard.address}?q=")[1])


def test_without_the_right_to_list_all_it_shows_the_contexts_namespace(api: FakeApi) -> None:
    """As kubectl does."""
    true_answer = api.handle

    def handle(request: object) -> tuple[int, bytes]:
        if request.path == "/apis/autocanary.dev/v1alpha1/canaryrollouts":  # type: ignore[attr-defined]
            return 403, b'{"kind":"Status","reason":"Forbidden","message":"no","code":403}'
        return true_answer(request)  # type: ignore[arg-type]

    api.handle = handle  # type: ignore[method-assign]
    made = Dashboard(ClusterAccess(), None, 0)
    assert made.scope == "namespace default"
    made.close()
    with pytest.raises(Forbidden):
        Dashboard(ClusterAccess(), "", 0)


def test_a_port_in_use_is_said(dashboard: Dashboard) -> None:
    """With the flag that changes it."""
    port = urlsplit(dashboard.address).port or 0
    with pytest.raises(SettingsError, match=rf"cannot listen on 127.0.0.1:{port}: .* with --port PORT"):
        Dashboard(ClusterAccess(), None, port)
