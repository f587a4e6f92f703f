"""HTTP to Prometheus, with a deadline for the whole answer.

Credentials for Prometheus: read from their files at each request, never kept, never printed.
"""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

from autocanary.errors import MetricsUnreachable
from autocanary.outbound.deadline import DeadlineResponse
from autocanary.prometheus.connection_settings import PrometheusConfig

__all__ = ["Credentials", "DeadlineAdapter"]


class _Http(HTTPConnection):
    response_class = DeadlineResponse


class _Https(HTTPSConnection):
    response_class = DeadlineResponse


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
