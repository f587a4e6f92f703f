"""Fixtures shared by the tests of notify."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autocanary import logs
from autocanary.notifications.slack_api import SlackApi
from autocanary.outbound.http_client import HttpClient
from tests.notifications.http_receiver import Receiver
from tests.notifications.slack_server import TOKEN, Slack


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's environment says about proxies is not part of the tests."""
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def http() -> HttpClient:
    return HttpClient(connect=2.0, read=5.0)


@pytest.fixture
def logged() -> Iterator[logs.CapturedLogs]:
    with logs.capture() as captured:
        yield captured


@pytest.fixture
def slack(receiver: Receiver) -> Slack:
    """Slack's Web API at the receiver."""
    receiver.reply_with = made = Slack()
    return made


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def api(receiver: Receiver, http: HttpClient, token_file: Path) -> SlackApi:
    return SlackApi(token_file, http, receiver.url("/api"))
