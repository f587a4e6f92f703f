"""Tests of autocanary.http_server.server."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from autocanary import logs
from autocanary.errors import SettingsError
from autocanary.http_server.server import Server
from tests.testbed.servers.http import fetch


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """The smallest application."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_any_free_port_is_known_after_start_and_free_after_stop() -> None:
    """Port 0 takes a free one; stopping ends the thread and closes the socket."""
    server = Server("127.0.0.1", 0, hello)
    assert server.port == 0
    server.start()
    assert server.port > 0
    assert fetch(f"http://127.0.0.1:{server.port}/") == (200, b"hello")
    assert "serve" in threads()
    server.stop()
    assert "serve" not in threads()
    with pytest.raises(OSError, match="refused"):
        fetch(f"http://127.0.0.1:{server.port}/")


def test_stop_right_after_start_leaves_nothing_open() -> None:
    """No request at all, and no socket left: an unclosed one would fail this test as a warning."""
    server = Server("127.0.0.1", 0, hello)
    server.start()
    server.stop()
    assert "serve" not in threads()


def test_same_address_again_after_stop() -> None:
    """A restarted service gets its port back at once."""
    first = Server("127.0.0.1", 0, hello)
    first.start()
    fetch(f"http://127.0.0.1:{first.port}/")
    first.stop()
    second = Server("127.0.0.1", first.port, hello)
    second.start()
    assert fetch(f"http://127.0.0.1:{second.port}/")[0] == 200
    second.stop()


def test_stop_before_start_and_twice() -> None:
    """Stopping is always allowed."""
    server = Server("127.0.0.1", 0, hello)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert "serve" not in threads()


def test_idle_connection_does_not_hold_up_the_stop() -> None:
    """A scraper's kept-alive connection is closed."""
    server = Server("127.0.0.1", 0, hello)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in idle.recv(4096)
        server.stop()
        assert "serve" not in threads()


def test_address_in_use_is_one_clear_error() -> None:
    """The error names the address, the cause and the setting; no thread is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            Server("127.0.0.1", port, hello).start()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; stop what uses it or choose another "
        "address with --listen HOST:PORT (AUTOCANARY_LISTEN)"
    )
    assert "serve" not in threads()


@pytest.mark.parametrize(
    ("host", "port"),
    [("192.0.2.1", 0), ("127.0.0.1", 70000), ("127.0.0.1", -1), ("a" * 70 + ".x", 0)],
)
def test_address_that_cannot_be_had(host: str, port: int) -> None:
    """A foreign address, an impossible port and an impossible name are the same kind of error."""
    with pytest.raises(SettingsError, match=r"^cannot listen on .*--listen HOST:PORT"):
        Server(host, port, hello).start()


def test_ipv6_address_is_written_in_brackets() -> None:
    """As addresses with ports are; this one is unused."""
    with pytest.raises(SettingsError, match=r"^cannot listen on \[2001:db8::1\]:8080: "):
        Server("2001:db8::1", 8080, hello).start()


def test_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's own words are in the error."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SettingsError, match="cannot listen on nowhere:80: Name or service not known"):
        Server("nowhere", 80, hello).start()


def test_fault_in_a_page_is_one_answer_and_one_line() -> None:
    """An application that raises costs that request only."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("boom")

    logs.configure("json", "info")
    with logs.capture() as captured:
        server = Server("127.0.0.1", 0, broken)
        server.start()
        assert fetch(f"http://127.0.0.1:{server.port}/")[0] == 500
        assert fetch(f"http://127.0.0.1:{server.port}/")[0] == 500
        server.stop()
    assert [(line["logger"], line["error"]) for line in captured.events] == [
        ("uvicorn.error", "RuntimeError: boom"),
        ("uvicorn.error", "RuntimeError: boom"),
    ]
