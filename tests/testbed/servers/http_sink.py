"""HTTP servers of the tests that record what they are sent and answer as configured."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, TypeVar

from tests.testbed.servers.process import free_port, wait_until

Sink = TypeVar("Sink", bound="HttpSink")


@dataclass(frozen=True)
class ReceivedRequest:
    """One request as it came, header names in small letters, and when (monotonic seconds)."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class SinkReply:
    """What a sink answers, and how many seconds it waits before that."""

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


class HttpSink:
    """Records every request; answers 200 until changed by `answer` (from now on) or `answer_once`."""

    path = "/"

    def __init__(self) -> None:
        self._received: list[ReceivedRequest] = []
        self._reply = SinkReply()
        self._next: deque[SinkReply] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _SinkServer(("127.0.0.1", free_port()), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http-sink", daemon=True)

    @property
    def url(self) -> str:
        """The address to post to."""
        return f"http://127.0.0.1:{self._server.server_port}{self.path}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Every request so far, oldest first."""
        with self._lock:
            return list(self._received)

    def answer(
        self,
        status: int = 200,
        body: bytes = b"ok",
        *,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Answer like this from now on."""
        self._reply = SinkReply(status, body, headers or {}, delay)

    def answer_once(
        self,
        status: int,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Answer the next request like this; several calls queue up."""
        self._next.append(SinkReply(status, body, headers or {}, delay))

    def wait_for(self, count: int, *, seconds: float = 10.0) -> list[ReceivedRequest]:
        """The requests, as soon as there are at least so many."""
        wait_until(lambda: len(self.requests) >= count, seconds=seconds, what=f"{count} requests at {self.url}")
        return self.requests

    def reply_to(self, received: ReceivedRequest) -> SinkReply:
        """Record a request and choose its answer; a subclass may look at the body first."""
        with self._lock:
            self._received.append(received)
            return self._next.popleft() if self._next else self._reply

    def __enter__(self: Sink) -> Sink:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _sleep(self, seconds: float) -> None:
        self._closing.wait(seconds)


class SlackServer(HttpSink):
    """A Slack incoming webhook: refuses what Slack refuses, with Slack's own words."""

    path = "/services/T00000000/B00000000/testbed"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies of every post so far, oldest first."""
        return [received.json() for received in self.requests]

    def reply_to(self, received: ReceivedRequest) -> SinkReply:
        """400 for a post that Slack would not take, else what the test asked for."""
        reply = super().reply_to(received)
        if received.path != self.path:
            return SinkReply(404, b"no_service")
        try:
            message = received.json()
        except ValueError:
            return SinkReply(400, b"invalid_payload")
        if not isinstance(message, dict):
            return SinkReply(400, b"invalid_payload")
        if not any(message.get(key) for key in ("text", "blocks", "attachments")):
            return SinkReply(400, b"no_text")
        if len(message.get("blocks") or ()) > 50:
            return SinkReply(400, b"invalid_blocks")
        return reply


class _SinkServer(ThreadingHTTPServer):
    """Joins no thread at the end: a handler may be in the middle of a long delay."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of a request is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler_for(sink: HttpSink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:  # the client was killed while it sent: a server never acts on such a request
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = ReceivedRequest(self.command, self.path, headers, body, time.monotonic())
            reply = sink.reply_to(received)
            sink._sleep(reply.delay)
            with contextlib.suppress(OSError):  # the client has given up waiting
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing: the tests read `requests`."""

    return Handler
