"""Proxies that stand between a client and a real server and do harm on request."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.servers.faults import (
    CutBody,
    Delay,
    DropResponse,
    Fault,
    Forward,
    Hang,
    Matches,
    Reset,
    RespondInstead,
    any_request,
)
from tests.testbed.servers.http_sink import ReceivedRequest
from tests.testbed.servers.listener import STALLED_SECONDS, Connection, CutError, Listener, without_delay

HEADER_END = b"\r\n\r\n"


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        upstream = socket.create_connection((host, int(port)), timeout=STALLED_SECONDS)
    except ConnectionRefusedError:
        raise CutError from None  # the nearest to a refusal that a connection already accepted can see
    without_delay(upstream)
    return upstream


class TcpProxy(Listener):
    """Carries bytes to host:port without reading them, TLS included; faults strike whole connections.

    `delay` seconds pass before a new connection is carried on; `cut_after` closes each one once so many
    bytes have come from the server. `freeze`, `cut_connections` and `refuse` act on open ones as well.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__()
        parts = urllib.parse.urlsplit(upstream)
        self._upstream = parts.netloc or upstream
        self._scheme = parts.scheme if parts.netloc else "http"
        self.delay = 0.0
        self.cut_after: int | None = None

    @property
    def url(self) -> str:
        """The address a client uses instead of the server's, of the same scheme."""
        return f"{self._scheme}://{self.address}"

    def serve(self, connection: Connection) -> None:
        """See `Listener.serve`."""
        connection.sleep(self.delay)
        with _connect(self._upstream) as upstream:
            connection.relay(upstream, limit=self.cut_after)


@dataclass
class InjectedFault:
    """A fault that is in store, and how often it has struck."""

    fault: Fault
    when: Matches
    skip: int
    times: int | None
    struck: int = 0

    def strikes(self, received: ReceivedRequest) -> bool:
        if self.times == 0 or not self.when(received):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.struck += 1
        return True


class FaultProxy(Listener):
    """Reads each HTTP request, records it, and forwards it or does to it what a test has injected.

    It speaks plain HTTP to the client whatever the server speaks: in front of an API server, name its `ca`
    and put this proxy's `url` in the kubeconfig. One request per connection; answers stream, watches too.
    kubectl sends no token over plain HTTP: requests without one get the proxy's `token`, if it has any.
    """

    def __init__(self, upstream: str, *, ca: Path | None = None, token: str | None = None) -> None:
        super().__init__()
        self._token = token
        parts = urllib.parse.urlsplit(upstream)
        self._upstream = parts.netloc
        self._tls = ssl.create_default_context(cafile=str(ca)) if parts.scheme == "https" else None
        self._rules: list[InjectedFault] = []
        self._requests: list[ReceivedRequest] = []
        self._rules_lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address a client uses instead of the server's."""
        return f"http://{self.address}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Every request so far, oldest first, whatever became of it."""
        with self._rules_lock:
            return list(self._requests)

    def count(self, when: Matches = any_request) -> int:
        """How many requests of a kind came."""
        return sum(1 for received in self.requests if when(received))

    def inject(
        self, fault: Fault, when: Matches = any_request, *, skip: int = 0, times: int | None = None
    ) -> InjectedFault:
        """Do this to matching requests: skip the first few, then strike so many times, or for ever.

        The fault injected last comes first; one that does not match, or is used up, leaves it to the others.
        """
        injected = InjectedFault(fault, when, skip, times)
        with self._rules_lock:
            self._rules.insert(0, injected)
        return injected

    def clear(self) -> None:
        """Forget the faults; the requests stay on record."""
        with self._rules_lock:
            self._rules.clear()

    def serve(self, connection: Connection) -> None:
        """See `Listener.serve`."""
        message = _read_request(connection, self._token)
        if message is None:
            return
        received, raw = message
        with self._rules_lock:
            self._requests.append(received)
            fault = next((rule.fault for rule in self._rules if rule.strikes(received)), Forward())
        self._strike(fault, connection, raw)

    def _strike(self, fault: Fault, connection: Connection, raw: bytes) -> None:
        if isinstance(fault, Reset):
            fault.action()
            raise CutError
        if isinstance(fault, Hang):
            connection.hang()
        elif isinstance(fault, RespondInstead):
            connection.client.sendall(_written(fault))
        else:
            if isinstance(fault, Delay):
                connection.sleep(fault.seconds)
            with self._sent(raw) as upstream:
                self._bring_back(fault, connection, upstream)

    def _bring_back(self, fault: Fault, connection: Connection, upstream: socket.socket) -> None:
        if isinstance(fault, DropResponse):
            while connection.read(upstream):
                pass
            fault.action()
            raise CutError
        if isinstance(fault, CutBody):
            head, body = _read_head(connection, upstream)
            body = body or connection.read(upstream)
            after = len(body) // 2 if fault.after is None else fault.after
            connection.client.sendall(head + body[:after])
            if after > len(body):
                connection.relay(upstream, limit=after - len(body))
        else:
            connection.relay(upstream)

    @contextlib.contextmanager
    def _sent(self, raw: bytes) -> Iterator[socket.socket]:
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(_connect(self._upstream))
            if self._tls is not None:
                host = self._upstream.rpartition(":")[0]
                upstream = stack.enter_context(self._tls.wrap_socket(upstream, server_hostname=host))
            upstream.sendall(raw)
            yield upstream


def _read_head(connection: Connection, end: socket.socket) -> tuple[bytes, bytes]:
    """The head of a message with its closing blank line, and what of the body came with it."""
    buffer = b""
    while HEADER_END not in buffer:
        piece = connection.read(end)
        if not piece:
            return buffer, b""
        buffer += piece
    head, _, body = buffer.partition(HEADER_END)
    return head + HEADER_END, body


def _read_request(connection: Connection, token: str | None) -> tuple[ReceivedRequest, bytes] | None:
    """One whole request and the bytes to send on; None when the client said nothing."""
    head, body = _read_head(connection, connection.client)
    if not head:
        return None
    first, _, rest = head.partition(b"\r\n")
    method, path, _ = first.decode("latin-1").split(" ", 2)
    given = http.client.parse_headers(io.BytesIO(rest))
    headers = {name.lower(): value for name, value in given.items()}
    while len(body) < int(headers.get("content-length", 0)):
        piece = connection.read()
        if not piece:
            return None
        body += piece
    del given["Connection"], given["Upgrade"]
    if token and "authorization" not in headers:
        given["Authorization"] = f"Bearer {token}"
    given["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    raw = first + b"\r\n" + lines.encode("latin-1") + b"\r\n" + body
    return ReceivedRequest(method, path, headers, body, time.monotonic()), raw


def _written(answer: RespondInstead) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += [f"Content-Length: {len(answer.body)}", "Connection: close"]
    return "\r\n".join(lines).encode("latin-1") + HEADER_END + answer.body
