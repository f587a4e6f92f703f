"""A Prometheus that answers what a test sets, over real HTTP on one port, and fails in every way it can."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

from benchmarks.answering import ParsedQuery, QueryKind, read, rows

__all__ = ["FailingPrometheus", "QueryReply", "Row"]

Row = dict[str, Any]
"""One series of an answer: ``metric`` and ``value``."""


@dataclass(frozen=True)
class QueryReply:
    """How queries are answered: ``edit`` changes the rows of an answer, ``status`` and ``body`` replace it.

    ``half`` breaks off in the middle of the body and says no more; ``extra`` is added beside the data.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    half: bool = False
    edit: Callable[[ParsedQuery, list[Row]], Any] = lambda _, found: found
    extra: Mapping[str, Any] = field(default_factory=dict)


class FailingPrometheus:
    """A context manager. ``reply`` may be changed at any time; ``refuse_connections``, ``stall_connections`` and ``open`` are the port's."""

    def __init__(self) -> None:
        self.reply = QueryReply()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._clogged: list[socket.socket] = []
        self._end = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> FailingPrometheus:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self.refuse_connections()

    def open(self) -> None:
        """Listen again, on the same port as before."""
        self._unstall()
        if self._server is None:
            self._server = _Server(("127.0.0.1", self._port), _handler(self, self._end))
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse_connections(self) -> None:
        """No server listens: connections are refused."""
        self._unstall()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def stall_connections(self) -> None:
        """A server listens and accepts nothing: connecting itself takes for ever."""
        self.refuse_connections()
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", self._port))
        door.listen(0)
        self._clogged = [door]
        for _ in range(4):  # they fill the queue that no server empties
            waiting = socket.socket()
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", self._port))
            self._clogged.append(waiting)

    def _unstall(self) -> None:
        for each in reversed(self._clogged):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        self._clogged = []

    def answer(self, query: str) -> dict[str, Any]:
        asked = read(query)
        found = [{"metric": labels, "value": [1_800_000_000.0, str(value)]} for labels, value in rows(asked, set())]
        data = self.reply.edit(asked, found)
        if isinstance(data, list):
            data = {"resultType": "vector", "result": data}
        return {"status": "success", "data": data, **self.reply.extra}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(prometheus: FailingPrometheus, end: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            reply = prometheus.reply
            body = reply.body
            if body is None:
                body = json.dumps(prometheus.answer(parse_qs(raw)["query"][0])).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(OSError):  # the client may have given up
                self.wfile.write(body[: len(body) // 2] if reply.half else body)
                self.wfile.flush()
                if reply.half:
                    end.wait(2.0)

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    return Handler


def edit_where(kind: QueryKind, change: Callable[[list[Row]], Any]) -> Callable[[ParsedQuery, list[Row]], Any]:
    """An edit of the answers to one form of query."""
    return lambda asked, found: change(found) if asked.kind is kind else found


def edit_values(change: Callable[[Row], str | None]) -> Callable[[list[Row]], list[Row]]:
    """An edit of the values, series by series; None leaves one alone."""

    def edit(found: list[Row]) -> list[Row]:
        return list(_edited(found, change))

    return edit


def _edited(found: list[Row], change: Callable[[Row], str | None]) -> Iterator[Row]:
    for row in found:
        value = change(row)
        yield row if value is None else {**row, "value": [row["value"][0], value]}
