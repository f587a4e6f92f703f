"""The servers that record: what arrives is kept, and the answer is the one asked for."""

from __future__ import annotations

import json

import pytest

from tests.testbed.servers import Exporter, HttpSink, SlackServer
from tests.testbed.servers.http import fetch


def post(url: str, body: object) -> tuple[int, bytes]:
    """Post a JSON body."""
    return fetch(url, method="POST", body=json.dumps(body).encode())


def test_a_sink_records_and_answers_in_order() -> None:
    """Queued answers come first, then the lasting one."""
    with HttpSink() as sink:
        sink.answer(500)
        sink.answer_once(429, b"later")
        assert [post(sink.url, {"n": n}) for n in range(2)] == [(429, b"later"), (500, b"ok")]
        assert [received.json() for received in sink.wait_for(2)] == [{"n": 0}, {"n": 1}]


def test_a_sink_can_be_late() -> None:
    """The sender's deadline passes, and the request is on record all the same."""
    with HttpSink() as sink:
        sink.answer(delay=5)
        with pytest.raises(TimeoutError):
            fetch(sink.url, method="POST", body=b"{}", seconds=0.2)
        assert len(sink.requests) == 1


def test_slack_refuses_what_slack_refuses() -> None:
    """An empty message, too many blocks and no JSON are 400 with Slack's own words."""
    with SlackServer() as slack:
        assert post(slack.url, {"text": "promoted"}) == (200, b"ok")
        assert post(slack.url, {"channel": "#x"}) == (400, b"no_text")
        assert post(slack.url, {"blocks": [{"type": "divider"}] * 51}) == (400, b"invalid_blocks")
        assert slack.messages[0] == {"text": "promoted"}
        assert fetch(slack.url, method="POST", body=b"payload") == (400, b"invalid_payload")


def test_an_exporter_serves_its_text() -> None:
    """The page follows the story; a fault can be laid over it."""
    with Exporter("a 1\n") as exporter:
        assert fetch(exporter.url) == (200, b"a 1\n")
        exporter.text = "a 2\n"
        assert fetch(exporter.url) == (200, b"a 2\n")
        exporter.answer_once(503)
        assert fetch(exporter.url)[0] == 503
