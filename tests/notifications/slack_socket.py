"""Slack's side of Socket Mode: ``apps.connections.open`` over HTTP, and the WebSocket itself (RFC 6455).

It speaks the protocol on real sockets: the handshake with its key, masked frames from the client, pings, the hello,
envelopes that must be acknowledged, and Slack's request to connect again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

APP_TOKEN = "xapp-1-A0-1-c4n4ry"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class SlackSocket:
    """Start with ``with``. ``connected`` are the connections so far; ``acknowledged`` the envelopes that were."""

    def __init__(self, app_token: str = APP_TOKEN) -> None:
        self.app_token = app_token
        self.refuse: list[str] = []
        self.connected = 0
        self.opened = 0
        self.acknowledged: queue.Queue[str] = queue.Queue()
        self.ephemeral: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._send_lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._number = 0

    @property
    def url(self) -> str:
        """Where the Web API is."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"

    def __enter__(self) -> SlackSocket:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._listener.close()
        for each in list(self._sockets):
            _close(each)
        self._thread.join(2.0)

    def click(self, action_id: str, value: str, *, member: str = "U0ADA0000", ts: str = "1767225600.0001") -> str:
        """A member presses a button; the envelope's id."""
        payload = {
            "type": "block_actions",
            "user": {"id": member, "username": member.lower(), "team_id": "T0"},
            "channel": {"id": "C0ML00000", "name": "ml-ops"},
            "actions": [{"type": "button", "action_id": action_id, "value": value, "action_ts": ts}],
        }
        return self.send_envelope("interactive", payload)

    def send_envelope(self, kind: str, payload: Mapping[str, Any]) -> str:
        self._number += 1
        envelope = f"envelope-{self._number}"
        message = {"envelope_id": envelope, "type": kind, "payload": payload, "accepts_response_payload": False}
        self._send({**message})
        return envelope

    def ask_to_reconnect(self) -> None:
        """As Slack does every few hours."""
        self._send({"type": "disconnect", "reason": "refresh_requested", "debug_info": {}})

    def drop(self) -> None:
        """The network cuts the connection without a word."""
        _close(self._sockets[-1])

    def wait_connected(self, count: int = 1, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while self.connected < count:
            assert time.monotonic() < deadline, f"{self.connected} of {count} connections"
            time.sleep(0.01)

    # --- the wire ----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            head, rest = _read_head(connection)
            if b"upgrade: websocket" in head.lower():
                self._web_socket(connection, head)
            else:
                self._web_api(connection, head, rest)
        _close(connection)

    def _web_api(self, connection: socket.socket, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        headers = _headers(head)
        while len(body) < int(headers.get("content-length", "0")):
            body += connection.recv(65536)
        answer: dict[str, Any] = {"ok": True}
        if path.endswith("/apps.connections.open"):
            self.opened += 1
            if headers.get("authorization") != f"Bearer {self.app_token}":
                answer = {"ok": False, "error": "invalid_auth"}
            elif self.refuse:
                answer = {"ok": False, "error": self.refuse.pop(0)}
            else:
                answer["url"] = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/link?ticket=once"
        elif path.endswith("/chat.postEphemeral"):
            self.ephemeral.put(json.loads(body))
        text = json.dumps(answer).encode()
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            + f"Content-Length: {len(text)}\r\n\r\n".encode()
            + text
        )

    def _web_socket(self, connection: socket.socket, head: bytes) -> None:
        key = _headers(head)["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - the RFC's
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._sockets.append(connection)
        self._send({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0"}})
        self.connected += 1
        while True:
            opcode, data = _read_frame(connection)
            if opcode == _PING:
                self._frame(connection, _PONG, data)
            elif opcode == _CLOSE:
                self._frame(connection, _CLOSE, data[:2])
                return
            elif opcode == _TEXT:
                self.acknowledged.put(str(json.loads(data).get("envelope_id")))

    def _send(self, message: Mapping[str, Any]) -> None:
        self._frame(self._sockets[-1], _TEXT, json.dumps(message).encode())

    def _frame(self, connection: socket.socket, opcode: int, data: bytes) -> None:
        size = len(data)
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
        with self._send_lock:
            connection.sendall(bytes([0x80 | opcode]) + length + data)


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            raise OSError("closed")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode().split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _read_frame(connection: socket.socket) -> tuple[int, bytes]:
    """One frame; ValueError for one that RFC 6455 forbids a client to send."""
    first, second = _exactly(connection, 2)
    if not second & 0x80:
        raise ValueError("a client must mask its frames")
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", _exactly(connection, 2))
    elif size == 127:
        (size,) = struct.unpack("!Q", _exactly(connection, 8))
    mask = _exactly(connection, 4)
    data = _exactly(connection, size)
    return first & 0x0F, bytes(each ^ mask[index % 4] for index, each in enumerate(data))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
