"""The page inside of the service: off by default, on a port of its own, with the visitors' own tokens."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from autocanary.app.service import AutocanaryService
from autocanary.errors import SettingsError
from autocanary.model.rollout_json import to_document
from autocanary.settings import HostPort
from tests.app.test_page_access import answer_reviews
from tests.app.test_service import kubeconfig, settings
from tests.kube.fake_api import FakeApi, until
from tests.kube.samples import rollout


def _ask(port: int, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST" if body is not None else "GET", path, body, dict(headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_by_default_there_is_no_page(tmp_path: Path) -> None:
    """No port, and no thread."""
    service = AutocanaryService(settings(), kubeconfig(tmp_path))
    assert service.page_port is None
    service.stop()
    assert not [each for each in threading.enumerate() if each.name.startswith("page")]


def test_visitors_see_and_do_what_their_own_tokens_may(api: FakeApi, tmp_path: Path) -> None:
    """The page shows the service's cache; the API server is asked with the visitor's token."""
    api.put("canaryrollouts", to_document(rollout("mnist-00002", "ml")))
    api.put("canaryrollouts", to_document(rollout("secret-00002", "vision")))
    users = {"t-ada": "ada", "throw-away": "autocanary"}
    answer_reviews(api, users, lambda user, verb, namespace: user == "ada" and namespace == "ml")
    service = AutocanaryService(settings(page_listen=HostPort("127.0.0.1", 0)), kubeconfig(tmp_path, api.url))
    service.start()
    port = service.page_port
    assert port
    ada = {"Authorization": "Bearer t-ada"}
    until(lambda: "mnist-00002" in _ask(port, "/", headers=ada)[1])
    text = _ask(port, "/", headers=ada)[1]
    assert "secret" not in text
    assert "vision" not in text
    assert _ask(port, "/")[0] == 401
    assert _ask(port, "/rollouts/vision/secret-00002", headers=ada)[0] == 403
    form = {
        **ada,
        "Origin": f"http://127.0.0.1:{port}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    code, _ = _ask(port, "/rollouts/ml/mnist-00002/act", "verb=pause&reason=why", form)
    patches = [each for each in api.made("PATCH", "canaryrollouts") if not each.path.endswith("status")]
    if code == 303:
        assert [each.headers["authorization"] for each in patches] == ["Bearer t-ada"]
        assert patches[0].body["spec"]["request"]["by"] == "ada"
    else:
        assert (code, patches) == (409, [])  # the rollout had ended meanwhile
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 10


def test_a_port_in_use_names_the_setting(tmp_path: Path, api: FakeApi) -> None:
    """Not that of the metrics."""
    taken = int(api.url.rpartition(":")[2])
    service = AutocanaryService(settings(page_listen=HostPort("127.0.0.1", taken)), kubeconfig(tmp_path, api.url))
    with pytest.raises(SettingsError, match="AUTOCANARY_PAGE_LISTEN"):
        service.start()
    service.stop()
