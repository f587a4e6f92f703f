"""Probes answer under a flood of half-open requests, on a real uvicorn."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from autocanary import logs
from autocanary.http_server import connections
from autocanary.http_server.connections import Connections, OncePerMinute, connection_limit
from autocanary.http_server.server import Server
from tests.http_server.test_server import hello
from tests.testbed.servers.http import fetch

_SERVER = """
import resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from autocanary import logs
from autocanary.http_server.server import Server
from tests.http_server.test_server import hello
logs.configure("json", "info")
server = Server("127.0.0.1", 0, hello)
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
"""


def half_requests(stack: ExitStack, port: int, number: int) -> list[socket.socket]:
    clients = []
    for _ in range(number):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        clients.append(client)
    return clients


@pytest.fixture
def few_descriptors() -> Iterator[subprocess.Popen[str]]:
    """A server in a process that may open 64 files."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


@pytest.mark.parametrize("number", [80, 300])
def test_probes_answer_beside_half_requests(few_descriptors: subprocess.Popen[str], number: int) -> None:
    """Each probe within a second, again and again, and the log stays short."""
    assert few_descriptors.stdout is not None
    port = int(few_descriptors.stdout.readline())
    with ExitStack() as stack:
        for _ in range(3):
            half_requests(stack, port, number // 3)
            began = time.monotonic()
            assert fetch(f"http://127.0.0.1:{port}/healthz") == (200, b"hello")
            assert time.monotonic() - began < 1
    _, errors = few_descriptors.communicate("", timeout=20)
    assert few_descriptors.returncode == 0
    assert len(errors.splitlines()) <= 3, errors
    assert "connections_closed" in errors


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    running = Server("127.0.0.1", 0, hello)
    running.start()
    yield running
    running.stop()


def _is_closed_within(client: socket.socket, seconds: float) -> bool:
    client.settimeout(seconds)
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_request_that_is_not_whole_in_time_is_closed(server: Server, sent: bytes) -> None:
    """From the connection on, and for the second request of a connection as well."""
    with logs.capture() as log, socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(sent)
        assert _is_closed_within(client, 5)
    assert log.named("connections_closed")[0]["reason"] == "no request in time"
    if sent:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in client.recv(4096)
            client.sendall(sent)
            assert _is_closed_within(client, 5)


def test_trickled_header_does_not_extend_the_time(server: Server) -> None:
    """A byte now and then is not a request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        began = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012 - which byte is refused depends on the network
            while time.monotonic() - began < 5:
                client.sendall(b"a")
                time.sleep(0.02)
        assert time.monotonic() - began < 3


def test_scraper_keeps_its_connection(server: Server) -> None:
    """The time counts for requests, not for the pauses between them."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\r\n0\r\n\r\n"):
                answer += client.recv(4096)
            assert b"200 OK" in answer
            time.sleep(0.5)


def test_long_header_is_refused_and_logged_once(server: Server) -> None:
    """16 KiB are enough for any probe or scraper; a client decides how often, and not how many lines."""
    with logs.capture() as log:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000)
                assert b"400" in client.recv(4096)
    assert len([each for each in log.events if "Invalid HTTP request" in each["event"]]) <= 1


def test_limit_follows_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 8 to 64."""
    for descriptors, limit in ((16, 8), (256, 32), (1024, 64), (1_048_576, 64)):
        monkeypatch.setattr("resource.getrlimit", lambda _, number=descriptors: (number, number))
        assert connection_limit() == limit


def test_closed_connections_are_logged_once_a_minute() -> None:
    """With their number since the last line."""
    now = [0.0]
    limits = Connections(8, clock=lambda: now[0])
    with logs.capture() as log:
        for second in range(121):
            now[0] = float(second)
            limits.count_closed("no request in time")
    assert [each["number"] for each in log.named("connections_closed")] == [1, 60, 60]


def test_warning_passes_once_a_minute() -> None:
    """Errors always pass."""
    now = [0.0]
    once = OncePerMinute(clock=lambda: now[0])
    warning = logging.LogRecord("x", logging.WARNING, "", 0, "odd", (), None)
    error = logging.LogRecord("x", logging.ERROR, "", 0, "odd", (), None)
    assert [once.filter(warning), once.filter(warning), once.filter(error), once.filter(error)] == [
        True,
        False,
        True,
        True,
    ]
    now[0] = 61.0
    assert once.filter(warning)
