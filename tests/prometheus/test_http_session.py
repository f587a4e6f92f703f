"""The deadline of a whole answer, against servers that speak byte by byte or break off."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from autocanary.errors import MetricsUnreachable
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import PrometheusConfig

BODY = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


@contextmanager
def raw_server(*scripts: Callable[[socket.socket], None]) -> Iterator[tuple[PrometheusClient, list[int]]]:
    """A client of a server that follows one script per connection (the last one again and again)."""
    connections: list[int] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        script = scripts[min(len(connections), len(scripts) - 1)]
                        connections.append(1)
                        connection.recv(65_536)
                        script(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = PrometheusClient(PrometheusConfig(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3))
        yield client, connections
        client.close()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def dribble(data: bytes) -> Callable[[socket.socket], None]:
    """Byte by byte, each well within any read timeout, for far longer than the deadline."""

    def script(connection: socket.socket) -> None:
        for number in range(200):
            connection.sendall(data[number : number + 1])
            time.sleep(0.02)

    return script


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def whole(connection: socket.socket) -> None:
    connection.sendall(HEAD + BODY)


def cut(connection: socket.socket) -> None:
    connection.sendall(HEAD + BODY[:20])


def nothing(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def not_http(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [HEAD[:-4] + b"\r\nX-Long: " + b"x" * 500, HEAD.replace(b"69", b"500") + b" " * 500],
    ids=["headers", "body"],
)
def test_slow_byte_stream_times_out(data: bytes) -> None:
    """A read timeout alone would wait as long as single bytes come; the deadline is for the whole answer."""
    with raw_server(dribble(data)) as (client, connections):
        with pytest.raises(MetricsUnreachable, match=r"did not answer within 0\.3 s"):
            client.query("up")
        assert len(connections) == 1


@pytest.mark.parametrize("script", [reset, cut, nothing])
def test_truncated_response_is_reported(script: Callable[[socket.socket], None]) -> None:
    """Reset, closed half-way, or closed without a word."""
    with (
        raw_server(script) as (client, _),
        pytest.raises(MetricsUnreachable, match="cut the connection before its answer was whole"),
    ):
        client.query("up")


def test_another_protocol_is_unreachable() -> None:
    """Whatever listens there does not speak HTTP."""
    with raw_server(not_http) as (client, _), pytest.raises(MetricsUnreachable, match="cannot be reached"):
        client.query("up")


def test_closed_keepalive_connection_is_reopened() -> None:
    """A kept connection may be closed just as it is used: asked once more, and no more than once."""
    with raw_server(reset, whole) as (client, connections):
        assert client.query("up").samples == ()
        assert len(connections) == 2


def test_a_deadline_ends_with_its_query() -> None:
    """One query's deadline does not shorten the next one's."""
    with raw_server(dribble(HEAD), whole) as (client, _):
        with pytest.raises(MetricsUnreachable):
            client.query("up")
        assert client.query("up").samples == ()
