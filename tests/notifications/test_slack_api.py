"""Tests of autocanary.notifications.slack_api against Slack's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autocanary.errors import DeliveryError
from autocanary.notifications.slack_api import SlackApi, SlackApiError
from autocanary.outbound.http_client import NO_RETRY, HttpClient
from tests.notifications.http_receiver import Receiver, Reply
from tests.notifications.slack_server import TOKEN, Slack, SlackChannel, limited

CONTENT: dict[str, Any] = {"text": "x", "attachments": []}


def say(api: SlackApi, channel: str = "#ml-ops", **more: Any) -> Any:
    return api.call("chat.postMessage", {"channel": channel, **CONTENT, **more}, channel)


def test_ok_returns_the_whole_response(api: SlackApi, slack: Slack, receiver: Receiver) -> None:
    """Channel and timestamp come back; the token goes as a header, the arguments as UTF-8 JSON."""
    given = say(api)
    assert (given["channel"], given["ts"]) == ("C0ML0000", slack.posts[0].ts)
    [got] = receiver.received
    assert got.path == "/api/chat.postMessage"
    assert got.headers["Authorization"] == f"Bearer {TOKEN}"
    assert got.headers["Content-Type"] == "application/json; charset=utf-8"


def test_reads_a_long_response(api: SlackApi, slack: Slack) -> None:
    """Slack repeats the message in its answer, which is then longer than what explains a refusal elsewhere."""
    assert say(api, text="y" * 20_000)["ok"] is True


def test_a_rotated_token_is_used_at_once(api: SlackApi, slack: Slack, token_file: Path) -> None:
    """The file is read at each call."""
    say(api)
    slack.revoked.add(TOKEN)
    slack.tokens["xoxe.xoxb-1-new"] = "B0AUTOCANARY"
    with pytest.raises(SlackApiError, match="token_revoked"):
        say(api)
    token_file.write_text("xoxe.xoxb-1-new")
    assert say(api)["ok"] is True


@pytest.mark.parametrize(
    ("after", "words", "pause"),
    [("30", "asks to wait for 30 s", 30.0), (None, "asks to wait: too many messages", None)],
)
def test_honours_the_rate_limit(
    api: SlackApi, slack: Slack, after: str | None, words: str, pause: float | None
) -> None:
    """429 with Retry-After: that channel waits as long; without the header it doubles its own pauses."""
    slack.scripted.append(limited(after))
    with pytest.raises(DeliveryError, match=words) as caught:
        say(api)
    assert caught.value.retry_after == pause


def test_ratelimited_error_with_status_200_is_a_rate_limit(api: SlackApi, receiver: Receiver) -> None:
    """Some methods say it with status 200."""
    receiver.replies(Reply(200, b'{"ok": false, "error": "rate_limited"}'))
    with pytest.raises(DeliveryError, match="asks to wait"):
        say(api)


def _unknown_channel(slack: Slack) -> None:
    slack.channels.clear()


def _not_invited(slack: Slack) -> None:
    slack.channels[:] = [SlackChannel("C0ML0000", "ml-ops", member=False)]


def _private(slack: Slack) -> None:
    slack.channels[:] = [SlackChannel("C0ML0000", "ml-ops", member=False, private=True)]


def _archived(slack: Slack) -> None:
    slack.channels[:] = [SlackChannel("C0ML0000", "ml-ops", archived=True)]


def _revoked(slack: Slack) -> None:
    slack.revoked.add(TOKEN)


def _unknown_token(slack: Slack) -> None:
    slack.tokens.clear()


def _no_scope(slack: Slack) -> None:
    slack.scopes.clear()


@pytest.mark.parametrize(
    ("happens", "error_code", "advice"),
    [
        (_unknown_channel, "channel_not_found", "#ml-ops does not exist, or is private"),
        (_not_invited, "not_in_channel", "invite the app there"),
        (_private, "channel_not_found", "private and the app is not in it"),
        (_archived, "is_archived", "unarchive #ml-ops"),
        (_revoked, "token_revoked", "valid bot token .xoxb-...."),
        (_unknown_token, "invalid_auth", "/token"),
        (_no_scope, "missing_scope", "give the app the scope chat:write"),
    ],
)
def test_errors_the_user_must_fix_are_retried(
    api: SlackApi, slack: Slack, happens: Any, error_code: str, advice: str
) -> None:
    """Slack's word, what to do about it, and no secret; the message is not given up at the first no."""
    happens(slack)
    with pytest.raises(SlackApiError, match=rf"chat.postMessage to #ml-ops\) says {error_code}: .*{advice}") as caught:
        say(api)
    assert caught.value.error_code == error_code
    assert caught.value.retry_after is None
    assert "c4n4ry" not in str(caught.value)


def test_message_rejected_by_slack_is_not_retried(api: SlackApi, slack: Slack) -> None:
    """With the part that it refuses, in Slack's words."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]
    with pytest.raises(SlackApiError, match=r"says invalid_blocks \(\[ERROR\] must be less than 3001") as caught:
        say(api, attachments=[{"blocks": blocks}])
    assert caught.value.retry_after == NO_RETRY


@pytest.mark.parametrize(
    ("reply", "words", "pause"),
    [
        (Reply(200, b'{"ok":false,"error":"internal_error"}'), "says internal_error", None),
        (Reply(200, b'{"ok":false,"error":"brand_new_word"}'), "says brand_new_word$", NO_RETRY),
        (Reply(200, b'{"ok":false,"error":"<xoxb-1-c4n4ry>"}'), "says an error without a name", NO_RETRY),
        (Reply(200, b'{"ok":false}'), "says an error without a name", NO_RETRY),
        (Reply(200, b"<html>log in</html>"), "did not answer as Slack does: status 200", None),
        (Reply(200, b"[1]"), "did not answer as Slack does: status 200", None),
        (Reply(200, b"[" * 5000), "did not answer as Slack does: status 200", None),
        (Reply(403, b"the proxy forbids"), "did not answer as Slack does: status 403", None),
        (Reply(503, b'{"ok":true}'), "did not answer as Slack does: status 503", None),
        (Reply(abrupt=True), "cannot be reached", None),
    ],
)
def test_response_that_is_not_slacks_is_retried(
    api: SlackApi, receiver: Receiver, reply: Reply, words: str, pause: float | None
) -> None:
    """What is not Slack's answer may be it later; a no without a known word is a no to this message."""
    receiver.replies(reply)
    with pytest.raises(DeliveryError, match=words) as caught:
        say(api)
    assert caught.value.retry_after == pause
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "c4n4ry", f"{TOKEN}\nxoxb-2", "xoxb-c4n4ry ü", "xoxb-c4n4ry\x00"])
def test_invalid_token_file_error_does_not_quote_it(
    receiver: Receiver, http: HttpClient, tmp_path: Path, content: str
) -> None:
    """Nothing is sent, and the content is not repeated: it may be another secret."""
    path = tmp_path / "t"
    path.write_text(content)
    with pytest.raises(DeliveryError, match=r"/t must hold Slack's bot token \(xoxb-...\) and nothing else") as caught:
        say(SlackApi(path, http, receiver.url()))
    assert "c4n4ry" not in str(caught.value)
    assert receiver.received == []


def test_missing_token_file_is_named(receiver: Receiver, http: HttpClient, tmp_path: Path) -> None:
    """It is read again at the next try."""
    with pytest.raises(DeliveryError, match=r"cannot be read from .*absent \(No such file") as caught:
        say(SlackApi(tmp_path / "absent", http, receiver.url()))
    assert caught.value.retry_after is None
