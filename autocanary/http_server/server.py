"""uvicorn in its own daemon thread, so that pages are served whatever the tick does.

The socket is bound here, before the thread starts: an address in use is then one clear error at start-up instead
of a line in the log and an exit from inside a thread. Only this package knows uvicorn.
"""

from __future__ import annotations

import functools
import logging
import socket
import threading
from typing import Any

import uvicorn

from autocanary.errors import SettingsError
from autocanary.http_server.connections import (
    MAX_HEADER_BYTES,
    Connections,
    LimitedProtocol,
    Listener,
    OncePerMinute,
    connection_limit,
)

__all__ = ["Server"]

_BACKLOG = 128
_GRACE_SECONDS = 2


class Server:
    """Serves an ASGI application at ``host:port``; port 0 takes any free one (see ``port``).

    ``flag`` is what a user changes when the address is in use. ``connections`` may be open at once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        application: Any,
        *,
        flag: str = "--listen HOST:PORT (AUTOCANARY_LISTEN)",
        connections: int | None = None,
    ) -> None:
        self._host, self._requested_port, self._application = host, port, application
        self._flag, self._connections = flag, connections
        self._port: int | None = None
        self._uvicorn: _UvicornServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before ``start`` when any would do."""
        return self._requested_port if self._port is None else self._port

    def start(self) -> None:
        """Returns when connections are accepted; SettingsError when the address cannot be listened on."""
        try:
            listener = _listen(self._host, self._requested_port)
        except _AddressUnusable as error:
            raise SettingsError(f"{error} with {self._flag}") from error.__cause__
        listener.connections = Connections(self._connections or connection_limit())
        self._port = int(listener.getsockname()[1])
        self._uvicorn = _UvicornServer(
            uvicorn.Config(
                self._application,
                log_config=None,  # logs.configure has routed uvicorn's loggers already
                access_log=False,
                lifespan="off",
                ws="none",
                http=functools.partial(LimitedProtocol, listener.connections),  # type: ignore[arg-type]
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                loop="asyncio",
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                timeout_keep_alive=65,  # longer than the usual scrape interval: one connection per scraper
            )
        )
        uvicorn_log = logging.getLogger("uvicorn.error")
        if not any(isinstance(each, OncePerMinute) for each in uvicorn_log.filters):
            uvicorn_log.addFilter(OncePerMinute())
        self._thread = threading.Thread(target=self._uvicorn.run, args=([listener],), name="serve", daemon=True)
        self._thread.start()
        self._uvicorn.listening.wait(timeout=10)

    def stop(self) -> None:
        """Finish answers that are under way, for at most a few seconds. May be called twice."""
        if self._uvicorn is not None and self._thread is not None:
            self._uvicorn.should_exit = True
            self._thread.join(_GRACE_SECONDS + 3)
        self._uvicorn = self._thread = None


class _UvicornServer(uvicorn.Server):
    """Says when it listens: stopped any earlier, uvicorn would leave its sockets open."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def main_loop(self) -> None:
        self.listening.set()
        await super().main_loop()


def _listen(host: str, port: int) -> Listener:
    if not 0 <= port <= 65535:  # the resolver would silently take the rest of a division by 65,536
        raise _listen_error(host, port, ValueError("a port is a number from 0 to 65535"))
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = Listener(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _listen_error(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _listen_error(host, port, error) from error
    return listener


class _AddressUnusable(Exception):
    """A sentence that lacks its end: what to change."""


def _listen_error(host: str, port: int, error: Exception) -> _AddressUnusable:
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    shown = f"[{host}]" if ":" in host else host
    return _AddressUnusable(f"cannot listen on {shown}:{port}: {why}; stop what uses it or choose another address")
