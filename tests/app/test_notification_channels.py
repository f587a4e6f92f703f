"""The service and its channels: deliveries are recorded, by a service that goes on and by one that is stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autocanary import logs
from autocanary.app import notification_channels
from autocanary.app.service import AutocanaryService
from autocanary.errors import DeliveryError, SettingsError
from autocanary.model.decision import Event
from autocanary.model.rollout_json import to_document
from autocanary.settings import HostPort, Settings
from tests.app.test_service import kubeconfig
from tests.kube import fake_api
from tests.kube.fake_api import FakeApi
from tests.notifications.example_messages import notification, progress, rollout
from tests.notifications.http_receiver import Receiver
from tests.notifications.slack_server import TOKEN, Slack

until = partial(fake_api.until, seconds=20)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "KUBECONFIG",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "KUBERNETES_SERVICE_HOST",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def slack(receiver: Receiver) -> Slack:
    receiver.reply_with = made = Slack()
    return made


def pending_notifications(api: FakeApi) -> None:
    """A rollout that has ended, with an undelivered notification, in the cluster."""
    waiting = notification(Event.ROLLED_BACK)
    about = rollout(progress=progress(pending_notifications=(waiting,), finished_at=waiting.at))
    api.put("canaryrollouts", to_document(about))


def status(api: FakeApi) -> dict[str, Any]:
    [found] = [each["status"] for key, each in api.objects.items() if key[0] == "canaryrollouts"]
    return dict(found)


def service(api: FakeApi, receiver: Receiver, folder: Path, **changes: Any) -> AutocanaryService:
    token = folder / "slack-token"
    token.write_text(TOKEN)
    values: dict[str, Any] = {
        "prometheus_url": "http://127.0.0.1:9",
        "listen": HostPort("127.0.0.1", 0),
        "leader_election": False,
        "slack_bot_token_file": token,
        "slack_channel": "#ml-ops",
        "slack_api_url": receiver.url("/api"),
    }
    return AutocanaryService(Settings(**{**values, **changes}), kubeconfig(folder, api.url, api.token))


def test_delivered_notification_is_stored_and_not_repeated(
    api: FakeApi, receiver: Receiver, slack: Slack, tmp_path: Path, captured: logs.CapturedLogs
) -> None:
    """One service delivers and records; the next one has nothing to deliver. The token is nowhere but in the file."""
    pending_notifications(api)
    first = service(api, receiver, tmp_path, tick=0.1)
    first.start()
    try:
        until(lambda: status(api).get("notified"))
    finally:
        first.stop()
    [head] = slack.top_level_posts()
    assert status(api)["progress"]["channel_message_ids"] == {"slack:#ml-ops": f"C0ML0000/{head.ts}"}
    assert head.text == ":x: models/mnist: rolled back"
    asked = len(slack.calls)
    second = service(api, receiver, tmp_path, tick=0.1)
    second.start()
    try:
        until(lambda: not second.missing())
        until(second.controller.idle)
    finally:
        second.stop()
    assert len(slack.calls) == asked
    assert "c4n4ry" not in repr(captured.events)
    assert "c4n4ry" not in repr([(each.path, each.body) for each in api.requests])


def test_stop_records_deliveries(
    api: FakeApi, receiver: Receiver, slack: Slack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the message and the next tick comes SIGTERM: the next leader must not deliver it again."""
    pending_notifications(api)
    stopped = service(api, receiver, tmp_path, tick=60.0)
    ticks: list[Callable[[], None]] = []
    monkeypatch.setattr(stopped, "_requeue", lambda: None)
    monkeypatch.setattr(stopped._delivery_workers, "_on_event", lambda: ticks.append(lambda: None))
    stopped.start()
    try:
        until(lambda: not stopped.missing())
        stopped._timer.stop(2.0)
        stopped.controller.tick()
        until(lambda: slack.top_level_posts() and slack.thread(slack.top_level_posts()[0]))
        until(lambda: len(ticks) >= 2)  # Slack and the Event: both answers are there
        assert not status(api).get("notified")
    finally:
        stopped.stop()
    assert status(api)["notified"] == [notification(Event.ROLLED_BACK).id]
    assert list(status(api)["progress"]["channel_message_ids"]) == ["slack:#ml-ops"]


def test_apprise_without_its_library_is_refused_at_the_start(
    api: FakeApi, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the first message is due."""
    urls = tmp_path / "urls"
    urls.write_text("json://127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SettingsError, match=r"pip install 'autocanary\[apprise\]'"):
        service(api, receiver, tmp_path, apprise_urls_file=urls)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_apprise_is_notified_besides_slack(api: FakeApi, receiver: Receiver, slack: Slack, tmp_path: Path) -> None:
    """Each channel is noted by its own name."""
    with Receiver().running() as other:
        pending_notifications(api)
        urls = tmp_path / "urls"
        urls.write_text(f"json://127.0.0.1:{other.port}/c4n4ry")
        both = service(api, receiver, tmp_path, apprise_urls_file=urls, tick=0.1)
        both.start()
        try:
            until(lambda: status(api).get("notified"))
        finally:
            both.stop()
        assert [got.json["title"] for got in other.received] == ["models/mnist: rolled back"]
    assert len(slack.top_level_posts()) == 1


def test_policies_webhooks_reach_only_allowed_private_hosts(receiver: Receiver) -> None:
    """The settings' list is what their client goes by."""
    settings = Settings(prometheus_url="http://prometheus:9090", webhook_hosts=("127.0.0.1",))
    assert notification_channels.policy_http_client(settings).post(receiver.url(), {}).ok
    closed = Settings(prometheus_url="http://prometheus:9090")
    with pytest.raises(DeliveryError, match="AUTOCANARY_WEBHOOK_HOSTS"):
        notification_channels.policy_http_client(closed).post(receiver.url(), {})
