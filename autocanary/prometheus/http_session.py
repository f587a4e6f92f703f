"""HTTP with a deadline for the whole answer.

A read timeout counts from byte to byte, so a server that sends one byte a second is never late. Here every
read of the socket gets what is left of the request's own deadline, headers and body alike, and no thread
is needed to watch over it. (DNS has no timeout of its own in Python; the resolver's applies.)

Credentials for Prometheus: read from their files at each request, never kept, never printed.
"""

from __future__ import annotations

import http.client
import io
import os
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

from autocanary.errors import MetricsUnreachable
from autocanary.prometheus.connection_settings import PrometheusConfig

__all__ = ["Credentials", "DeadlineAdapter", "deadline"]

_thread_deadline = threading.local()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What this thread reads from a ``DeadlineAdapter`` inside the block must arrive within ``seconds``."""
    _thread_deadline.end = time.monotonic() + seconds
    try:
        yield
    finally:
        _thread_deadline.end = None


def _remaining_seconds() -> float | None:
    end: float | None = getattr(_thread_deadline, "end", None)
    return None if end is None else end - time.monotonic()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket's file with whatever time is left."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = _remaining_seconds()
        if remaining is not None:
            if remaining <= 0:
                raise TimeoutError("the answer took too long")
            self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_DeadlineReader(raw, sock))


class _Http(HTTPConnection):
    response_class = _DeadlineResponse


class _Https(HTTPSConnection):
    response_class = _DeadlineResponse


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class DeadlineAdapter(HTTPAdapter):
    """No retries, a pool of ``connections``, and ``deadline`` obeyed."""

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=Retry(total=0, redirect=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class Credentials(AuthBase):
    """Puts the Authorization header on a request; MetricsUnreachable when its file cannot be used.

    Without any configured, requests go out bare (and no .netrc is read).
    """

    def __init__(self, config: PrometheusConfig) -> None:
        self._config = config

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        config = self._config
        if config.token_file:
            request.headers["Authorization"] = f"Bearer {_read_secret(config.token_file, 'token')}"
            return request
        pair: tuple[str, str] | None = config.url_credentials
        if config.username:
            pair = (config.username, _read_secret(config.password_file, "password"))
        if pair is None:
            return request
        coded = b64encode(":".join(pair).encode()).decode()  # as UTF-8, where requests would take Latin-1
        request.headers["Authorization"] = f"Basic {coded}"
        return request


def _read_secret(path: str, what: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as why:
        reason = os.strerror(why.errno) if why.errno else "it cannot be read"
        raise MetricsUnreachable(f"the Prometheus {what} file {path} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise MetricsUnreachable(f"the Prometheus {what} file {path} is not UTF-8 text") from None
    if not text:
        raise MetricsUnreachable(f"the Prometheus {what} file {path} is empty")
    if what == "token" and not (text.isascii() and text.isprintable()):
        # requests' own error for such a header would quote the token
        raise MetricsUnreachable(f"the Prometheus token file {path} holds more than one line or odd characters")
    return text
