"""A small evaluation service for the tests: it answers as a test sets it, well or badly, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request; ``service`` is the service that it came to."""

    protocol_version = "HTTP/1.1"
    service: EvaluationService

    def do_GET(self) -> None:
        self.service.asked.append((self.path, dict(self.headers)))
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            self.service.behaviour(self)

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


class EvaluationService:
    """On a free port of the loopback; ``behaviour`` may be replaced at any time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.stopping = threading.Event()
        self.behaviour: Behaviour = says({"value": 1})
        handler = type("BoundHandler", (Handler,), {"service": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[EvaluationService]:
        self._thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self._server.shutdown()
            self._server.server_close()


def says(document: Any, status: int = 200) -> Behaviour:
    """The same JSON to every question."""
    return lambda handler: handler.answer(json.dumps(document).encode(), status)


def says_bytes(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    """These bytes."""
    return lambda handler: handler.answer(body, status, **headers)


def hangs(handler: Handler) -> None:
    """Accepts the question and says nothing."""
    handler.service.stopping.wait(30)


def drips_headers(handler: Handler) -> None:
    """The head of the answer, a byte at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.service.stopping.wait(0.02):
        handler.wfile.write(b"a")


def drips_body(handler: Handler) -> None:
    """A valid answer, a byte at a time, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for byte in b'{"value": 1}' + b" " * 90000:
        handler.wfile.write(bytes([byte]))
        if handler.service.stopping.wait(0.02):
            return


def sends_a_gigabyte(handler: Handler) -> None:
    """As fast as it is read; the beginning is a valid answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()
    handler.wfile.write(b'{"value": 1}')
    blank = b" " * (1 << 20)
    for _ in range(1 << 10):
        handler.wfile.write(blank)


def cuts(handler: Handler) -> None:
    """Less than it announced, all of it valid."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"value": 1}')


def closes(_: Handler) -> None:
    """Without a word."""


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Until it is true; AssertionError when it does not become so."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)
