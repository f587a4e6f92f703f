"""A page of metrics that a test writes and Prometheus scrapes, in place of the revisions' pods."""

from __future__ import annotations

from tests.testbed.servers.http_sink import HttpSink, ReceivedRequest, SinkReply


class Exporter(HttpSink):
    """Serves `text`, in Prometheus' text format, to every client; set it again when the scenario goes on."""

    path = "/metrics"

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text

    @property
    def target(self) -> str:
        """The host:port a scrape job names."""
        return f"127.0.0.1:{self._server.server_port}"

    def reply_to(self, received: ReceivedRequest) -> SinkReply:
        """The page, unless the test has asked for another answer."""
        reply = super().reply_to(received)
        if reply != SinkReply():
            return reply
        return SinkReply(body=self.text.encode(), headers={"Content-Type": "text/plain; version=0.0.4"})
