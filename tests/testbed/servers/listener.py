"""What both proxies stand on: a loopback port that can refuse and come back, with a thread per connection."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from tests.testbed.servers.process import free_port, wait_until

Self = TypeVar("Self", bound="Listener")

CHUNK = 64 * 1024
LOOK_SECONDS = 0.05
STALLED_SECONDS = 60.0


class CutError(Exception):
    """The connection being served must be reset."""


class Connection:
    """A client's connection; every wait on it ends at once with CutError when the test cuts it."""

    def __init__(self, client: socket.socket, listener: Listener) -> None:
        self.client = client
        self.client.settimeout(STALLED_SECONDS)
        without_delay(self.client)
        self.thread: threading.Thread | None = None
        self._listener = listener
        self._born = listener.cuts

    @property
    def stale(self) -> bool:
        """Whether the test has cut it."""
        return self._listener.cuts != self._born

    def readable(self, *ends: socket.socket) -> list[socket.socket]:
        """The ends, among those given, that have something to read; waits for one, and while frozen."""
        while True:
            if self.stale:
                raise CutError
            if not self._listener.flowing.wait(LOOK_SECONDS):
                continue
            decrypted: list[socket.socket] = [end for end in ends if isinstance(end, ssl.SSLSocket) and end.pending()]
            ready = decrypted or select.select(ends, [], [], LOOK_SECONDS)[0]
            if ready:
                return ready

    def read(self, end: socket.socket | None = None) -> bytes:
        """What comes next from an end, the client by default; empty when it has closed."""
        end = end or self.client
        self.readable(end)
        return end.recv(CHUNK)

    def sleep(self, seconds: float) -> None:
        """Wait, unless cut."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.stale:
                raise CutError
            time.sleep(min(LOOK_SECONDS, left))

    def hang(self) -> None:
        """Say nothing until the client gives up."""
        with contextlib.suppress(OSError):
            while self.read():
                pass

    def relay(self, upstream: socket.socket, *, limit: int | None = None) -> None:
        """Carry bytes both ways until one side closes, or until so many have come from upstream."""
        while True:
            for end in self.readable(self.client, upstream):
                piece = end.recv(CHUNK)
                if not piece:
                    return
                if end is self.client:
                    upstream.sendall(piece)
                    continue
                self.client.sendall(piece if limit is None else piece[:limit])
                if limit is not None and (limit := limit - len(piece)) <= 0:
                    return


class Listener(ABC):
    """Accepts connections and hands each to `serve` on a thread of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.cuts = 0
        self.flowing = threading.Event()
        self.flowing.set()
        self._open: set[Connection] = set()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @property
    def address(self) -> str:
        """The host:port it listens on."""
        return f"127.0.0.1:{self.port}"

    @abstractmethod
    def serve(self, connection: Connection) -> None:
        """Deal with one connection; it is closed afterwards, or reset when this raises CutError."""

    def listen(self) -> None:
        """Take connections (again); does nothing while it listens."""
        if self._socket is not None:
            return
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=(self._socket,), name="proxy-accept", daemon=True).start()

    def refuse(self) -> None:
        """Close the port and reset what is open: new connections are refused until `listen`."""
        self._close_port()
        self.cut_connections()

    def freeze(self) -> None:
        """Let no byte through, on connections open now and later, and close none: a network that drops."""
        self.flowing.clear()

    def thaw(self) -> None:
        """Let bytes flow again."""
        self.flowing.set()

    def cut_connections(self) -> None:
        """Reset every open connection, and wait until that is done."""
        self.cuts += 1
        wait_until(lambda: not self._still_open(), seconds=10, what="connections cut", every=0.01)

    def __enter__(self: Self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_port()
        self.cuts += 1

    def _close_port(self) -> None:
        with self._lock:
            listening, self._socket = self._socket, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            listening.close()

    def _still_open(self) -> bool:
        me = threading.current_thread()  # a fault's action may cut, from within a connection of its own
        with self._lock:
            return any(connection.stale and connection.thread is not me for connection in self._open)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            with self._lock:
                if self._socket is not listening:
                    reset(client)
                    return
                connection = Connection(client, self)
                self._open.add(connection)
            connection.thread = threading.Thread(
                target=self._handle, args=(connection,), name="proxy-connection", daemon=True
            )
            connection.thread.start()

    def _handle(self, connection: Connection) -> None:
        try:
            self.serve(connection)
        except CutError:
            reset(connection.client)
        except OSError:
            pass  # one of the two sides went away: nothing is left to carry
        finally:
            connection.client.close()
            with self._lock:
                self._open.discard(connection)


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset, as a crashed peer's kernel does: lingering for no time means that."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def without_delay(connection: socket.socket) -> None:
    """Send small pieces at once: the kernel's habit of collecting them costs 40 ms a request here."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
