"""Tests of autocanary.notifications.apprise_channel with the real library, against a receiver that speaks its JSON service."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocanary import logs
from autocanary.errors import DeliveryError, SettingsError
from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute
from autocanary.notifications.apprise_channel import AppriseUrls, text
from autocanary.notifications.message_text import advice
from tests.notifications.example_messages import message, policy_of
from tests.notifications.http_receiver import Receiver, Reply

# Apprise's: one of its services imports a module that Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def place(receiver: Receiver, path: str = "c4n4ryhook") -> str:
    return f"json://127.0.0.1:{receiver.port}/{path}"


@pytest.fixture
def everything() -> Iterator[list[str]]:
    """Whatever any library logs, at any level, as far as the root logger hears it."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name}: {record.getMessage()}")

    root, keep = logging.getLogger(), Keep()
    level = root.level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(level)
    root.removeHandler(keep)


@pytest.fixture
def urls_file(tmp_path: Path, receiver: Receiver) -> Path:
    path = tmp_path / "urls"
    path.write_text(f"# ours\n{place(receiver, 'first')}\n\n  {place(receiver, 'second')}\n")
    return path


def test_each_line_is_a_channel_of_its_own(urls_file: Path, receiver: Receiver) -> None:
    """Comments and empty lines are not counted; the names hold nothing of the URLs."""
    channels = AppriseUrls(urls_file, cluster="prod-1", policy_of=policy_of)(message())
    assert [channel.name for channel in channels] == ["apprise:1", "apprise:2"]
    for channel in channels:
        channel.send(message())
    assert [got.path for got in receiver.received] == ["/first", "/second"]
    got = receiver.received[0].json
    assert got["title"] == "models/mnist: rolled back"
    assert got["type"] == "failure"
    assert "- p99 latency: 340 ms (limit 500 ms), 1,234 requests" in got["message"]
    assert "prod-1: models/mnist-00002, policy prod-models" in got["message"]


def test_notify_type_follows_the_event(urls_file: Path, receiver: Receiver) -> None:
    """PagerDuty and others make a severity of it."""
    channel = AppriseUrls(urls_file)(message())[0]
    for event in (Event.STARTED, Event.PROMOTED, Event.HELD):
        channel.send(message(event))
    assert [got.json["type"] for got in receiver.received] == ["info", "success", "warning"]


def test_default_routes_filter_events(urls_file: Path) -> None:
    """As the service's other channels."""
    [first, _] = AppriseUrls(urls_file)(message())
    assert not first.wants(message(Event.STEP, routes=(NotificationRoute(("promoted",)),)))
    assert first.wants(message(Event.STEP, routes=(NotificationRoute(("promoted",), slack_channel="#x"),)))


def test_rotated_url_keeps_its_channel_name(urls_file: Path, receiver: Receiver) -> None:
    """The file is read at each use; a line that is gone has no receiver."""
    urls = AppriseUrls(urls_file)
    [first, second] = urls(message())
    urls_file.write_text(place(receiver, "rotated"))
    first.send(message())
    second.send(message())
    assert [got.path for got in receiver.received] == ["/rotated"]
    assert [channel.name for channel in urls(message())] == ["apprise:1"]


def test_missing_file_fails_each_attempt(urls_file: Path) -> None:
    """The channels stay, so that what is undelivered waits for the file to come back."""
    urls = AppriseUrls(urls_file)
    urls_file.unlink()
    [first, _] = urls(message())
    with pytest.raises(DeliveryError, match=r"cannot be read from .*/urls") as caught:
        first.send(message())
    assert caught.value.retry_after is None


def test_invalid_url_error_does_not_quote_it(urls_file: Path) -> None:
    """By its number."""
    urls = AppriseUrls(urls_file)
    urls_file.write_text("c4n4ry://nobody-knows-this/c4n4ry\n")
    with pytest.raises(DeliveryError, match=r"^URL 1 of .*/urls is none that Apprise knows$"):
        urls(message())[0].send(message())


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, b"c4n4ryhook is wrong"),
        Reply(429, headers={"Retry-After": "9"}),
        Reply(500),
        Reply(abrupt=True),
    ],
)
def test_failure_is_retried_and_redacted(
    tmp_path: Path, receiver: Receiver, everything: list[str], logged: logs.CapturedLogs, reply: Reply
) -> None:
    """Apprise does not say which failures are for good; nor does anything say what the URL is."""
    path = tmp_path / "urls"
    path.write_text(place(receiver))
    receiver.replies(reply)
    with pytest.raises(DeliveryError, match=r"^URL 1 of .*urls \(JSON\): ") as caught:
        AppriseUrls(path)(message())[0].send(message())
    assert caught.value.retry_after is None
    assert "c4n4ry" not in str(caught.value)
    assert not [line for line in everything if line.startswith("apprise")]
    assert "c4n4ry" not in repr(logged.events)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("# nothing\n", "must hold Apprise URLs, one a line, and holds none"),
        ("discord://c4n4ry\n", "URL 1 of .* is none that Apprise knows"),
        ("json://h/a\nslack://c4n4ry/broken\n", "URL 2 of .* is none that Apprise knows"),
        (None, "cannot be read from"),
    ],
)
def test_invalid_configuration_fails_at_startup(tmp_path: Path, content: str | None, words: str) -> None:
    """With the setting's name, and without the URL."""
    path = tmp_path / "urls"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=f"^APPRISE_URLS_FILE: .*{words}") as caught:
        AppriseUrls(path)
    assert "c4n4ry" not in str(caught.value)


def test_the_services_that_the_documentation_names_are_known(tmp_path: Path) -> None:
    """Each example of docs/notifications.md is a URL that Apprise understands."""
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    block = page.partition("```text\n# apprise")[2].partition("```")[0]
    path = tmp_path / "urls"
    path.write_text(f"# apprise{block}")
    assert len(AppriseUrls(path)(message())) >= 3


def test_missing_library_fails_at_startup(urls_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SettingsError, match=r"not installed: pip install 'autocanary\[apprise\]'"):
        AppriseUrls(urls_file)


@pytest.mark.parametrize("event", list(Event))
def test_every_event_is_plain_text(event: Event) -> None:
    """No event is without words."""
    given = message(event)
    assert ("To do: " in text(given, "", policy_of)) == bool(advice(given))
    assert "{" not in text(message(event, message=""), "", policy_of)
    assert "forecast: soon" in text(message(event, details=(("forecast", "soon"),)), "", policy_of)
